//! Opening: the lock on the data directory, the check of the file, the revisions that no one has seen yet.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use redb::{Database, DatabaseError, Durability, ReadableDatabase, StorageError};

use super::error::OpenError;
use super::{META, OBJECTS};

/// The store's file in the data directory.
pub const FILE: &str = "store.redb";
/// Its lock.
pub const LOCK: &str = "store.lock";
/// Pages that redb keeps in memory, in bytes. The operating system caches the rest.
const CACHE: usize = 4 << 20;
/// Revisions are taken from a block whose end is on disk before its first one is given out.
pub const REVISION_BLOCK: u64 = 1 << 16;

/// `META`: the revision of the last write in a transaction.
pub const REVISION: &str = "revision";
/// `META`: no revision above this one was ever given out.
pub const LIMIT: &str = "revision-limit";

/// What the file is on. In tests it may be told to be full.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    #[cfg(test)]
    pub faults: super::tests::Faults,
}

impl Disk {
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the same as in tests")]
    fn open(&self, builder: &redb::Builder, path: &Path) -> Result<Database, DatabaseError> {
        builder.open(path)
    }

    #[cfg(test)]
    fn open(&self, builder: &redb::Builder, path: &Path) -> Result<Database, DatabaseError> {
        self.faults.open(builder, path)
    }

    /// Whether a test says that the space which is kept free is gone as well.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the same as in tests")]
    pub fn is_full(&self) -> bool {
        false
    }

    /// Whether a test says that the space which is kept free is gone as well.
    #[cfg(test)]
    pub fn is_full(&self) -> bool {
        self.faults.is_full()
    }
}

/// Takes the data directory's lock for this process.
pub fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let io = |source| OpenError::Io { path: path.clone(), source };
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim().parse::<u32>().map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            return Err(OpenError::Locked { dir: dir.to_owned(), lock: path, holder });
        }
        Err(std::fs::TryLockError::Error(source)) => return Err(io(source)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
    // Only for the message above: a disk too full for it must not keep the server from starting.
    let _ = write!(file, "{}", std::process::id());
    Ok(file)
}

/// Opens the file, or makes a new one.
pub fn database(path: &Path, disk: &Disk) -> Result<Database, OpenError> {
    let damaged = |detail: String| OpenError::Damaged { path: path.to_owned(), detail };
    if let Ok(meta) = std::fs::metadata(path)
        && meta.len() == 0
    {
        // redb takes an empty file for a new store: it would hide that everything is gone.
        return Err(damaged("the file is empty".into()));
    }
    let fresh = !path.exists();
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(!fresh);
    let opened = if fresh { create(&builder, path, disk) } else { disk.open(&builder, path) };
    opened.map_err(|error| match error {
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() != std::io::ErrorKind::InvalidData => {
            let cut = matches!(source.kind(), std::io::ErrorKind::UnexpectedEof);
            if cut { damaged(source.to_string()) } else { OpenError::Io { path: path.to_owned(), source } }
        }
        DatabaseError::DatabaseAlreadyOpen => OpenError::Locked {
            dir: path.parent().unwrap_or(path).to_owned(),
            lock: path.to_owned(),
            holder: String::new(),
        },
        other => damaged(other.to_string()),
    })
}

/// Builds a new store beside its place and moves it there, so that a crash here leaves none rather than half of one.
fn create(builder: &redb::Builder, path: &Path, disk: &Disk) -> Result<Database, DatabaseError> {
    let part = path.with_extension("new");
    let io = |error| DatabaseError::Storage(StorageError::Io(error));
    if part.exists() {
        std::fs::remove_file(&part).map_err(io)?;
    }
    let database = builder.create(&part)?;
    drop(database);
    set_private(&part).map_err(io)?;
    std::fs::rename(&part, path).map_err(io)?;
    disk.open(builder, path)
}

#[cfg(unix)]
fn set_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn set_private(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

/// The first revision that this process may use, and the end of its block, both durable.
pub fn reserve(db: &Database) -> Result<(u64, u64), redb::Error> {
    let limit = {
        let read = db.begin_read()?;
        match read.open_table(META) {
            Ok(table) => table.get(LIMIT)?.map_or(0, |v| v.value()),
            Err(redb::TableError::TableDoesNotExist(_)) => 0,
            Err(error) => return Err(error.into()),
        }
    };
    let start = limit.max(1);
    let end = start + REVISION_BLOCK;
    let mut write = db.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    {
        let mut meta = write.open_table(META)?;
        meta.insert(LIMIT, end)?;
        meta.insert(REVISION, start)?;
        write.open_table(OBJECTS)?;
    }
    write.commit()?;
    Ok((start, end))
}
