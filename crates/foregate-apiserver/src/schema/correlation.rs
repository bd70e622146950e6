//! Which old list item a new one came from.

use std::cell::OnceCell;
use std::collections::HashMap;

use serde_json::Value;

use super::tree::ListType;

/// The values of a list's keys.
type Identity<'v> = Vec<Option<&'v Value>>;

/// An old list, ready to be asked. Items of keyed lists are found by their keys, others by place.
pub(super) struct Correlation<'o> {
    old: &'o [Value],
    list: &'o ListType,
    /// Made when an item has moved, which is rare.
    places: OnceCell<HashMap<Identity<'o>, &'o Value>>,
}

impl<'o> Correlation<'o> {
    pub(super) fn new(old: Option<&'o Value>, list: &'o ListType) -> Self {
        let old = old.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        Self { old, list, places: OnceCell::new() }
    }

    /// The old item of `item`, which is now at `index`.
    pub(super) fn of(&self, item: &Value, index: usize) -> Option<&'o Value> {
        let ListType::Map(keys) = self.list else { return self.old.get(index) };
        let same = |other: &&Value| keys.iter().all(|key| other.get(&**key) == item.get(&**key));
        if let Some(old) = self.old.get(index).filter(same) {
            return Some(old);
        }
        let places = self.places.get_or_init(|| self.old.iter().map(|old| (identity(keys, old), old)).collect());
        places.get(&identity(keys, item)).copied()
    }

    /// As [`Correlation::of`], but only where keys tell which item it was: what `oldSelf` needs.
    pub(super) fn by_key(&self, item: &Value, index: usize) -> Option<&'o Value> {
        matches!(self.list, ListType::Map(_)).then(|| self.of(item, index)).flatten()
    }
}

fn identity<'v>(keys: &[Box<str>], item: &'v Value) -> Identity<'v> {
    keys.iter().map(|key| item.get(&**key)).collect()
}
