//! Noticing that engines come and go.

use std::sync::Arc;

use notify::{RecursiveMode, Watcher};
use tokio::sync::watch;

use super::{Store, StoreError};

/// Tells whoever subscribes that something has changed in the store.
#[derive(Clone)]
pub struct Watch {
    changes: watch::Receiver<u64>,
    /// Ends with the last clone.
    _watcher: Arc<notify::RecommendedWatcher>,
}

impl Watch {
    /// Watches a store; its directory is made if it isn't there.
    ///
    /// # Errors
    /// When the directory can't be made or watched.
    pub fn start(store: &Store) -> Result<Self, StoreError> {
        let path = store.root().to_owned();
        let failed = |source| StoreError::File { path: path.clone(), source };
        std::fs::create_dir_all(&path).map_err(failed)?;
        let (sender, changes) = watch::channel(0);
        let told = move |event: notify::Result<notify::Event>| {
            // An engine is being run, or read: nothing has changed. An error may stand for anything.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                sender.send_modify(|count| *count += 1);
            }
        };
        let other = |error: notify::Error| failed(std::io::Error::other(error));
        let mut watcher = notify::recommended_watcher(told).map_err(other)?;
        watcher.watch(&path, RecursiveMode::NonRecursive).map_err(other)?;
        Ok(Self { changes, _watcher: Arc::new(watcher) })
    }

    /// Waits for the next change.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
