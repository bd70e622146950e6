//! A worker's counters of routes: found by the route's number, made when the first request takes it, gone with it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};

use super::instance::Local;
use crate::metrics::{Registry, RouteStats};
use crate::slots::Slot;

/// Counters of an instance's routes, by number.
#[derive(Default)]
pub(super) struct RouteCounts {
    entries: RefCell<Vec<Option<Entry>>>,
    /// The generation at which they were cleaned last.
    cleaned: Cell<u64>,
}

struct Entry {
    /// Whose: a number may be another route's later.
    slot: Weak<Slot>,
    stats: Local<RouteStats>,
}

impl RouteCounts {
    /// The counters of a route.
    #[inline]
    pub(super) fn of(&self, slot: &Arc<Slot>, instance: &Arc<str>, registry: &Registry) -> Local<RouteStats> {
        if let Some(Some(entry)) = self.entries.borrow().get(slot.number as usize)
            && std::ptr::eq(entry.slot.as_ptr(), Arc::as_ptr(slot))
        {
            return Rc::clone(&entry.stats);
        }
        self.add(slot, instance, registry)
    }

    #[cold]
    fn add(&self, slot: &Arc<Slot>, instance: &Arc<str>, registry: &Registry) -> Local<RouteStats> {
        let stats = Rc::new(registry.route(instance, &slot.name));
        let mut entries = self.entries.borrow_mut();
        let index = slot.number as usize;
        if entries.len() <= index {
            entries.resize_with(index + 1, || None);
        }
        entries[index] = Some(Entry { slot: Arc::downgrade(slot), stats: Rc::clone(&stats) });
        stats
    }

    /// Lets go of routes that are gone.
    pub(super) fn clean(&self, generation: u64) {
        if self.cleaned.replace(generation) == generation {
            return;
        }
        let mut entries = self.entries.borrow_mut();
        for entry in entries.iter_mut() {
            entry.take_if(|entry| entry.slot.strong_count() == 0);
        }
        while let Some(None) = entries.last() {
            entries.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Interner;

    #[test]
    fn counters_are_their_routes_own() {
        let (registry, counts, instance) = (Registry::default(), RouteCounts::default(), "gw".into());
        let mut numbers = Interner::default();
        let (one, two) = (numbers.slot("one"), numbers.slot("two"));
        let stats = counts.of(&one, &instance, &registry);
        assert!(Rc::ptr_eq(&stats, &counts.of(&one, &instance, &registry)));
        assert!(!Rc::ptr_eq(&stats, &counts.of(&two, &instance, &registry)));
        let number = one.number;
        drop(one);
        let other = numbers.slot("other");
        assert_eq!(other.number, number, "the number is used again");
        assert!(!Rc::ptr_eq(&stats, &counts.of(&other, &instance, &registry)), "the counters are not");
        drop((two, other));
        counts.clean(1);
        assert!(counts.entries.borrow().is_empty());
    }
}
