//! The status of a BackendTLSPolicy: one entry per Gateway of ours that sends to one of its targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use foregate_api::condition::condition;
use foregate_api::gateway::PolicyStatus;
use foregate_api::gateway::conditions::{ACCEPTED, RESOLVED_REFS, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Upstream;
use super::policy::PolicyState;
use crate::output::{StatusChange, StatusKind};
use crate::{Attach, Key};

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
                self.sender_ancestors(&key.namespace, upstreams, &conditions, base)
            });
        if let Some(state) = self.policies.get_mut(key) {
            state.pending = pending;
        }
        change
    }

    /// One entry per Gateway of ours that sends to one of these, with these conditions; everybody else's as they are.
    pub(super) fn sender_ancestors<'a>(
        &self,
        namespace: &str,
        upstreams: impl Iterator<Item = &'a Upstream>,
        conditions: &[Condition],
        base: &PolicyStatus,
    ) -> PolicyStatus {
        let senders = self.senders(upstreams).into_iter();
        let entries = senders.map(|(gateway, controller)| (gateway, (controller.to_string(), conditions.to_vec())));
        self.ancestors(namespace, entries.collect(), base)
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
