//! Objects on redb, and the one order of all changes to them.
//!
//! One at a time writes, mostly a thread of its own. It takes every write that waits, checks each against the object's revision, and commits them in
//! one transaction: one fsync for all. Only then are they acknowledged and shown to watchers, in the order of their
//! revisions. A batch of derived writes alone skips the fsync; a later one, at most [`FLUSH`] away, covers it.
//!
//! Revisions come from blocks whose end is on disk before the block is begun, so that none is given twice even when
//! writes that were never fsynced are lost.

mod ballast;
mod error;
mod key;
mod object;
mod open;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};
use tokio::sync::oneshot;

pub use error::{OpenError, ReadError, WriteError};
pub use key::Key;
pub use object::{Draft, DraftError, Event, EventKind, Meta, Object, OwnerRef};

/// Key as in [`Key::encode`] → revision (8 bytes, big endian) and JSON.
const OBJECTS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("objects");
/// Counters.
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// A derived write is on disk this long after its acknowledgement at the latest.
pub const FLUSH: Duration = Duration::from_millis(500);

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// After its fsync: whatever a user asked for.
    #[default]
    Immediate,
    /// Once it is visible: what a reconciler derives, and would derive again after a crash.
    Derived,
}

/// A write of one object.
#[derive(Debug)]
pub struct Write {
    /// Which.
    pub key: Key,
    /// The revision it must have now; none: it must not exist.
    pub expect: Option<u64>,
    /// Its new state. For a deletion: its last state.
    pub draft: Draft,
    /// Whether the object goes away.
    pub delete: bool,
    /// Of the new (last) state.
    pub meta: Arc<Meta>,
    /// Of the state before.
    pub old: Option<Arc<Meta>>,
    /// When to acknowledge.
    pub durability: Durability,
}

/// Sees every committed event, in order, before it is acknowledged. Called on the writer's thread.
pub type Observer = Box<dyn Fn(&[Arc<Event>]) + Send>;

struct Request {
    write: Write,
    reply: oneshot::Sender<Result<Object, WriteError>>,
}

/// One answer to a list.
#[derive(Debug)]
pub struct List {
    /// In the order of namespace, then name.
    pub items: Vec<Object>,
    /// The revision of the whole store that this shows.
    pub revision: u64,
    /// Whether there is more after the last item.
    pub more: bool,
    /// The same moment, for the next page.
    pub snapshot: Snapshot,
}

/// The store as of one revision.
#[derive(Clone)]
pub struct Snapshot {
    table: Arc<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    /// The revision that it shows.
    pub revision: u64,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({})", self.revision)
    }
}

/// The store.
pub struct Store {
    db: Arc<RwLock<Option<Database>>>,
    writer: Arc<Mutex<writer::Writer>>,
    queue: Mutex<Option<Sender<writer::Message>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    path: PathBuf,
    start: u64,
    lock: Mutex<Option<File>>,
}

impl Store {
    /// Opens the store in `dir`, which must exist. `observer` sees every event from now on.
    ///
    /// # Errors
    /// [`OpenError`]: in use, damaged, or not accessible.
    pub fn open(dir: &Path, observer: Observer) -> Result<Self, OpenError> {
        Self::open_on(dir, observer, open::Disk::default())
    }

    /// The same on a disk that may fail.
    fn open_on(dir: &Path, observer: Observer, disk: open::Disk) -> Result<Self, OpenError> {
        let lock = open::lock(dir)?;
        let path = dir.join(open::FILE);
        let db = open::database(&path, &disk)?;
        let (start, limit) =
            open::reserve(&db).map_err(|error| OpenError::Damaged { path: path.clone(), detail: error.to_string() })?;
        let db = Arc::new(RwLock::new(Some(db)));
        let (queue, messages) = channel();
        let writer = Arc::new(Mutex::new(writer::Writer::new(db.clone(), dir, disk, observer, (start, limit))));
        let own = writer.clone();
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer::run(&own, &messages))
            .map_err(|source| OpenError::Io { path: path.clone(), source })?;
        Ok(Self {
            db,
            writer,
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            path,
            start,
            lock: Mutex::new(Some(lock)),
        })
    }

    /// The revision at which this process began: nothing is known of what happened before.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The store's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one object; returns it with its revision.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was written then.
    pub async fn write(&self, mut write: Write) -> Result<Object, WriteError> {
        if write.durability == Durability::Derived {
            match self.write_now(write) {
                Ok(outcome) => return outcome,
                Err(back) => write = *back,
            }
        }
        let (reply, answer) = oneshot::channel();
        self.tell(writer::Message::Write(Box::new(Request { write, reply })))?;
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// Writes on this thread, if nobody else is writing and no fsync is needed.
    fn write_now(&self, write: Write) -> Result<Result<Object, WriteError>, Box<Write>> {
        let Some(mut writer) = self.writer.try_lock() else { return Err(Box::new(write)) };
        let (outcome, flush) = writer.commit_now(write)?;
        drop(writer);
        if flush {
            // Fails only at the end, which flushes as well.
            let _ = self.tell(writer::Message::Flush);
        }
        Ok(outcome)
    }

    fn tell(&self, message: writer::Message) -> Result<(), WriteError> {
        let queue = self.queue.lock();
        queue.as_ref().ok_or(WriteError::Closed)?.send(message).map_err(|_| WriteError::Closed)
    }

    /// The store as it is now.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        let db = self.db.read();
        let db = db.as_ref().ok_or(ReadError::Closed)?;
        let read = db.begin_read()?;
        let meta = read.open_table(META)?;
        let revision = meta.get(open::REVISION)?.map_or(self.start, |v| v.value());
        let table = read.open_table(OBJECTS)?;
        Ok(Snapshot { table: Arc::new(table), revision })
    }

    /// One object.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn get(&self, key: &Key) -> Result<Option<Object>, ReadError> {
        let db = self.db.read();
        let db = db.as_ref().ok_or(ReadError::Closed)?;
        let table = db.begin_read()?.open_table(OBJECTS)?;
        let Some(value) = table.get(key.encode().as_slice())? else { return Ok(None) };
        decode(key.clone(), value.value()).map(Some)
    }

    /// Objects of a resource, in one namespace or in all, after `from` and at most `limit` (0: all).
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn list(&self, resource: &Arc<str>, namespace: Option<&str>, limit: usize) -> Result<List, ReadError> {
        self.snapshot()?.list(resource, namespace, None, limit)
    }

    /// Ends the writer: what waits is written, all is on disk and the directory is free when this returns.
    pub fn close(&self) {
        drop(self.queue.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
        drop(self.lock.lock().take());
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

impl Snapshot {
    /// As [`Store::list`], at this snapshot's moment, after the key `from`.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn list(
        &self,
        resource: &Arc<str>,
        namespace: Option<&str>,
        from: Option<&Key>,
        limit: usize,
    ) -> Result<List, ReadError> {
        let start = key::prefix(resource, namespace);
        let end = key::after(start.clone());
        let start = match from {
            Some(from) => {
                let mut next = from.encode();
                next.push(0);
                next.max(start)
            }
            None => start,
        };
        let mut items = Vec::new();
        let mut more = false;
        if start < end {
            for entry in self.table.range(start.as_slice()..end.as_slice())? {
                let (key, value) = entry?;
                if limit > 0 && items.len() == limit {
                    more = true;
                    break;
                }
                let mut key = Key::decode(key.value()).ok_or_else(|| ReadError::Failed("a key is damaged".into()))?;
                key.resource = resource.clone();
                items.push(decode(key, value.value())?);
            }
        }
        Ok(List { items, revision: self.revision, more, snapshot: self.clone() })
    }

    /// Every object of every resource.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn each(&self, mut visit: impl FnMut(Object)) -> Result<(), ReadError> {
        for entry in self.table.range::<&[u8]>(..)? {
            let (key, value) = entry?;
            let key = Key::decode(key.value()).ok_or_else(|| ReadError::Failed("a key is damaged".into()))?;
            visit(decode(key, value.value())?);
        }
        Ok(())
    }
}

fn decode(key: Key, value: &[u8]) -> Result<Object, ReadError> {
    let Some((revision, json)) = value.split_first_chunk::<8>() else {
        return Err(ReadError::Failed(format!("{} is damaged", key.name)));
    };
    Ok(Object { key, revision: u64::from_be_bytes(*revision), bytes: Bytes::copy_from_slice(json) })
}
