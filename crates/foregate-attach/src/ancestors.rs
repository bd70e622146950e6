//! What a policy's status says of each Gateway, beside what other controllers say.

use std::collections::BTreeMap;

use foregate_api::condition::merge;
use foregate_api::gateway::conditions::{ACCEPTED, RESOLVED_REFS};
use foregate_api::gateway::{GATEWAY_GROUP, ParentReference, PolicyAncestorStatus, PolicyStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{Attach, Key};

/// Conditions that are ours in an entry of ours; others' stay.
const CONDITIONS: &[&str] = &[ACCEPTED, RESOLVED_REFS];
/// What the API takes.
const MOST_ANCESTORS: usize = 16;

/// What is said of each Gateway, and the controller that says it.
pub(crate) type Ancestors = BTreeMap<Key, (String, Vec<Condition>)>;

impl Attach {
    /// One entry per Gateway; everybody else's entries as they are, and ours where they were. `namespace` is the
    /// policy's.
    pub(crate) fn ancestors(&self, namespace: &str, mut entries: Ancestors, base: &PolicyStatus) -> PolicyStatus {
        let mut ancestors = Vec::with_capacity(base.ancestors.len().max(entries.len()));
        for entry in &base.ancestors {
            if !self.settings.controller_names.contains(&entry.controller_name) {
                ancestors.push(entry.clone());
                continue;
            }
            let reference = &entry.ancestor_ref;
            let gateway = Key::new(reference.namespace_or(namespace), reference.name.as_str());
            let is_whole = reference.section_name.is_none() && reference.port.is_none() && reference.is_gateway();
            if let Some((controller_name, conditions)) = is_whole.then(|| entries.remove(&gateway)).flatten() {
                let conditions = merge(&entry.conditions, conditions, CONDITIONS);
                let ancestor_ref = reference.clone();
                ancestors.push(PolicyAncestorStatus { ancestor_ref, controller_name, conditions });
            }
        }
        let room = MOST_ANCESTORS.saturating_sub(ancestors.len());
        ancestors.extend(entries.into_iter().take(room).map(|(gateway, (controller_name, conditions))| {
            let ancestor_ref = ParentReference {
                group: Some(GATEWAY_GROUP.to_owned()),
                kind: Some("Gateway".to_owned()),
                namespace: Some(gateway.namespace.to_string()),
                name: gateway.name.to_string(),
                ..ParentReference::default()
            };
            PolicyAncestorStatus { ancestor_ref, controller_name, conditions }
        }));
        PolicyStatus { ancestors }
    }
}
