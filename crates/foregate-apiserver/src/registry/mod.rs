//! Which kinds exist: the built-in ones, and those that CustomResourceDefinitions define.

mod builtin;
pub mod column;
pub mod crd;
pub mod jsonpath;
pub mod kind;
pub mod validation;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::Value;

pub use kind::Kind;

use crate::store::{Event, EventKind};

/// The resource that definitions are stored under.
pub const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// All kinds as of one moment.
#[derive(Debug, Default)]
pub struct Kinds {
    /// Group → version → plural → kind.
    pub groups: BTreeMap<String, BTreeMap<String, BTreeMap<String, Arc<Kind>>>>,
    /// Counts changes; part of the OpenAPI documents' hashes.
    pub change: u64,
}

impl Kinds {
    /// The kind that is served at group, version and plural.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.groups.get(group)?.get(version)?.get(plural)
    }

    /// Versions of a group, the preferred one first.
    pub fn versions(&self, group: &str) -> Vec<&str> {
        let mut versions: Vec<&str> =
            self.groups.get(group).into_iter().flat_map(|g| g.keys()).map(String::as_str).collect();
        versions.sort_by_key(|v| std::cmp::Reverse(priority(v)));
        versions
    }

    /// Every kind, each in one of its versions: what is stored.
    pub fn stored(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.groups.values().flat_map(|versions| {
            let mut seen: BTreeMap<&str, &Arc<Kind>> = BTreeMap::new();
            for kind in versions.values().flat_map(BTreeMap::values) {
                seen.entry(kind.plural.as_str()).or_insert(kind);
            }
            seen.into_values()
        })
    }
}

/// Kubernetes' order of versions: v2 > v1 > v1beta2 > v1beta1 > v1alpha1 > anything else.
fn priority(version: &str) -> (u8, u32, u32) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..digits].parse().ok()?;
        let tail = &rest[digits..];
        let level = |prefix: &str| tail.strip_prefix(prefix)?.parse::<u32>().ok();
        match tail {
            "" => Some((3, major, 0)),
            _ => level("beta").map(|n| (2, major, n)).or_else(|| level("alpha").map(|n| (1, major, n))),
        }
    };
    parse().unwrap_or((0, 0, 0))
}

/// The registry.
pub struct Registry {
    kinds: ArcSwap<Kinds>,
    /// By the name of their definition.
    dynamic: Mutex<BTreeMap<String, Vec<Arc<Kind>>>>,
    fixed: Vec<Arc<Kind>>,
}

impl Registry {
    /// The built-in kinds and those of `definitions`.
    pub fn new(definitions: &[Value]) -> Self {
        let registry = Self {
            kinds: ArcSwap::default(),
            dynamic: Mutex::default(),
            fixed: builtin::kinds().into_iter().map(Arc::new).collect(),
        };
        {
            let mut dynamic = registry.dynamic.lock();
            for definition in definitions {
                let name = definition["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                dynamic.insert(name, crd::kinds(definition).into_iter().map(Arc::new).collect());
            }
            registry.rebuild(&dynamic);
        }
        registry
    }

    /// All kinds now.
    pub fn kinds(&self) -> arc_swap::Guard<Arc<Kinds>> {
        self.kinds.load()
    }

    /// All kinds now, to keep.
    pub fn kinds_full(&self) -> Arc<Kinds> {
        self.kinds.load_full()
    }

    /// Takes a change of a definition. Returns under what the kinds that it concerns are stored.
    pub fn apply(&self, event: &Event) -> Vec<Arc<str>> {
        let mut dynamic = self.dynamic.lock();
        let name = event.object.key.name.to_string();
        let before = if event.kind == EventKind::Deleted {
            dynamic.remove(&name)
        } else {
            let Ok(definition) = serde_json::from_slice::<Value>(&event.object.bytes) else { return Vec::new() };
            dynamic.insert(name, crd::kinds(&definition).into_iter().map(Arc::new).collect())
        };
        self.rebuild(&dynamic);
        before.into_iter().flatten().map(|k| k.storage.clone()).collect()
    }

    fn rebuild(&self, dynamic: &BTreeMap<String, Vec<Arc<Kind>>>) {
        let mut kinds = Kinds { change: self.kinds.load().change + 1, ..Kinds::default() };
        for kind in dynamic.values().flatten().chain(&self.fixed) {
            kinds
                .groups
                .entry(kind.group.clone())
                .or_default()
                .entry(kind.version.clone())
                .or_default()
                .insert(kind.plural.clone(), kind.clone());
        }
        self.kinds.store(Arc::new(kinds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_orders_them() {
        let mut versions = ["v1alpha1", "v1", "foo", "v1beta1", "v2", "v1beta2", "v10"];
        versions.sort_by_key(|v| std::cmp::Reverse(priority(v)));
        assert_eq!(versions, ["v10", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]);
    }
}
