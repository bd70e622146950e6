//! Backends that a gateway needs because it is held at a revision, or is about to be.
//!
//! Backends are derived from what routes name now, and a revision may name others. So its claims' statuses say what it
//! needs, and the controllers of their clusters derive it again, and keep it. What an answer needs is waited for before
//! it is served, so that nobody is sent to endpoints that aren't known yet; but not for long: an object that is gone
//! never comes, and the rest of the revision is wanted all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use foregate_api::GatewayClaim;
use foregate_api::address::ProxyRef;
use foregate_api::claim::MAX_WANTED_BACKENDS;
use foregate_xds::{Resource, ResourceId, ResourceKind};

use crate::bind::group_of;
use crate::keeper::{Content, Rebuilt};
use crate::pipeline::Pipeline;
use crate::pipeline::gateway::Gateway;
use crate::pipeline::pin::Pin;

/// How long a controller may take to derive what a revision needs; so long endpoints stay that go while it is held.
pub(crate) const DERIVED_WITHIN: Duration = Duration::from_secs(3);

/// An answer that waits for backends.
#[derive(Debug)]
pub(crate) struct Waiting {
    answer: Rebuilt,
    /// Endpoints that weren't known when the answer came.
    awaited: BTreeSet<ResourceId>,
    until: Instant,
}

impl Waiting {
    /// When it is served whatever is missing.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }
}

impl Pipeline {
    /// Holds the gateways whose answers can be served.
    pub(super) fn hold_due(&mut self, now: Instant) {
        for answer in std::mem::take(&mut self.rebuilt) {
            match self.awaited(&answer) {
                awaited if awaited.is_empty() => self.hold(answer),
                awaited => {
                    let proxy = answer.proxy.clone();
                    tracing::info!(
                        group = group_of(&proxy),
                        revision = answer.revision,
                        backends = awaited.len(),
                        "waits for backends"
                    );
                    self.restate.insert(proxy.clone());
                    self.waiting.insert(proxy, Waiting { answer, awaited, until: now + DERIVED_WITHIN });
                }
            }
        }
        let is_due = |(proxy, waiting): (&ProxyRef, &Waiting)| {
            let known = |id| self.translator.knows_endpoints(proxy, id);
            let due =
                waiting.until <= now || self.stirred.contains(&proxy.namespace) && waiting.awaited.iter().all(known);
            due.then(|| proxy.clone())
        };
        let due: Vec<ProxyRef> = self.waiting.iter().filter_map(is_due).collect();
        for proxy in due {
            if let Some(waiting) = self.waiting.remove(&proxy) {
                self.hold(waiting.answer);
            }
        }
    }

    /// The endpoints that an answer needs and that a controller can be expected to bring; they are wanted from now on,
    /// besides those of what serves.
    fn awaited(&mut self, answer: &Rebuilt) -> BTreeSet<ResourceId> {
        let proxy = &answer.proxy;
        let now = self.serving_now(proxy);
        let (needs, served) = (endpoints_of(answer, &now), endpoints_in(now.values()));
        let claims = self.claims_of(proxy);
        let Some(gateway) = self.gateways.get_mut(proxy) else { return BTreeSet::new() };
        if gateway.pinned.as_ref() != Some(&answer.revision) || !matches!(gateway.pin, Some(Pin::Asked)) {
            return BTreeSet::new();
        }
        let names = |ids: &BTreeSet<ResourceId>| {
            ids.iter().filter_map(backend_of).map(str::to_owned).collect::<BTreeSet<String>>()
        };
        gateway.wanted.get_or_insert_with(|| names(&served)).append(&mut names(&needs));
        // What was wanted before a restart was derived before it, or couldn't be.
        let starts = gateway.sequence == 0;
        let told = |claim: &GatewayClaim, name: &str| {
            let status = claim.status.as_ref();
            starts && status.is_some_and(|status| status.wanted_backends.iter().any(|it| it == name))
        };
        let may_come = |id: &ResourceId| {
            let name = backend_of(id).unwrap_or_default();
            claims.iter().any(|claim| is_of(claim, name) && !told(claim, name))
        };
        needs.into_iter().filter(|id| !self.translator.knows_endpoints(proxy, id) && may_come(id)).collect()
    }

    /// How many backends a gateway waits for.
    pub(super) fn awaits(&self, proxy: &ProxyRef) -> usize {
        self.waiting.get(proxy).map_or(0, |waiting| waiting.awaited.len())
    }
}

/// The endpoints that an answer needs.
fn endpoints_of(answer: &Rebuilt, now: &BTreeMap<ResourceId, Resource>) -> BTreeSet<ResourceId> {
    let Ok(resources) = &answer.resources else { return BTreeSet::new() };
    let resource = |(id, content): &'_ (ResourceId, Content)| match content {
        Content::Same => now.get(id).cloned(),
        Content::Old(resource) => Some(resource.clone()),
    };
    let all: Vec<Resource> = resources.iter().filter_map(resource).collect();
    endpoints_in(all.iter())
}

fn endpoints_in<'a>(resources: impl Iterator<Item = &'a Resource>) -> BTreeSet<ResourceId> {
    let needs = resources.flat_map(|resource| resource.needs.iter());
    needs.filter(|id| id.kind == ResourceKind::ClusterLoadAssignment).cloned().collect()
}

impl Gateway {
    /// What a claim's status says of this; none: it isn't known yet.
    pub(super) fn wanted_of(&self, claim: &GatewayClaim) -> Option<Vec<String>> {
        if self.pinned.is_none() {
            return Some(Vec::new());
        }
        let names = self.wanted.as_ref()?.iter().filter(|name| is_of(claim, name));
        Some(names.take(MAX_WANTED_BACKENDS).cloned().collect())
    }
}

/// The backend of a cluster's endpoints: the cluster is named by it and a fingerprint.
pub(super) fn backend_of(id: &ResourceId) -> Option<&str> {
    let endpoints = id.kind == ResourceKind::ClusterLoadAssignment;
    id.name.rsplit_once('/').filter(|_| endpoints).map(|(backend, _)| backend)
}

/// Whether a claim's cluster may have the backend of these endpoints.
pub(super) fn may_derive(claim: &GatewayClaim, id: &ResourceId) -> bool {
    backend_of(id).is_some_and(|backend| is_of(claim, backend))
}

/// Whether a backend is derived by the controller of a claim's cluster.
fn is_of(claim: &GatewayClaim, backend: &str) -> bool {
    backend.strip_prefix(&*claim.spec.origin.cluster).is_some_and(|rest| rest.starts_with('-'))
}
