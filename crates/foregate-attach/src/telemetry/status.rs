//! The status of an XTelemetryPolicy: one entry per Gateway that it names, as far as that is ours.

use std::collections::BTreeMap;

use foregate_api::condition::{condition, merge};
use foregate_api::gateway::conditions::{ACCEPTED, RESOLVED_REFS, reason};
use foregate_api::gateway::{GATEWAY_GROUP, ParentReference, PolicyAncestorStatus, PolicyStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::TelemetryState;
use crate::output::{StatusChange, StatusKind};
use crate::{Attach, Key};

const CONDITIONS: &[&str] = &[ACCEPTED, RESOLVED_REFS];

/// What is said of each Gateway, and who says it.
type Entries = BTreeMap<Key, (String, Vec<Condition>)>;

impl Attach {
    pub(crate) fn telemetry_status(&mut self, key: &Key, now: &Time) -> Option<StatusChange> {
        let mut pending = std::mem::take(&mut self.telemetry.get_mut(key)?.pending);
        let state = self.telemetry.get(key)?;
        let metadata = &state.object.metadata;
        let entries = self.telemetry_entries(key, state, now);
        let current = state.object.status.as_ref();
        let change = pending.update(StatusKind::XTelemetryPolicy, key, metadata, current, |base| {
            self.told(&key.namespace, entries, base)
        });
        self.telemetry.get_mut(key)?.pending = pending;
        change
    }

    /// One entry per Gateway of ours, or of nobody; everybody else's entries as they are. The API bounds the Gateways by
    /// as many as there may be entries.
    fn told(&self, namespace: &str, mut entries: Entries, base: &PolicyStatus) -> PolicyStatus {
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
        let room = crate::backend::MOST_ANCESTORS.saturating_sub(ancestors.len());
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

    fn telemetry_entries(&self, key: &Key, state: &TelemetryState, now: &Time) -> Entries {
        let generation = state.object.metadata.generation.unwrap_or_default();
        let said = |kind: &str, outcome: Result<(), (&str, &str)>| match outcome {
            Ok(()) => condition(kind, true, kind, "", generation, now),
            Err((reason, message)) => condition(kind, false, reason, message, generation, now),
        };
        let mut entries = Entries::new();
        for name in &state.gateways {
            let Some(gateway) = self.gateways.get(name) else {
                // Whose it would be isn't known: who is asked first says so.
                if let Some(controller) = self.settings.controller_names.first() {
                    let message = format!("there is no Gateway {name}");
                    let missing = said(ACCEPTED, Err((reason::TARGET_NOT_FOUND, &message)));
                    entries.insert(name.clone(), (controller.clone(), vec![missing]));
                }
                continue;
            };
            let Some(view) = &gateway.view else { continue };
            let first = self.telemetry_of(name).map(|(first, _)| first).filter(|first| *first != key);
            let conflict = first.map(|first| format!("XTelemetryPolicy {first} is older and has the same target"));
            let accepted = match (&conflict, &state.parsed) {
                (Some(conflict), _) => Err((reason::CONFLICTED, conflict.as_str())),
                (None, Err(problem)) => Err((problem.reason, problem.message.as_str())),
                (None, Ok(_)) => Ok(()),
            };
            let resolved = self.collector_problem(key, state, view.target);
            let resolved = resolved.as_ref().map_or(Ok(()), |problem| Err((problem.reason, problem.message.as_str())));
            let conditions = vec![said(ACCEPTED, accepted), said(RESOLVED_REFS, resolved)];
            entries.insert(name.clone(), (view.controller.to_string(), conditions));
        }
        entries
    }
}
