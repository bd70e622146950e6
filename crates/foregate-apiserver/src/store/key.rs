//! Keys: resource, namespace, name, in an order that makes every list one range.

use std::sync::Arc;

/// Names one object. `resource` is `group/plural` (`/secrets` in the core group).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// `group/plural`
    pub resource: Arc<str>,
    /// Empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// `metadata.name`
    pub name: Arc<str>,
}

impl Key {
    /// A key. None of the parts may hold a NUL; names that the API accepts never do.
    pub fn new(resource: &Arc<str>, namespace: &str, name: &str) -> Self {
        Self { resource: resource.clone(), namespace: namespace.into(), name: name.into() }
    }

    /// The bytes under which it is stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = prefix(&self.resource, Some(&self.namespace));
        out.extend_from_slice(self.name.as_bytes());
        out
    }

    /// The reverse of [`Key::encode`]; `None` when the bytes are not a key.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parts = text.splitn(3, '\0');
        let (resource, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { resource: resource.into(), namespace: namespace.into(), name: name.into() })
    }
}

/// What all keys of a resource, or of one namespace of it, start with.
pub fn prefix(resource: &str, namespace: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(resource.len() + 64);
    out.extend_from_slice(resource.as_bytes());
    out.push(0);
    if let Some(namespace) = namespace {
        out.extend_from_slice(namespace.as_bytes());
        out.push(0);
    }
    out
}

/// The first key after all that start with `prefix` (which ends in NUL).
pub fn after(mut prefix: Vec<u8>) -> Vec<u8> {
    if let Some(last) = prefix.last_mut() {
        *last = 1;
    }
    prefix
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_survive_a_round_trip_and_sort_within_their_range() {
        let resource: Arc<str> = "apps/things".into();
        let key = Key::new(&resource, "ns", "a");
        assert_eq!(Key::decode(&key.encode()).unwrap(), key);
        let start = prefix(&resource, Some("ns"));
        let end = after(start.clone());
        assert!(start <= key.encode() && key.encode() < end);
        // A namespace that starts with the other's name is not in its range.
        let other = Key::new(&resource, "ns2", "a").encode();
        assert!(other >= end || other < start);
        let cluster = Key::new(&resource, "", "b");
        assert_eq!(Key::decode(&cluster.encode()).unwrap(), cluster);
    }
}
