//! The state that a stream keeps, per kind and per resource.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use foregate_envoy::ResourceId;

use crate::store::Entry;

/// What a response tells about one unit.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Set(Arc<Entry>),
    Remove,
}

/// One resource, as this stream knows it.
#[derive(Debug, Default)]
pub(super) struct Item {
    /// What the client has acknowledged last, and has.
    pub(super) acked: Option<Arc<Entry>>,
    /// What is in flight. The client may have it.
    pub(super) sent: Option<Change>,
    /// What was in a refused response together with others. The client may have it: Envoy keeps what was good.
    pub(super) suspect: Option<Change>,
    /// The version that it refused last; cleared by an acknowledgement.
    pub(super) refused: Option<Arc<str>>,
    /// The sequence of the oldest change to it that isn't settled.
    pub(super) outstanding: Option<u64>,
    /// The client has a version of which only the name is known (from `initial_resource_versions`).
    pub(super) unknown: bool,
    /// To be sent even if the client has it: it asked, or may have applied something else.
    pub(super) answer: bool,
    queued: bool,
}

impl Item {
    /// Whether the client has, or may have, some version of it.
    pub(super) fn present(&self) -> bool {
        let maybe = [&self.sent, &self.suspect].into_iter().any(|change| matches!(change, Some(Change::Set(_))));
        self.acked.is_some() || self.unknown || maybe
    }

    /// Whether its removal is on the way.
    pub(super) fn leaving(&self) -> bool {
        [&self.sent, &self.suspect].into_iter().any(|change| matches!(change, Some(Change::Remove)))
    }

    /// Whether this version was refused together with others, so that it has been sent before.
    pub(super) fn is_suspect(&self, entry: &Entry) -> bool {
        matches!(&self.suspect, Some(Change::Set(suspect)) if suspect.version() == entry.version())
    }
}

/// A response that the client has not answered.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) nonce: String,
    pub(super) units: Vec<ResourceId>,
}

/// One kind: what the client wants of it, and the response in flight.
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// A request for this kind has come.
    pub(super) started: bool,
    pub(super) wildcard: bool,
    pub(super) names: HashSet<Arc<str>>,
    /// Route configurations whose virtual hosts are all wanted.
    pub(super) globs: HashSet<Arc<str>>,
    pub(super) items: HashMap<Arc<str>, Item>,
    pub(super) flight: Option<Flight>,
    /// The nonce of the last response, answered or not.
    pub(super) last_nonce: String,
    /// Groups of units of a refused response, each to be sent again as a response of its own.
    pub(super) suspects: VecDeque<Vec<ResourceId>>,
    /// The first answer to a wildcard is due, even if it is empty: clients wait for it.
    pub(super) greet: bool,
    queue: VecDeque<Arc<str>>,
}

impl Channel {
    pub(super) fn wants_name(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    pub(super) fn enqueue(&mut self, name: &Arc<str>) {
        let Some(item) = self.items.get_mut(name) else { return };
        if !item.queued {
            item.queued = true;
            self.queue.push_back(name.clone());
        }
    }

    /// The next queued unit that is still there.
    pub(super) fn dequeue(&mut self) -> Option<Arc<str>> {
        while let Some(name) = self.queue.pop_front() {
            if let Some(item) = self.items.get_mut(&name)
                && std::mem::take(&mut item.queued)
            {
                return Some(name);
            }
        }
        if self.queue.capacity() > 1024 {
            self.queue = VecDeque::new();
        }
        None
    }

    /// How many units are queued at most.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn has_work(&self) -> bool {
        self.greet || !self.suspects.is_empty() || !self.queue.is_empty()
    }
}
