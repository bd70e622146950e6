//! What can go wrong with the store.

use std::path::PathBuf;

/// The store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("the data directory {dir} is in use by another process{holder}: it holds the lock {lock}; stop it, or choose another directory with --data-dir", dir = dir.display(), lock = lock.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// Its lock file.
        lock: PathBuf,
        /// ` (pid N)`, where the lock file names it.
        holder: String,
    },
    /// The file is not a store, or damaged.
    #[error("the store {path} is damaged: {detail}; restore it from a backup, or move it away to start empty", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the store's check found.
        detail: String,
    },
    /// Files can't be created, read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A write that was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The object is there already.
    #[error("the object exists")]
    Exists,
    /// The object is gone.
    #[error("the object does not exist")]
    Missing,
    /// The object has another revision than the write expects.
    #[error("the object has changed: it is at revision {current}")]
    Changed {
        /// Its revision now.
        current: u64,
    },
    /// The object has grown too large.
    #[error("the object would be {size} bytes: at most {limit} are stored")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The disk is full; nothing was written.
    #[error("the disk that holds {path} is full: nothing was written; free some space and try again")]
    Full {
        /// The store's file.
        path: String,
    },
    /// Another failure of the disk or the store; nothing was written.
    #[error("the store could not be written: {0}")]
    Failed(String),
    /// The server is stopping.
    #[error("the store is closed")]
    Closed,
}

/// A read that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The server is stopping.
    #[error("the store is closed")]
    Closed,
    /// A failure of the disk, or damage.
    #[error("the store could not be read: {0}")]
    Failed(String),
}

macro_rules! read_error_from {
    ($($source:ty),+) => { $(impl From<$source> for ReadError {
        fn from(error: $source) -> Self {
            Self::Failed(error.to_string())
        }
    })+ };
}

read_error_from!(redb::TransactionError, redb::TableError, redb::StorageError);
