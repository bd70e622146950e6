//! Persistent collections: a change copies the path to what changed and shares the rest with the version before.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

const FAN_OUT: usize = 64;

/// One level of a tree.
type Fan<T> = [Option<Arc<T>>; FAN_OUT];

/// A map from text to `Arc<V>` in two levels of 64 buckets: lookups hash once, a change copies about 130 pointers
/// whatever the size of the map (up to some 100,000 entries).
pub(crate) struct TextMap<V> {
    root: Option<Arc<Fan<Node<V>>>>,
    len: usize,
}

type Bucket<V> = Option<Arc<[(Arc<str>, Arc<V>)]>>;

struct Node<V> {
    buckets: [Bucket<V>; FAN_OUT],
}

impl<V> Clone for TextMap<V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len }
    }
}

impl<V> Default for TextMap<V> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

fn position(key: &str) -> (usize, usize) {
    let hash = xxh3_64(key.as_bytes());
    ((hash & 63) as usize, ((hash >> 6) & 63) as usize)
}

impl<V> TextMap<V> {
    /// How many entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The entry of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<V>> {
        let (outer, inner) = position(key);
        let node = self.root.as_ref()?[outer].as_ref()?;
        let bucket = node.buckets[inner].as_ref()?;
        bucket.iter().find(|(k, _)| &**k == key).map(|(_, v)| v)
    }

    /// A version with the entry set, or removed for `None`.
    #[must_use]
    pub(crate) fn with(&self, key: &str, value: Option<Arc<V>>) -> Self {
        let (outer, inner) = position(key);
        let mut root: Fan<Node<V>> = match &self.root {
            Some(root) => (**root).clone(),
            None => [const { None }; FAN_OUT],
        };
        let mut buckets = match &root[outer] {
            Some(node) => node.buckets.clone(),
            None => [const { None }; FAN_OUT],
        };
        let old = buckets[inner].as_deref().unwrap_or(&[]);
        let mut entries: Vec<_> = old.iter().filter(|(k, _)| &**k != key).cloned().collect();
        let mut len = self.len - (old.len() - entries.len());
        if let Some(value) = value {
            entries.push((key.into(), value));
            len += 1;
        }
        buckets[inner] = if entries.is_empty() { None } else { Some(entries.into()) };
        root[outer] = Some(Arc::new(Node { buckets }));
        Self { root: Some(Arc::new(root)), len }
    }
}

/// A vector of optional `Arc<V>` by slot number, in chunks of 64.
pub(crate) struct SlotVec<V> {
    chunks: Arc<Vec<Arc<Fan<V>>>>,
}

impl<V> Clone for SlotVec<V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks) }
    }
}

impl<V> Default for SlotVec<V> {
    fn default() -> Self {
        Self { chunks: Arc::new(Vec::new()) }
    }
}

impl<V> SlotVec<V> {
    /// What is in a slot.
    pub(crate) fn get(&self, slot: u32) -> Option<&Arc<V>> {
        let slot = slot as usize;
        self.chunks.get(slot / FAN_OUT)?[slot % FAN_OUT].as_ref()
    }

    /// A version with the slot changed.
    #[must_use]
    pub(crate) fn with(&self, slot: u32, value: Option<Arc<V>>) -> Self {
        let slot = slot as usize;
        let mut chunks = (*self.chunks).clone();
        while chunks.len() <= slot / FAN_OUT {
            chunks.push(Arc::new([const { None }; FAN_OUT]));
        }
        let chunk = &mut chunks[slot / FAN_OUT];
        let mut copy = (**chunk).clone();
        copy[slot % FAN_OUT] = value;
        *chunk = Arc::new(copy);
        Self { chunks: Arc::new(chunks) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_map_is_a_map(ops in prop::collection::vec(("[a-d]{0,3}", prop::option::of(any::<u8>())), 0..200)) {
            let mut model = HashMap::new();
            let mut map = TextMap::default();
            for (key, value) in ops {
                let before = map.clone();
                let old = before.get(&key).map(|v| **v);
                map = map.with(&key, value.map(Arc::new));
                prop_assert_eq!(before.get(&key).map(|v| **v), old, "the version before stays as it was");
                match value { Some(v) => model.insert(key, v), None => model.remove(&key) };
                prop_assert_eq!(map.len(), model.len());
            }
            for (key, value) in &model {
                prop_assert_eq!(map.get(key).map(|v| **v), Some(*value));
            }
        }

        #[test]
        fn a_slot_vec_is_a_vec(ops in prop::collection::vec((0_u32..300, prop::option::of(any::<u8>())), 0..100)) {
            let mut model = HashMap::new();
            let mut slots = SlotVec::default();
            for (slot, value) in ops {
                slots = slots.with(slot, value.map(Arc::new));
                model.insert(slot, value);
            }
            for slot in 0..300 {
                prop_assert_eq!(slots.get(slot).map(|v| **v), model.get(&slot).copied().flatten());
            }
        }
    }
}
