//! What is kept in step with stored objects of some kinds: who may do what, which policies apply.

use serde_json::Value;

use crate::store::{Event, EventKind, Key};

/// Follows objects, so that requests are decided without reading the store.
pub(crate) trait Follow {
    /// Takes an object as it is from now on; none: it is gone.
    fn set(&self, key: &Key, object: Option<&Value>);

    /// Takes a change in.
    fn apply(&self, event: &Event) {
        let value: Option<Value> = match event.kind {
            EventKind::Deleted => None,
            _ => serde_json::from_slice(&event.object.bytes).ok(),
        };
        self.set(&event.object.key, value.as_ref());
    }
}
