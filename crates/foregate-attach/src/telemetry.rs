//! XTelemetryPolicies of the Gateway API's experimental channel: what Gateways tell of the requests that they serve.
//!
//! A policy is for Gateways of its own namespace, with their ListenerSets. The oldest one of a Gateway holds, whatever
//! it says; what it leads to is decided with the Gateway.

mod parse;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use foregate_api::gateway::experimental::{EXPERIMENTAL_GROUP, XTelemetryPolicy, XTelemetryPolicySpec};
use foregate_api::gateway::{GATEWAY_GROUP, PolicyStatus};
use foregate_api::tracing::Tracing;

use crate::backend::{BackendId, Found, Referrer, Sending, Upstream, Usage};
use crate::problem::Problem;
use crate::refs::Dependent;
use crate::status::Pending;
use crate::target::TargetId;
use crate::world::slim;
use crate::{Attach, Change, Key};

use parse::ParsedTracing;

/// Its kind, as references between namespaces have it.
const KIND: &str = "XTelemetryPolicy";

/// An XTelemetryPolicy.
#[derive(Debug)]
pub(crate) struct TelemetryState {
    object: Arc<XTelemetryPolicy>,
    /// The Gateways that it is for.
    gateways: Vec<Key>,
    /// How requests are traced; `None`: they aren't.
    parsed: Result<Option<ParsedTracing>, Problem>,
    pending: Pending<PolicyStatus>,
}

/// What a Gateway's policy leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resolved {
    /// How requests are traced; none: they aren't.
    pub tracing: Option<Tracing>,
    /// The collector.
    pub backend: Option<BackendId>,
}

impl Attach {
    pub(crate) fn take_telemetry(&mut self, change: Change<XTelemetryPolicy>) {
        let (key, object) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Some(slim(object))),
            Change::Gone(key) => (key, None),
        };
        let mut old = self.telemetry.remove(&key);
        let pending = old.as_mut().map(|old| std::mem::take(&mut old.pending)).unwrap_or_default();
        let new = object.map(|object| {
            let parsed = parse::tracing(&object.spec, &key.namespace);
            TelemetryState { gateways: gateways(&object.spec, &key.namespace), object, parsed, pending }
        });
        // Its own status, when it is written, changes nothing.
        let same = |old: &TelemetryState, new: &TelemetryState| {
            old.gateways == new.gateways
                && old.parsed == new.parsed
                && old.object.metadata.creation_timestamp == new.object.metadata.creation_timestamp
        };
        let unchanged = old.as_ref().zip(new.as_ref()).is_some_and(|(old, new)| same(old, new));
        if !unchanged {
            self.index_telemetry(&key, old.as_ref(), new.as_ref());
        }
        let touched: BTreeSet<Key> = [&old, &new].into_iter().flatten().flat_map(|it| it.gateways.clone()).collect();
        if let Some(new) = new {
            self.telemetry.insert(key.clone(), new);
            self.dirty.telemetry_statuses.insert(key);
        }
        if !unchanged {
            for gateway in touched {
                self.dirty.telemetry_statuses.extend(self.index.gateway_telemetry.of(&gateway).cloned());
                self.dirty.gateways.insert(gateway);
            }
        }
    }

    fn index_telemetry(&mut self, key: &Key, old: Option<&TelemetryState>, new: Option<&TelemetryState>) {
        let gateways = |state: Option<&TelemetryState>| state.map(|it| it.gateways.clone()).unwrap_or_default();
        self.index.gateway_telemetry.replace(key, &gateways(old), &gateways(new));
        let upstream = |state: Option<&TelemetryState>| state.and_then(TelemetryState::upstream).cloned();
        let (before, now) = (upstream(old), upstream(new));
        self.index.upstream_telemetry.replace(key, &before, &now);
        before.iter().chain(&now).for_each(|upstream| self.mark_policies(upstream));
        let grants = |upstream: &Option<Upstream>| {
            let other = upstream.as_ref().map(|upstream| upstream.key().namespace.clone());
            other.filter(|other| *other != key.namespace).map(|other| (other, key.namespace.clone()))
        };
        self.index.grants.replace(&Dependent::Telemetry(key.clone()), &grants(&before), &grants(&now));
    }

    /// Has the Gateways of a policy looked at again.
    pub(crate) fn mark_telemetry(&mut self, policy: &Key) {
        if let Some(state) = self.telemetry.get(policy) {
            self.dirty.gateways.extend(state.gateways.iter().cloned());
        }
    }

    /// What the policy of a Gateway at a target leads to.
    pub(crate) fn resolve_telemetry(&self, gateway: &Key, target: TargetId) -> Resolved {
        let Some((policy, state)) = self.telemetry_of(gateway) else { return Resolved::default() };
        let Ok(Some(parsed)) = &state.parsed else { return Resolved::default() };
        let Ok((name, id)) = self.find_collector(policy, parsed, target) else { return Resolved::default() };
        Resolved { tracing: name.map(|name| parsed.with(name, gateway)), backend: Some(id) }
    }

    fn find_collector(&self, policy: &Key, parsed: &ParsedTracing, target: TargetId) -> Result<Found, Problem> {
        let from = Referrer { group: EXPERIMENTAL_GROUP, kind: KIND, namespace: &policy.namespace };
        self.find_backend(from, &parsed.collector, Sending { target, usage: Usage::Grpc })
    }

    /// What is wrong with a policy's collector, as seen from a target.
    fn collector_problem(&self, policy: &Key, state: &TelemetryState, target: TargetId) -> Option<Problem> {
        let parsed = state.parsed.as_ref().ok()?.as_ref()?;
        match self.find_collector(policy, parsed, target) {
            Ok((name, id)) => self.backend_refusal(name.as_deref(), &id, &parsed.collector.path),
            Err(problem) => Some(problem),
        }
    }

    /// The policy of a Gateway: the oldest.
    fn telemetry_of(&self, gateway: &Key) -> Option<(&Key, &TelemetryState)> {
        let all = self.index.gateway_telemetry.of(gateway).filter_map(|key| Some((key, self.telemetry.get(key)?)));
        all.min_by_key(|(key, state)| state.seniority(key))
    }

    /// The Gateways of a collector's policies, as far as those hold.
    pub(crate) fn traced_to(&self, collector: &Upstream) -> impl Iterator<Item = &Key> {
        let policies = self.index.upstream_telemetry.of(collector);
        let each = policies.filter_map(|key| Some((key, self.telemetry.get(key)?)));
        each.flat_map(move |(key, state)| {
            let holds = move |gateway: &&Key| self.telemetry_of(gateway).is_some_and(|(first, _)| first == key);
            state.gateways.iter().filter(holds)
        })
    }
}

impl TelemetryState {
    /// Age, then name. Smaller wins.
    fn seniority<'a>(&self, key: &'a Key) -> (i64, &'a Key) {
        let created = self.object.metadata.creation_timestamp.as_ref();
        (created.map_or(i64::MAX, |time| time.0.as_second()), key)
    }

    fn upstream(&self) -> Option<&Upstream> {
        self.parsed.as_ref().ok()?.as_ref()?.collector.upstream()
    }
}

/// What it is for; targets of other kinds are somebody else's.
fn gateways(spec: &XTelemetryPolicySpec, namespace: &str) -> Vec<Key> {
    let gateways = spec.target_refs.iter().filter(|target| target.group == GATEWAY_GROUP && target.kind == "Gateway");
    let mut gateways: Vec<Key> = gateways.map(|target| Key::new(namespace, target.name.as_str())).collect();
    gateways.sort();
    gateways.dedup();
    gateways
}
