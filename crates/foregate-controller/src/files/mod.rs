//! Files instead of `kubectl apply`: what is in the YAML files of directories is in the API.
//!
//! [`Files`] applies each object of each file (server-side apply as [`MANAGER`]) and removes it again with the file.
//! Only what it made itself is ever deleted: it writes down on each object whether it is its ([`OWNED`]), from which
//! file it is ([`SOURCE_FILE`]) and which content that had ([`SOURCE_HASH`]), so that a restart writes nothing again.
//!
//! A file is taken whole or not at all. Whatever is wrong with it (`Mistake`) is told once, with file, line and field,
//! and what the file said before stays. A directory that isn't there, or can't be read, changes nothing either.
//!
//! # A pass
//! Every change of the directories, once they have been quiet for a moment (`watch`), leads to one pass (`pass`):
//! list the files (`scan`), read those that differ (`document`), let the API try what is new (`api`, a dry run), decide
//! what follows (`plan`, pure), do it, tell what is wrong (`report`). Between passes nothing happens; only what failed
//! for no fault of the files is tried again after a while.

mod api;
mod document;
mod locate;
mod mistake;
mod pass;
mod plan;
mod rank;
mod report;
mod scan;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use tokio_util::sync::CancellationToken;

pub use mistake::Mistake;
use pass::Provider;
use watch::Watcher;

/// The field manager, and the reporter of Events.
pub const MANAGER: &str = "foregate-files";
/// Label of what comes from files.
pub const SOURCE: &str = "foregate.dev/source";
/// Its value.
pub const FILES: &str = "files";
/// Annotation: the file's path.
pub const SOURCE_FILE: &str = "foregate.dev/source-file";
/// Annotation: a hash of what the file says of the object.
pub const SOURCE_HASH: &str = "foregate.dev/source-hash";
/// Annotation: whether the file provider made the object (`true`), and so may delete it.
pub const OWNED: &str = "foregate.dev/source-owned";

/// Waits after failures that aren't the files' fault.
const WAITS: [u64; 6] = [1, 2, 4, 8, 15, 30];

/// Why files can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The system gives no notifications.
    #[error("directories can't be watched: {0}")]
    Watch(String),
    /// A directory's path can't be made absolute.
    #[error("{path}: {source}")]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Directories that are followed.
pub struct Files {
    provider: Provider,
    watcher: Watcher,
    failures: usize,
}

impl Files {
    /// Begins to watch directories; they needn't exist yet. `client` reaches the API that their objects go to.
    ///
    /// # Errors
    /// When the system doesn't tell of changes.
    pub fn new(client: Client, directories: &[PathBuf]) -> Result<Self, FilesError> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path).map_err(|source| FilesError::Path { path: path.clone(), source })
        };
        let roots: Vec<PathBuf> = directories.iter().map(absolute).collect::<Result<_, _>>()?;
        let watcher = Watcher::new()?;
        Ok(Self { provider: Provider::new(client, roots), watcher, failures: 0 })
    }

    /// Applies what is there now, and removes what has vanished since the last time that it ran. What fails is told,
    /// and tried again by [`Files::run`].
    pub async fn first_pass(&mut self) {
        self.pass().await;
    }

    /// Follows the directories until the shutdown.
    ///
    /// # Errors
    /// When the system stops telling of changes.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), FilesError> {
        loop {
            let retry = async {
                match self.failures {
                    0 => std::future::pending().await,
                    count => {
                        let wait = WAITS.get(count - 1).or(WAITS.last()).copied().unwrap_or(1);
                        tokio::time::sleep(Duration::from_secs(wait)).await;
                    }
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = self.watcher.settled() => changed?,
                () = retry => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.pass() => {}
            }
        }
    }

    async fn pass(&mut self) {
        // What changes while a directory isn't watched yet is seen by looking once more.
        loop {
            let done = self.provider.pass().await;
            self.failures = if done.again { self.failures + 1 } else { 0 };
            let unwatched = self.watcher.follow(&done.directories);
            self.provider.unwatched(unwatched.failed).await;
            if !unwatched.added {
                return;
            }
        }
    }
}
