//! How two lists with item identities become one.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// Where an item of the merged list comes from: an index in `old`, in `new`, or in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Old(usize),
    New(usize),
    Both(usize, usize),
}

/// Merges two orders: items of `new` in its order; items that only `old` has stay in front of the
/// item that followed them, and of what is new.
pub(super) fn interleave<K: Eq + Hash>(old: &[K], new: &[K]) -> Vec<Origin> {
    let wanted: HashSet<&K> = new.iter().collect();
    let mut places: HashMap<&K, usize> = HashMap::with_capacity(old.len());
    for (index, key) in old.iter().enumerate() {
        places.entry(key).or_insert(index);
    }
    let mut out = Vec::with_capacity(old.len() + new.len());
    let mut next = 0;
    for (index, key) in new.iter().enumerate() {
        match places.get(key) {
            Some(&place) => {
                while next < place {
                    if !wanted.contains(&old[next]) {
                        out.push(Origin::Old(next));
                    }
                    next += 1;
                }
                next = next.max(place + 1);
                out.push(Origin::Both(place, index));
            }
            None => {
                while next < old.len() && !wanted.contains(&old[next]) {
                    out.push(Origin::Old(next));
                    next += 1;
                }
                out.push(Origin::New(index));
            }
        }
    }
    out.extend((next..old.len()).filter(|index| !wanted.contains(&old[*index])).map(Origin::Old));
    out
}
