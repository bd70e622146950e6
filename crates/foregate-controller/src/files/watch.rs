//! Notifications of directories, until they are quiet.
//!
//! Directories are watched one by one, not whole trees: what symbolic links lead to is among them, and a tree that is
//! replaced is found by the event of its parent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::FilesError;
use super::mistake::Mistake;

/// Nothing may happen for so long before it is looked: files are written in steps.
const QUIET: Duration = Duration::from_millis(100);
/// It is looked after so long at the latest, though something goes on and on.
const LONGEST: Duration = Duration::from_secs(2);

/// Watched directories.
pub(crate) struct Watcher {
    watcher: RecommendedWatcher,
    changed: mpsc::Receiver<()>,
    /// Device and inode tell whether it is the same directory still.
    watched: BTreeMap<PathBuf, (u64, u64)>,
}

/// What became of new directories.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// Some are watched since now only: something may have changed before.
    pub added: bool,
    /// Those that can't be watched.
    pub failed: Vec<Mistake>,
}

impl Watcher {
    /// Watches nothing yet.
    pub(crate) fn new() -> Result<Self, FilesError> {
        // One is enough: whatever has happened, it is looked at all.
        let (sender, changed) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, matters) {
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher.map_err(|error| FilesError::Watch(error.to_string()))?;
        Ok(Self { watcher, changed, watched: BTreeMap::new() })
    }

    /// Waits until something has changed and nothing changes any more.
    pub(crate) async fn settled(&mut self) -> Result<(), FilesError> {
        let ended = || FilesError::Watch("notifications have ended".to_owned());
        self.changed.recv().await.ok_or_else(ended)?;
        let latest = Instant::now() + LONGEST;
        while let Ok(Ok(more)) = timeout_at(latest, timeout(QUIET, self.changed.recv())).await {
            more.ok_or_else(ended)?;
        }
        Ok(())
    }

    /// Watches these directories and no others.
    pub(crate) fn follow(&mut self, directories: &BTreeSet<PathBuf>) -> Followed {
        let mut followed = Followed::default();
        let over: Vec<PathBuf> = self.watched.keys().filter(|path| !directories.contains(*path)).cloned().collect();
        for path in over {
            self.forget(&path);
        }
        for path in directories {
            let Some(identity) = identity(path) else {
                self.forget(path);
                continue;
            };
            if self.watched.get(path) == Some(&identity) {
                continue;
            }
            self.forget(path);
            match self.watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone(), identity);
                    followed.added = true;
                }
                Err(error) => {
                    let message = format!("can't be watched, so that its changes aren't seen: {error}");
                    followed.failed.push(Mistake::of_file(path, message));
                }
            }
        }
        followed
    }

    fn forget(&mut self, path: &Path) {
        if self.watched.remove(path).is_some() {
            // It is gone already where the directory is.
            let _ = self.watcher.unwatch(path);
        }
    }
}

/// Reading isn't changing.
fn matters(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().filter(fs::Metadata::is_dir).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    async fn is_told(watcher: &mut Watcher) {
        timeout(PATIENCE, watcher.settled()).await.expect("nothing is told").unwrap();
    }

    #[tokio::test]
    async fn changes_are_told_once_and_reading_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let directories = BTreeSet::from([dir.path().to_owned()]);
        let mut watcher = Watcher::new().unwrap();
        assert!(watcher.follow(&directories).added);
        assert!(!watcher.follow(&directories).added, "it is watched already");
        let file = dir.path().join("a.yaml");
        fs::write(&file, "a").unwrap();
        fs::rename(&file, dir.path().join("b.yaml")).unwrap();
        is_told(&mut watcher).await;
        // On a busy machine the second change may come late.
        let _ = timeout(QUIET * 10, watcher.settled()).await;
        fs::read(dir.path().join("b.yaml")).unwrap();
        assert!(timeout(QUIET * 3, watcher.settled()).await.is_err(), "reading is told");
    }

    #[tokio::test]
    async fn a_directory_that_returns_is_watched_again() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("d");
        fs::create_dir(&dir).unwrap();
        let directories = BTreeSet::from([parent.path().to_owned(), dir.clone()]);
        let mut watcher = Watcher::new().unwrap();
        watcher.follow(&directories);
        fs::remove_dir(&dir).unwrap();
        is_told(&mut watcher).await;
        assert!(!watcher.follow(&directories).added);
        fs::create_dir(&dir).unwrap();
        is_told(&mut watcher).await;
        assert!(watcher.follow(&directories).added);
        fs::write(dir.join("a.yaml"), "a").unwrap();
        is_told(&mut watcher).await;
    }
}
