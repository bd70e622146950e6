//! One direction of a many-to-many relation.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// From one thing to the ordered set of what it is related to. Nothing is kept for what has no relation.
#[derive(Debug)]
pub(crate) struct Relation<A, B>(HashMap<A, BTreeSet<B>>);

impl<A, B> Default for Relation<A, B> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<A: Eq + Hash, B: Ord> Relation<A, B> {
    pub(crate) fn insert(&mut self, from: A, to: B) {
        self.0.entry(from).or_default().insert(to);
    }

    pub(crate) fn remove(&mut self, from: &A, to: &B) {
        if let Some(set) = self.0.get_mut(from) {
            set.remove(to);
            if set.is_empty() {
                self.0.remove(from);
            }
        }
    }

    pub(crate) fn of(&self, from: &A) -> impl Iterator<Item = &B> + Clone {
        self.0.get(from).into_iter().flatten()
    }

    pub(crate) fn get(&self, from: &A) -> Option<&BTreeSet<B>> {
        self.0.get(from)
    }

    pub(crate) fn has(&self, from: &A) -> bool {
        self.0.contains_key(from)
    }
}
