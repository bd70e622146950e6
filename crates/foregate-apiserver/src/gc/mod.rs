//! What goes when something else goes: dependents of owners, the content of namespaces, the objects of definitions.
//!
//! One task follows every event. It knows of each object its UID, its owners and whether it is being deleted, and so
//! never has to search.

mod graph;
mod work;

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::core::Core;
use crate::store::{Event, EventKind, Key, Meta};
use graph::Graph;

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
        Self {
            key: event.object.key.clone(),
            meta: event.meta.clone(),
            gone: event.kind == EventKind::Deleted,
        }
    }

    /// Of an object that was there at the start.
    pub fn stored(key: &Key, value: &Value) -> Self {
        Self { key: key.clone(), meta: Arc::new(Meta::of(value)), gone: false }
    }
}

/// Follows events until the server ends.
pub(crate) async fn run(core: Arc<Core>, stored: Vec<Note>, mut notes: UnboundedReceiver<Vec<Note>>) {
    let mut graph = Graph::default();
    for note in &stored {
        graph.note(note);
    }
    // What was interrupted by the last stop is taken up again.
    let mut due: Vec<graph::Task> = stored.iter().flat_map(|n| graph.tasks(n)).collect();
    drop(stored);
    loop {
        for task in std::mem::take(&mut due) {
            if core.stop.is_cancelled() {
                return;
            }
            work::run(&core, &graph, &task).await;
        }
        let batch = tokio::select! {
            batch = notes.recv() => batch,
            () = core.stop.cancelled() => return,
        };
        let Some(batch) = batch else { return };
        for note in &batch {
            graph.note(note);
        }
        due.extend(batch.iter().flat_map(|n| graph.tasks(n)));
    }
}
