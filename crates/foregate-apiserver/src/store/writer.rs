//! The writer: group commit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use redb::{Database, ReadableDatabase, ReadableTable};

use super::ballast::Ballast;
use super::open::{Disk, LIMIT, REVISION, REVISION_BLOCK};
use super::{Durability, Event, EventKind, FLUSH, META, OBJECTS, Object, Observer, Request, Write, WriteError, open};

/// Writes in one transaction at most: bounds how long the first of them waits for the last.
const BATCH: usize = 512;

/// The writer's thread.
pub(super) fn run(writer: &Mutex<Writer>, messages: &Receiver<Message>) {
    loop {
        let flush_at = writer.lock().flush_at;
        let first = match flush_at {
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => messages.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match first {
            Ok(Message::Write(request)) => {
                let mut requests = vec![*request];
                while requests.len() < BATCH
                    && let Ok(Message::Write(next)) = messages.try_recv()
                {
                    requests.push(*next);
                }
                writer.lock().batch(requests);
            }
            // The time of the flush is looked at again.
            Ok(Message::Flush) => {}
            Err(RecvTimeoutError::Timeout) => writer.lock().flush(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    writer.lock().finish();
}

type Outcome = Result<Arc<Event>, WriteError>;

/// What the writer's thread is told.
pub(super) enum Message {
    /// A write and who waits for it.
    Write(Box<Request>),
    /// Something was committed that must be flushed before long.
    Flush,
}

pub(super) struct Writer {
    db: Arc<RwLock<Option<Database>>>,
    path: PathBuf,
    disk: Disk,
    ballast: Ballast,
    observer: Observer,
    revision: u64,
    limit: u64,
    /// Committed and acknowledged, not yet on disk; what must be written again if the file has to be reopened.
    unflushed: BTreeMap<Vec<u8>, Option<(u64, Bytes)>>,
    flush_at: Option<Instant>,
    broken: bool,
    closed: bool,
    /// The events of a commit that was begun: if it fails, only the reopened file tells whether it took place.
    in_doubt: Vec<Arc<Event>>,
}

impl Writer {
    pub(super) fn new(
        db: Arc<RwLock<Option<Database>>>,
        dir: &Path,
        disk: Disk,
        observer: Observer,
        (revision, limit): (u64, u64),
    ) -> Self {
        Self {
            db,
            path: dir.join(open::FILE),
            disk,
            ballast: Ballast::new(dir),
            observer,
            revision,
            limit,
            unflushed: BTreeMap::new(),
            flush_at: None,
            broken: false,
            closed: false,
            in_doubt: Vec::new(),
        }
    }

    /// Commits one derived write at once, on the caller's thread, if that takes no fsync: it is sparing of two
    /// changes of threads. None hands the write back. The second value: whether the thread must be told of a flush.
    pub(super) fn commit_now(&mut self, write: Write) -> Result<(Result<Object, WriteError>, bool), Box<Write>> {
        if write.durability == Durability::Immediate || self.broken || self.closed || self.needs_block(1) {
            return Err(Box::new(write));
        }
        let flushes = self.flush_at.is_some();
        let outcome = match self.attempt(std::slice::from_ref(&write), false) {
            Ok(mut outcomes) => outcomes.pop().unwrap_or(Err(WriteError::Closed)).map(|event| event.object.clone()),
            Err(error) => Err(error),
        };
        Ok((outcome, !flushes && self.flush_at.is_some()))
    }

    fn needs_block(&self, writes: usize) -> bool {
        self.revision + writes as u64 >= self.limit
    }

    /// Commits and announces what can be committed.
    fn attempt(&mut self, writes: &[Write], may_flush: bool) -> Result<Vec<Outcome>, WriteError> {
        self.ready()?;
        let outcomes = self.commit(writes, may_flush).map_err(|error| self.failed(&error))?;
        let events: Vec<Arc<Event>> = outcomes.iter().filter_map(|o| o.as_ref().ok().cloned()).collect();
        if !events.is_empty() {
            (self.observer)(&events);
        }
        Ok(outcomes)
    }

    fn batch(&mut self, requests: Vec<Request>) {
        let (writes, replies): (Vec<Write>, Vec<_>) = requests.into_iter().map(|r| (r.write, r.reply)).unzip();
        match self.attempt(&writes, true) {
            Ok(outcomes) => {
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    let _ = reply.send(outcome.map(|event| event.object.clone()));
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// One transaction with all of `writes` whose expectations hold.
    fn commit(&mut self, writes: &[Write], may_flush: bool) -> Result<Vec<Outcome>, redb::Error> {
        let shared = self.db.clone();
        let db = shared.read();
        let Some(db) = db.as_ref() else { return Err(redb::Error::DatabaseClosed) };
        let mut transaction = db.begin_write()?;
        let needs_block = self.needs_block(writes.len());
        let flush_due = may_flush && self.flush_at.is_some_and(|at| at <= Instant::now());
        let durable = needs_block || flush_due || writes.iter().any(|w| w.durability == Durability::Immediate);
        transaction.set_durability(if durable { redb::Durability::Immediate } else { redb::Durability::None })?;
        let limit = if needs_block { self.revision + writes.len() as u64 + REVISION_BLOCK } else { self.limit };
        let mut revision = self.revision;
        let mut outcomes = Vec::with_capacity(writes.len());
        {
            let mut table = transaction.open_table(OBJECTS)?;
            for write in writes {
                outcomes.push(put(&mut table, write, &mut revision)?);
            }
        }
        if revision == self.revision {
            transaction.abort()?;
            return Ok(outcomes);
        }
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert(REVISION, revision)?;
            if needs_block {
                meta.insert(LIMIT, limit)?;
            }
        }
        self.in_doubt = outcomes.iter().filter_map(|o| o.as_ref().ok().cloned()).collect();
        transaction.commit()?;
        self.in_doubt.clear();
        (self.revision, self.limit) = (revision, limit);
        if durable {
            self.unflushed.clear();
            self.flush_at = None;
        } else {
            self.remember(&outcomes);
        }
        Ok(outcomes)
    }

    fn remember(&mut self, outcomes: &[Outcome]) {
        for event in outcomes.iter().flatten() {
            let object = &event.object;
            let state = (event.kind != EventKind::Deleted).then(|| (object.revision, object.bytes.clone()));
            self.unflushed.insert(object.key.encode(), state);
        }
        self.flush_at.get_or_insert_with(|| Instant::now() + FLUSH);
    }

    /// Puts what was acknowledged without an fsync on disk.
    fn flush(&mut self) {
        let result = self.ready().and_then(|()| self.flush_now().map_err(|e| self.failed(&e)));
        if result.is_err() {
            self.flush_at = Some(Instant::now() + FLUSH);
        }
    }

    fn flush_now(&mut self) -> Result<(), redb::Error> {
        let shared = self.db.clone();
        let db = shared.read();
        let Some(db) = db.as_ref() else { return Err(redb::Error::DatabaseClosed) };
        let mut transaction = db.begin_write()?;
        transaction.set_durability(redb::Durability::Immediate)?;
        transaction.open_table(META)?.insert(REVISION, self.revision)?;
        transaction.commit()?;
        self.unflushed.clear();
        self.flush_at = None;
        Ok(())
    }

    /// Whether the store can be written: after a failure the file is reopened first, and space must be left.
    fn ready(&mut self) -> Result<(), WriteError> {
        if self.closed {
            return Err(WriteError::Closed);
        }
        if self.broken {
            self.recover().map_err(|error| self.refusal(&error))?;
        }
        if self.ballast.hold() && !self.disk.is_full() {
            return Ok(());
        }
        Err(WriteError::Full { path: self.path.display().to_string() })
    }

    /// Notes a failure, and reopens the file at once, so that reads go on.
    fn failed(&mut self, error: &redb::Error) -> WriteError {
        self.broken = true;
        tracing::error!(%error, path = %self.path.display(), "the store could not be written");
        let refusal = self.refusal(error);
        if let Err(error) = self.recover() {
            tracing::error!(%error, path = %self.path.display(), "the store could not be reopened");
        }
        refusal
    }

    fn refusal(&self, error: &redb::Error) -> WriteError {
        let full = matches!(error, redb::Error::Io(io)
            if matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded));
        if full {
            WriteError::Full { path: self.path.display().to_string() }
        } else {
            WriteError::Failed(error.to_string())
        }
    }

    /// After a failure: redb refuses all further work on the file, so it is opened anew, and what was acknowledged
    /// but not yet on disk is written again.
    fn recover(&mut self) -> Result<(), redb::Error> {
        self.ballast.release();
        let shared = self.db.clone();
        let mut slot = shared.write();
        // The file must be closed before it can be opened again.
        drop(slot.take());
        let db = open::database(&self.path, &self.disk).map_err(|e| match e {
            super::OpenError::Io { source, .. } => redb::Error::Io(source),
            other => redb::Error::Corrupted(other.to_string()),
        })?;
        // Whatever happens below, readers get back what is on disk.
        let db = slot.insert(db);
        let events = std::mem::take(&mut self.in_doubt);
        let last = events.last().map_or(0, |e| e.object.revision);
        if last > 0 && db.begin_read()?.open_table(META)?.get(REVISION)?.is_some_and(|v| v.value() >= last) {
            // The commit that was reported as failed did take place. Who waited for it was told that it failed,
            // which a client must expect of any error; watchers must see it.
            self.revision = last;
            self.unflushed.clear();
            (self.observer)(&events);
        }
        self.rewrite(db)?;
        self.unflushed.clear();
        self.flush_at = None;
        self.broken = false;
        Ok(())
    }

    /// Writes again what was acknowledged and not yet on disk, and begins a new block of revisions: those of the
    /// failed transaction are never used again.
    fn rewrite(&mut self, db: &Database) -> Result<(), redb::Error> {
        let start = self.limit.max(self.revision);
        let mut transaction = db.begin_write()?;
        transaction.set_durability(redb::Durability::Immediate)?;
        {
            let mut table = transaction.open_table(OBJECTS)?;
            for (key, state) in &self.unflushed {
                match state {
                    Some((revision, json)) => drop(table.insert(key.as_slice(), encode(*revision, json).as_slice())?),
                    None => drop(table.remove(key.as_slice())?),
                }
            }
            let mut meta = transaction.open_table(META)?;
            meta.insert(REVISION, start)?;
            meta.insert(LIMIT, start + REVISION_BLOCK)?;
        }
        transaction.commit()?;
        (self.revision, self.limit) = (start, start + REVISION_BLOCK);
        Ok(())
    }

    /// A clean end: everything on disk, and the rest of the block of revisions given back.
    fn finish(&mut self) {
        if !self.unflushed.is_empty() {
            self.flush();
        }
        self.closed = true;
        if let Some(db) = self.db.write().take() {
            if let Err(error) = give_back(&db, self.revision) {
                tracing::warn!(%error, "the store's last transaction failed; revisions will skip ahead");
            }
            if let Err(error) = db.close() {
                tracing::warn!(%error, "the store was not closed cleanly; it will be checked at the next start");
            }
        }
    }
}

fn give_back(db: &Database, revision: u64) -> Result<(), redb::Error> {
    let mut transaction = db.begin_write()?;
    transaction.set_durability(redb::Durability::Immediate)?;
    transaction.open_table(META)?.insert(LIMIT, revision + 1)?;
    transaction.commit()?;
    Ok(())
}

fn encode(revision: u64, json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + json.len());
    out.extend_from_slice(&revision.to_be_bytes());
    out.extend_from_slice(json);
    out
}

/// Checks one write and puts it into the transaction.
fn put(
    table: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    write: &Write,
    revision: &mut u64,
) -> Result<Outcome, redb::Error> {
    let key = write.key.encode();
    let current = table.get(key.as_slice())?.and_then(|v| v.value().first_chunk::<8>().map(|b| u64::from_be_bytes(*b)));
    match (write.expect, current) {
        (None, Some(_)) => return Ok(Err(WriteError::Exists)),
        (Some(_), None) => return Ok(Err(WriteError::Missing)),
        (Some(expected), Some(current)) if expected != current => return Ok(Err(WriteError::Changed { current })),
        _ => {}
    }
    *revision += 1;
    let bytes = write.draft.finish(*revision);
    if write.delete {
        table.remove(key.as_slice())?;
    } else {
        let mut value = table.insert_reserve(key.as_slice(), 8 + bytes.len())?;
        let (head, tail) = value.as_mut().split_at_mut(8);
        head.copy_from_slice(&revision.to_be_bytes());
        tail.copy_from_slice(&bytes);
    }
    let kind = match (write.delete, current) {
        (true, _) => EventKind::Deleted,
        (false, None) => EventKind::Added,
        (false, Some(_)) => EventKind::Modified,
    };
    Ok(Ok(Arc::new(Event {
        kind,
        object: Object { key: write.key.clone(), revision: *revision, bytes },
        meta: write.meta.clone(),
        old: write.old.clone(),
    })))
}
