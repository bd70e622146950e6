//! ReferenceGrants.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foregate_api::gateway::ReferenceGrant;

use crate::Key;

/// All ReferenceGrants, by the namespace that they open.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    by_namespace: HashMap<Arc<str>, BTreeMap<Arc<str>, Arc<ReferenceGrant>>>,
}

/// A reference across namespaces.
pub(crate) struct Reference<'a> {
    pub from_group: &'a str,
    pub from_kind: &'a str,
    pub from_namespace: &'a str,
    pub to_group: &'a str,
    pub to_kind: &'a str,
    pub to: &'a Key,
}

impl Grants {
    /// Takes a grant in place of the one of its name. Returns that one.
    pub fn set(&mut self, key: &Key, grant: Option<Arc<ReferenceGrant>>) -> Option<Arc<ReferenceGrant>> {
        match grant {
            Some(grant) => self.by_namespace.entry(key.namespace.clone()).or_default().insert(key.name.clone(), grant),
            None => {
                let grants = self.by_namespace.get_mut(&key.namespace)?;
                let old = grants.remove(&key.name);
                if grants.is_empty() {
                    self.by_namespace.remove(&key.namespace);
                }
                old
            }
        }
    }

    /// Whether a reference is permitted: it stays in its namespace, or a grant of the other one allows it.
    pub fn permit(&self, reference: &Reference<'_>) -> bool {
        reference.from_namespace == &*reference.to.namespace
            || self
                .by_namespace
                .get(&reference.to.namespace)
                .is_some_and(|grants| grants.values().any(|grant| allows(grant, reference)))
    }
}

fn allows(grant: &ReferenceGrant, reference: &Reference<'_>) -> bool {
    grant.spec.from.iter().any(|from| {
        from.namespace == reference.from_namespace
            && from.kind == reference.from_kind
            && from.group == reference.from_group
    }) && grant.spec.to.iter().any(|to| {
        to.kind == reference.to_kind
            && to.group == reference.to_group
            && to.name.as_deref().is_none_or(|name| name.is_empty() || name == &*reference.to.name)
    })
}
