//! Numbers for names: what a route names is found by index on the request path, not by hashing a name.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// A name and its number; the number is free again when the last holder is gone.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The index in the snapshot.
    pub(crate) number: u32,
    /// The name.
    pub(crate) name: Arc<str>,
    free: Arc<Mutex<Vec<u32>>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.free.lock().push(self.number);
    }
}

/// Gives out slots. A snapshot that names a slot holds it, so a number is never given to another name while any
/// snapshot that a request may still use knows it.
#[derive(Default)]
pub(crate) struct Interner {
    names: HashMap<Arc<str>, Weak<Slot>>,
    free: Arc<Mutex<Vec<u32>>>,
    next: u32,
}

impl Interner {
    /// The slot of a name.
    pub(crate) fn slot(&mut self, name: &str) -> Arc<Slot> {
        if let Some(slot) = self.names.get(name).and_then(Weak::upgrade) {
            return slot;
        }
        let recycled = self.free.lock().pop();
        let number = recycled.unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        if self.names.len() > 64 && self.names.len() > 2 * self.next as usize {
            self.names.retain(|_, slot| slot.strong_count() > 0);
        }
        let name: Arc<str> = name.into();
        let slot = Arc::new(Slot { number, name: Arc::clone(&name), free: Arc::clone(&self.free) });
        self.names.insert(name, Arc::downgrade(&slot));
        slot
    }
}

/// Numbers of what route configurations name.
#[derive(Default)]
pub(crate) struct Numbers {
    /// Clusters.
    pub(crate) clusters: Interner,
    /// The routes themselves, for what is counted of each: it goes on when a route changes.
    pub(crate) routes: Interner,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_reused_only_when_nobody_holds_it() {
        let mut interner = Interner::default();
        let a = interner.slot("a");
        let held = Arc::clone(&a);
        assert_eq!(interner.slot("a").number, a.number);
        drop(a);
        let b = interner.slot("b");
        assert_ne!(b.number, held.number);
        let number = held.number;
        drop(held);
        assert_eq!(interner.slot("c").number, number);
    }
}
