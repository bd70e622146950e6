//! What goes when something else goes: dependents of owners, the content of namespaces, the objects of definitions.
//!
//! One task follows every event. It knows of each object its UID, its owners and whether it is being deleted, and so
//! never has to search.

mod graph;
mod work;

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexSet;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::core::Core;
use crate::store::{Event, EventKind, Key, Meta};
use graph::{Graph, Task};

/// Commits whose events are taken in at once.
const BATCH: usize = 256;
/// When what failed is tried again, e.g. because the disk is full.
const RETRY: Duration = Duration::from_secs(1);

/// What the collector is told of an object.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub key: Key,
    pub meta: Arc<Meta>,
    pub gone: bool,
}

impl Note {
    /// Of an event.
    pub fn of(event: &Event) -> Self {
        Self { key: event.object.key.clone(), meta: event.meta.clone(), gone: event.kind == EventKind::Deleted }
    }

    /// Of an object that was there at the start.
    pub fn stored(key: &Key, meta: Meta) -> Self {
        Self { key: key.clone(), meta: Arc::new(meta), gone: false }
    }
}

/// Follows events until the server ends.
pub(crate) async fn run(core: Arc<Core>, stored: Vec<Note>, mut notes: UnboundedReceiver<Vec<Note>>) {
    let mut graph = Graph::default();
    for note in &stored {
        graph.note(note);
    }
    // What was interrupted by the last stop is taken up again.
    let mut due: IndexSet<Task> = stored.iter().flat_map(|n| graph.tasks(n)).collect();
    drop(stored);
    loop {
        let mut failed = IndexSet::new();
        for task in std::mem::take(&mut due) {
            if core.stop.is_cancelled() {
                return;
            }
            if !work::run(&core, &graph, &task).await {
                failed.insert(task);
            }
        }
        let mut batch = Vec::new();
        tokio::select! {
            received = notes.recv_many(&mut batch, BATCH) => if received == 0 { return },
            () = tokio::time::sleep(RETRY), if !failed.is_empty() => {}
            () = core.stop.cancelled() => return,
        }
        for note in batch.iter().flatten() {
            graph.note(note);
        }
        due.extend(batch.iter().flatten().flat_map(|n| graph.tasks(n)));
        due.extend(failed);
    }
}
