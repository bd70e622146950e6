//! What the API holds, as far as it has been seen.
//!
//! Two sources feed a store: the watch, and the answers to our own writes, so that a write's effect is known before its
//! watch event comes. Whichever brings the newer `resourceVersion` wins; a late event changes nothing.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use foregate_api::address::ProxyRef;
use kube::{Resource, ResourceExt as _};

/// Namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub(crate) fn of<K: Resource>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }

    pub(crate) fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }
}

impl From<&ProxyRef> for Key {
    fn from(proxy: &ProxyRef) -> Self {
        Self::new(&proxy.namespace, &proxy.name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a watch says.
#[derive(Debug)]
pub(crate) enum Seen<K> {
    /// New or changed.
    Set(Arc<K>),
    /// Deleted; its last state.
    Gone(Arc<K>),
    /// Everything there is: the first list, or a list after the watch was lost.
    All(Vec<Arc<K>>),
}

/// A change that was news.
#[derive(Debug)]
pub(crate) struct Changed<K> {
    pub key: Key,
    pub old: Option<Arc<K>>,
    pub new: Option<Arc<K>>,
}

/// The objects of one kind.
pub(crate) struct Store<K> {
    objects: HashMap<Key, Arc<K>>,
    /// Known from an answer to a write only: a list that was made before the write doesn't have them yet.
    unconfirmed: HashSet<Key>,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self { objects: HashMap::new(), unconfirmed: HashSet::new() }
    }
}

impl<K: Resource> Store<K> {
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<K>> {
        self.objects.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<K>)> {
        self.objects.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Takes in what a watch says and returns what was news.
    pub(crate) fn observe(&mut self, seen: Seen<K>) -> Vec<Changed<K>> {
        match seen {
            Seen::Set(object) => {
                self.unconfirmed.remove(&Key::of(&*object));
                self.set(object).into_iter().collect()
            }
            Seen::Gone(object) => self.gone(&object).into_iter().collect(),
            Seen::All(objects) => self.replace(objects),
        }
    }

    /// Takes in the answer to a write of our own.
    pub(crate) fn written(&mut self, object: Arc<K>) -> Option<Changed<K>> {
        let key = Key::of(&*object);
        if !self.objects.contains_key(&key) {
            self.unconfirmed.insert(key);
        }
        self.set(object)
    }

    /// Takes in that the server doesn't have the object with this UID (any more).
    pub(crate) fn missing(&mut self, key: &Key, uid: Option<&str>) -> Option<Changed<K>> {
        let held = self.objects.get(key)?;
        if uid.is_some() && held.meta().uid.as_deref() != uid {
            return None;
        }
        self.take(key)
    }

    fn set(&mut self, object: Arc<K>) -> Option<Changed<K>> {
        let key = Key::of(&*object);
        if let Some(held) = self.objects.get(&key)
            && !is_newer(&*object, &**held)
        {
            return None;
        }
        let old = self.objects.insert(key.clone(), Arc::clone(&object));
        Some(Changed { key, old, new: Some(object) })
    }

    fn gone(&mut self, object: &K) -> Option<Changed<K>> {
        let key = Key::of(object);
        let held = self.objects.get(&key)?;
        // A new object of that name may already be known from our own write.
        (held.meta().uid == object.meta().uid).then(|| self.take(&key)).flatten()
    }

    fn replace(&mut self, objects: Vec<Arc<K>>) -> Vec<Changed<K>> {
        let listed: HashSet<Key> = objects.iter().map(|object| Key::of(&**object)).collect();
        let lost: Vec<Key> = self
            .objects
            .keys()
            .filter(|key| !listed.contains(*key) && !self.unconfirmed.contains(*key))
            .cloned()
            .collect();
        let mut changes: Vec<_> = lost.iter().filter_map(|key| self.take(key)).collect();
        self.unconfirmed.retain(|key| !listed.contains(key));
        changes.extend(objects.into_iter().filter_map(|object| self.set(object)));
        changes
    }

    fn take(&mut self, key: &Key) -> Option<Changed<K>> {
        self.unconfirmed.remove(key);
        let old = self.objects.remove(key)?;
        Some(Changed { key: key.clone(), old: Some(old), new: None })
    }
}

/// Resource versions of one object are ordered numbers (KEP-5504); where one isn't a number, what comes last is newest.
fn is_newer<K: Resource>(object: &K, held: &K) -> bool {
    let number = |object: &K| object.meta().resource_version.as_deref().and_then(|version| version.parse::<u64>().ok());
    match (number(object), number(held)) {
        (Some(new), Some(old)) => new > old,
        _ => object.meta().resource_version != held.meta().resource_version || held.meta().resource_version.is_none(),
    }
}

/// Whether two states of an object differ in more than metadata and status.
pub(crate) fn same_spec<K: Resource>(old: &K, new: &K) -> bool {
    old.meta().uid == new.meta().uid
        && new.meta().generation.is_some()
        && old.meta().generation == new.meta().generation
        && old.meta().deletion_timestamp == new.meta().deletion_timestamp
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use foregate_api::address::{AddressPool, AddressPoolSpec};

    use super::*;

    fn pool(name: &str, uid: &str, version: &str) -> Arc<AddressPool> {
        let mut pool = AddressPool::new(name, AddressPoolSpec { ranges: vec![] });
        pool.metadata.uid = Some(uid.into());
        pool.metadata.resource_version = Some(version.into());
        Arc::new(pool)
    }

    #[test]
    fn a_late_event_changes_nothing() {
        let mut store = Store::default();
        assert!(store.written(pool("a", "1", "7")).is_some());
        assert!(store.observe(Seen::Set(pool("a", "1", "6"))).is_empty());
        assert!(store.observe(Seen::Set(pool("a", "1", "7"))).is_empty());
        assert_eq!(store.observe(Seen::Set(pool("a", "1", "10"))).len(), 1);
    }

    #[test]
    fn the_deletion_of_a_predecessor_is_ignored() {
        let mut store = Store::default();
        store.observe(Seen::Set(pool("a", "1", "7")));
        store.written(pool("a", "2", "9"));
        assert!(store.observe(Seen::Gone(pool("a", "1", "8"))).is_empty());
        assert_eq!(store.observe(Seen::Gone(pool("a", "2", "11"))).len(), 1);
    }

    #[test]
    fn a_list_removes_what_it_lacks_but_not_what_was_just_written() {
        let mut store = Store::default();
        store.observe(Seen::All(vec![pool("a", "1", "1"), pool("b", "2", "2")]));
        store.written(pool("c", "3", "9"));
        let changes = store.observe(Seen::All(vec![pool("a", "1", "1")]));
        assert_eq!(changes.iter().map(|change| change.key.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(store.get(&Key::cluster("c")).is_some());
        // Confirmed by its event, it is like any other.
        store.observe(Seen::Set(pool("c", "3", "10")));
        assert_eq!(store.observe(Seen::All(vec![pool("a", "1", "1")])).len(), 1);
    }
}
