//! Translation and publication.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use foregate_api::Origin;
use foregate_api::address::ProxyRef;
use foregate_api::revision::Refusal;
use foregate_translate::{ObjectRef, Output, Report, ResourceChange};
use foregate_xds::{Delta, Owner, ResourceId, ResourceKind};
use kube::ResourceExt as _;

use crate::bind::{group_of, proxy_of};
use crate::keeper::{Record, Step};
use crate::outbox::{Kind, Target};
use crate::pipeline::Pipeline;
use crate::status::complaint::Complaint;
use crate::store::Key;

type Published = (ResourceId, Arc<str>, Arc<[Owner]>);

impl Pipeline {
    /// Translates what has changed and publishes what follows.
    pub(super) fn publish(&mut self, now: Instant) {
        if !self.changes.is_empty() || !self.unpinned.is_empty() {
            let mut output = self.translator.apply(std::mem::take(&mut self.changes));
            for proxy in std::mem::take(&mut self.unpinned) {
                self.let_go(&proxy, &mut output);
            }
            let Output { deltas, reports, mut causes, mut changes, .. } = output;
            for (proxy, mut delta) in deltas {
                let mut changes = changes.remove(&proxy).unwrap_or_default();
                if self.is_held(&proxy) {
                    self.flow(&proxy, &mut delta);
                    changes.clear();
                }
                self.send(&proxy, delta, changes, causes.remove(&proxy).unwrap_or_default());
            }
            reports.into_iter().for_each(|report| self.reported(report));
        }
        self.hold_due(now);
        self.refresh_extras(now);
        self.mark_published();
        self.mark_trials();
        self.records.extend(std::mem::take(&mut self.steps).into_values().map(|step| Record::Step(Box::new(step))));
        self.ask();
        for proxy in self.gone.drain(..) {
            self.cache.remove_group(&group_of(&proxy));
            self.records.push(Record::Gone(proxy));
        }
    }

    /// Publishes a change of a gateway, and notes it for its revisions.
    pub(super) fn send(&mut self, proxy: &ProxyRef, delta: Delta, changes: Vec<ResourceChange>, causes: Vec<Origin>) {
        if delta.is_empty() {
            return;
        }
        let applied = self.presences.applied(proxy).unwrap_or_default();
        let set: Vec<_> = delta.set.iter().map(|it| (it.id.clone(), it.version.clone(), it.owners.clone())).collect();
        let removed = delta.remove.clone();
        let sequence = self.cache.apply(&group_of(proxy), delta);
        self.record(proxy, sequence, applied, set, &removed);
        if !changes.is_empty() {
            let step = self.step_of(proxy);
            step.changes.extend(changes);
            step.causes.extend(causes);
        }
    }

    /// What is written down of this step for a gateway.
    fn step_of(&mut self, proxy: &ProxyRef) -> &mut Step {
        let object = self.stores.proxies.get(&Key::from(proxy));
        self.steps.entry(proxy.clone()).or_insert_with(|| Step {
            proxy: proxy.clone(),
            uid: object.and_then(|object| object.uid()),
            baseline: !self.started,
            causes: Vec::new(),
            changes: Vec::new(),
            refusals: Vec::new(),
        })
    }

    /// Writes down a refusal of a route, for each gateway that it is attached to.
    pub(super) fn note_refusal(&mut self, key: &Key, message: &str) {
        let Some(route) = self.stores.routes.get(key).cloned() else { return };
        let claims = route.spec.attachments.iter().map(|attachment| Key::new(&key.namespace, &attachment.claim));
        let proxies: BTreeSet<ProxyRef> =
            claims.filter_map(|key| self.stores.claims.get(&key).map(|claim| proxy_of(claim))).collect();
        for proxy in proxies {
            let refusal = Refusal { origin: route.spec.origin.clone(), message: message.to_owned() };
            self.step_of(&proxy).refusals.push(refusal);
        }
    }

    /// Keeps what a later refusal is judged by.
    fn record(&mut self, proxy: &ProxyRef, sequence: u64, applied: u64, set: Vec<Published>, removed: &[ResourceId]) {
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        gateway.sequence = sequence;
        let mut relieved = false;
        for (id, version, owners) in set {
            relieved |= id.kind == ResourceKind::Listener && gateway.relieve(&id.name);
            relieved |= gateway.dissent.published(&id, sequence);
            if !owners.is_empty() {
                gateway.history.set(id, sequence, version, owners, applied);
            }
        }
        for id in removed {
            relieved |= id.kind == ResourceKind::Listener && gateway.relieve(&id.name);
            relieved |= gateway.dissent.removed(id);
            gateway.history.remove(id);
        }
        if relieved {
            self.restate.insert(proxy.clone());
        }
    }

    /// The listeners that went out now are known by their gateway's sequence.
    fn mark_published(&mut self) {
        let restated: Vec<ProxyRef> = self.restate.iter().cloned().collect();
        for proxy in restated {
            if self.is_held(&proxy) {
                self.settle_claims(&proxy);
                continue;
            }
            let Some(gateway) = self.gateways.get_mut(&proxy).filter(|gateway| gateway.fed.is_some()) else { continue };
            if gateway.sequence == 0 {
                // Nothing to publish is published too: its engines wait for an answer.
                gateway.sequence = self.cache.apply(&group_of(&proxy), Default::default());
            }
            for claim in std::mem::take(&mut gateway.unpublished) {
                gateway.published.insert(claim, gateway.sequence);
            }
        }
    }

    /// What translation says of an object.
    fn reported(&mut self, Report { object, owner, problem }: Report) {
        if let Some(problem) = &problem {
            tracing::info!(%object, owner = %owner.uid, generation = owner.generation, problem, "refused");
            if object.kind == "GatewayRoute" && !self.suspects.contains(&owner.uid) {
                self.note_refusal(&Key::new(&*object.key.namespace, &*object.key.name), problem);
            }
        }
        if object.kind == "GatewayProxy" {
            self.relieved(&object, problem.as_deref());
        }
        let key = Key::new(&*object.key.namespace, &*object.key.name);
        match object.kind {
            "GatewayRoute" => drop(self.reconsider.insert(Target { kind: Kind::Route, key })),
            "GatewayBackend" => drop(self.reconsider.insert(Target { kind: Kind::Backend, key })),
            "GatewayProxy" => drop(self.restate.insert(object.key.proxy_ref())),
            // Secrets and the like: whose listeners use them is found when the gateways are looked at.
            _ => self.restate.extend(self.gateways.keys().filter(|it| it.namespace == key.namespace).cloned()),
        }
        match problem {
            Some(problem) => drop(self.problems.insert(object, problem)),
            None => drop(self.problems.remove(&object)),
        }
    }

    /// Claims of which something isn't said any more have to wait for the engines to take what it was about.
    fn relieved(&mut self, object: &ObjectRef, problem: Option<&str>) {
        let proxy = object.key.proxy_ref();
        let before = Complaint::new(self.problems.get(object).map(String::as_str));
        let after = Complaint::new(problem);
        let claims = self.claims_of(&proxy);
        let healed = claims.iter().filter(|claim| before.is_about(claim) && !after.is_about(claim));
        let healed: Vec<String> = healed.map(|claim| claim.name_any()).collect();
        if let Some(gateway) = self.gateways.get_mut(&proxy) {
            gateway.unpublished.extend(healed);
        }
    }
}
