//! Which namespaces there are, so that a new object is placed without reading its namespace from the store.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::store::{Event, EventKind, Meta};

/// The resource that namespaces are stored under.
pub(crate) const NAMESPACES: &str = "/namespaces";

/// Names of namespaces, each with whether it is going away.
#[derive(Default)]
pub(crate) struct Namespaces(RwLock<HashMap<Arc<str>, bool>>);

impl Namespaces {
    /// Takes one that is stored.
    pub fn set(&self, name: &Arc<str>, meta: &Meta) {
        self.0.write().insert(name.clone(), meta.deleting);
    }

    /// Takes a change in.
    pub fn apply(&self, event: &Event) {
        let name = &event.object.key.name;
        match event.kind {
            EventKind::Deleted => drop(self.0.write().remove(name)),
            _ => self.set(name, &event.meta),
        }
    }

    /// Whether a namespace is going away; none: it isn't there.
    pub fn is_ending(&self, name: &str) -> Option<bool> {
        self.0.read().get(name).copied()
    }
}
