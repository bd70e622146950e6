//! What goes when something else goes: dependents of owners, the content of namespaces, the objects of definitions.
//!
//! The collector follows every event as it is committed. It knows of each object its UID, its owners and whether it is
//! being deleted, and so never has to search; its task is woken only when there is something to look into.

mod graph;
mod work;

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexSet;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::core::Core;
use crate::store::{Event, EventKind, Key, Meta};
pub(crate) use graph::Task;
use graph::{Graph, Node};

/// Events whose tasks are taken in at once.
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
    fn of(event: &Event) -> Self {
        Self { key: event.object.key.clone(), meta: event.meta.clone(), gone: event.kind == EventKind::Deleted }
    }
}

/// Knows who owns whom.
pub(crate) struct Collector {
    graph: Mutex<Graph>,
    tasks: UnboundedSender<Vec<Task>>,
}

impl Collector {
    /// One that knows of nothing, and where it tells what there is to do.
    pub fn new() -> (Self, UnboundedReceiver<Vec<Task>>) {
        let (tasks, receiver) = unbounded_channel();
        (Self { graph: Mutex::default(), tasks }, receiver)
    }

    /// Takes in an object that is stored at the start. What was interrupted by the last stop is taken up again by
    /// [`Collector::resume`], once all of them are known.
    pub fn stored(&self, key: &Key, meta: Meta) -> Option<Note> {
        let note = Note { key: key.clone(), meta: Arc::new(meta), gone: false };
        self.graph.lock().note(&note);
        (!note.meta.owners.is_empty() || note.meta.deleting).then_some(note)
    }

    /// Tells what there is to do about objects that were stored.
    pub fn resume(&self, notes: &[Note]) {
        let graph = self.graph.lock();
        self.tell(notes.iter().flat_map(|note| graph.tasks(note)).collect());
    }

    /// Takes changes in.
    pub fn apply(&self, events: &[Arc<Event>]) {
        let mut graph = self.graph.lock();
        let mut tasks = Vec::new();
        for note in events.iter().map(|event| Note::of(event)) {
            graph.note(&note);
            tasks.extend(graph.tasks(&note));
        }
        self.tell(tasks);
    }

    fn tell(&self, tasks: Vec<Task>) {
        if !tasks.is_empty() {
            // Fails only once the task has ended with the server.
            let _ = self.tasks.send(tasks);
        }
    }

    fn node(&self, uid: &str) -> Option<Node> {
        self.graph.lock().node(uid).cloned()
    }

    fn dependents_of(&self, uid: &str) -> Vec<Arc<str>> {
        self.graph.lock().dependents_of(uid).cloned().collect()
    }
}

/// Does what there is to do until the server ends.
pub(crate) async fn run(core: Arc<Core>, mut tasks: UnboundedReceiver<Vec<Task>>) {
    let mut due: IndexSet<Task> = IndexSet::new();
    loop {
        let mut failed = IndexSet::new();
        for task in std::mem::take(&mut due) {
            if core.stop.is_cancelled() {
                return;
            }
            if !work::run(&core, &task).await {
                failed.insert(task);
            }
        }
        let mut batch = Vec::new();
        tokio::select! {
            received = tasks.recv_many(&mut batch, BATCH) => if received == 0 { return },
            () = tokio::time::sleep(RETRY), if !failed.is_empty() => {}
            () = core.stop.cancelled() => return,
        }
        due.extend(batch.into_iter().flatten());
        due.extend(failed);
    }
}
