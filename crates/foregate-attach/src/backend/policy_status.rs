//! The status of a BackendTLSPolicy: one entry per Gateway of ours that sends to one of its targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use foregate_api::condition::{condition, merge};
use foregate_api::gateway::conditions::{ACCEPTED, RESOLVED_REFS, reason};
use foregate_api::gateway::{GATEWAY_GROUP, ParentReference, PolicyAncestorStatus, PolicyStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Upstream;
use super::policy::PolicyState;
use crate::output::{StatusChange, StatusKind};
use crate::{Attach, Key};

const CONDITIONS: &[&str] = &[ACCEPTED, RESOLVED_REFS];
/// What the API takes.
pub(crate) const MOST_ANCESTORS: usize = 16;

impl Attach {
    pub(crate) fn policy_status(&mut self, key: &Key, now: &Time) -> Option<StatusChange> {
        let mut state = self.policies.remove(key)?;
        let mut pending = std::mem::take(&mut state.pending);
        // Others of the same target are asked for it.
        self.policies.insert(key.clone(), state);
        let state = self.policies.get(key)?;
        let object = &state.object;
        let change =
            pending.update(StatusKind::BackendTlsPolicy, key, &object.metadata, object.status.as_ref(), |base| {
                let Some(conditions) = self.policy_conditions(key, state, now) else { return base.clone() };
                let upstreams = state.targets.iter().map(|target| &target.upstream);
                self.ancestors(&key.namespace, upstreams, &conditions, base)
            });
        if let Some(state) = self.policies.get_mut(key) {
            state.pending = pending;
        }
        change
    }

    /// One entry per Gateway of ours that sends to one of these; everybody else's entries as they are.
    pub(super) fn ancestors<'a>(
        &self,
        namespace: &str,
        upstreams: impl Iterator<Item = &'a Upstream>,
        conditions: &[Condition],
        base: &PolicyStatus,
    ) -> PolicyStatus {
        let mut gateways = self.senders(upstreams);
        let mut ancestors = Vec::with_capacity(base.ancestors.len().max(gateways.len()));
        for entry in &base.ancestors {
            if !self.settings.controller_names.contains(&entry.controller_name) {
                ancestors.push(entry.clone());
                continue;
            }
            let reference = &entry.ancestor_ref;
            let gateway = Key::new(reference.namespace_or(namespace), reference.name.as_str());
            let is_whole = reference.section_name.is_none() && reference.port.is_none() && reference.is_gateway();
            if let Some(controller) = is_whole.then(|| gateways.remove(&gateway)).flatten() {
                ancestors.push(PolicyAncestorStatus {
                    ancestor_ref: reference.clone(),
                    controller_name: controller.to_string(),
                    conditions: merge(&entry.conditions, conditions.to_vec(), CONDITIONS),
                });
            }
        }
        let room = MOST_ANCESTORS.saturating_sub(ancestors.len());
        ancestors.extend(gateways.into_iter().take(room).map(|(gateway, controller)| PolicyAncestorStatus {
            ancestor_ref: ParentReference {
                group: Some(GATEWAY_GROUP.to_owned()),
                kind: Some("Gateway".to_owned()),
                namespace: Some(gateway.namespace.to_string()),
                name: gateway.name.to_string(),
                ..ParentReference::default()
            },
            controller_name: controller.to_string(),
            conditions: conditions.to_vec(),
        }));
        PolicyStatus { ancestors }
    }

    fn policy_conditions(&self, key: &Key, state: &PolicyState, now: &Time) -> Option<Vec<Condition>> {
        let verdict = state.verdict.as_ref()?;
        let generation = state.object.metadata.generation.unwrap_or_default();
        let accepted = match (&verdict.tls, self.is_superseded(key, state)) {
            (_, Some(older)) => {
                let message = format!("BackendTLSPolicy {older} is older and has the same targets");
                condition(ACCEPTED, false, reason::CONFLICTED, message, generation, now)
            }
            (Err(problem), None) => condition(ACCEPTED, false, problem.reason, &problem.message, generation, now),
            (Ok(_), None) => condition(ACCEPTED, true, ACCEPTED, "", generation, now),
        };
        let resolved = match &verdict.references {
            Err(problem) => condition(RESOLVED_REFS, false, problem.reason, &problem.message, generation, now),
            Ok(()) => condition(RESOLVED_REFS, true, RESOLVED_REFS, "", generation, now),
        };
        Some(vec![accepted, resolved])
    }

    /// Gateways of ours that name one of these, or whose routes do, with their controllers.
    fn senders<'a>(&self, upstreams: impl Iterator<Item = &'a Upstream>) -> BTreeMap<Key, Arc<str>> {
        let mut gateways = BTreeMap::new();
        for upstream in upstreams {
            let routes = self.index.upstream_routes.of(upstream).filter_map(|route| self.routes.get(route));
            gateways.extend(routes.flat_map(|route| route.accepting_gateways()));
            for parent in self.index.upstream_parents.of(upstream) {
                let accepted = self.parent_view(parent).filter(|view| view.claim.is_some());
                let controller = accepted.map(|view| view.controller.clone());
                gateways.extend(self.gateway_of(parent).zip(controller));
            }
            for gateway in self.traced_to(upstream) {
                let view = self.gateways.get(gateway).and_then(|gateway| gateway.view.as_ref());
                let accepted = view.filter(|view| view.claim.is_some());
                gateways.extend(accepted.map(|view| (gateway.clone(), view.controller.clone())));
            }
        }
        gateways
    }
}
