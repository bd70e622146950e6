//! Gateways that are held at a revision (`spec.pinnedRevision`).
//!
//! From the moment that a gateway is pinned, nothing of its listeners and routes is published. What the revision was is
//! found out outside ([`Record::Ask`]), since old texts are in the API only; the answer ([`Rebuilt`]) is published as
//! any change is, so that the streams bring it to the engines in make-before-break order. A revision that is gone
//! leaves the gateway as it is. Endpoints and secrets flow on (`flow`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use foregate_api::GatewayProxy;
use foregate_api::address::ProxyRef;
use foregate_api::claim::ClaimListener;
use foregate_api::{GROUP, Origin};
use foregate_translate::{Output, Present, ResourceChange};
use foregate_xds::{Delta, Resource, ResourceId, ResourceKind};
use kube::ResourceExt as _;

use crate::bind::group_of;
use crate::keeper::{Ask, Content, Rebuilt, Record};
use crate::pipeline::Pipeline;
use crate::pipeline::gateway::is_of;
use crate::pipeline::wanted::backend_of;
use crate::status::claim::Pinned;
use crate::store::Key;

/// Whether a kind flows to a gateway that is held at a revision.
pub(super) const fn flows(kind: ResourceKind) -> bool {
    matches!(kind, ResourceKind::ClusterLoadAssignment | ResourceKind::Secret)
}

/// How far a gateway's pin is.
#[derive(Debug)]
pub(crate) enum Pin {
    /// What the revision was is being found out, or what it needs is being derived (`wanted`); what serves stays.
    Asked,
    /// It is held.
    Held(Held),
}

/// What a held gateway serves.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Why it isn't at the revision that is asked for; none: it is.
    pub failure: Option<String>,
    /// The endpoints and secrets that it needs.
    pub needs: BTreeSet<ResourceId>,
    /// Those that are published, with their versions, which nothing of the present gateway needs.
    pub extras: BTreeMap<ResourceId, Arc<str>>,
    /// Those whose objects are gone.
    pub missing: BTreeSet<ResourceId>,
    /// Endpoints whose backends went a moment ago: until then they stay what they were.
    pub fading: BTreeMap<ResourceId, Instant>,
    /// Its listeners' versions.
    pub listeners: BTreeMap<Arc<str>, Arc<str>>,
    /// What engines said against resources that nobody owns any more.
    pub refused: BTreeMap<ResourceId, String>,
}

impl Held {
    /// What its status says.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let refused = self.refused.iter().map(|(id, message)| format!("the engine refused {id:?}: {message}"));
        let missing = self.missing.iter().map(|id| match id.kind {
            ResourceKind::Secret => format!("Secret {} isn't there any more", id.name),
            _ => format!("the backend of cluster {} is gone: requests to it are answered with 503", id.name),
        });
        refused.chain(missing).collect()
    }
}

impl Pipeline {
    /// Notes whether the gateway is to be held at a revision.
    pub(super) fn follow_pin(&mut self, proxy: &ProxyRef, object: &GatewayProxy) {
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        let pinned = object.spec.pinned_revision.clone().filter(|name| !name.is_empty());
        if gateway.pinned == pinned {
            return;
        }
        let group = group_of(proxy);
        self.waiting.remove(proxy);
        if let Some(revision) = &pinned {
            tracing::info!(group, revision, "pinned");
            gateway.pin = Some(Pin::Asked);
            self.asking.insert(proxy.clone());
        } else {
            tracing::info!(group, "unpinned");
            (gateway.pin, gateway.wanted) = (None, None);
            self.unpinned.insert(proxy.clone());
            self.asking.remove(proxy);
        }
        gateway.pinned = pinned;
    }

    /// Whether a gateway is held at a revision.
    pub(super) fn is_held(&self, proxy: &ProxyRef) -> bool {
        self.gateways.get(proxy).is_some_and(|gateway| gateway.pin.is_some())
    }

    /// Whether a gateway that was pinned before the start waits for what it is to serve: until then its engines keep
    /// what they have.
    pub(super) fn is_silent(&self, proxy: &ProxyRef) -> bool {
        let gateway = self.gateways.get(proxy);
        gateway.is_some_and(|it| it.sequence == 0 && matches!(it.pin, Some(Pin::Asked)))
    }

    /// Asks what the revisions were that gateways are pinned at, and tells of those that aren't pinned any more.
    pub(super) fn ask(&mut self) {
        for proxy in std::mem::take(&mut self.asking) {
            let Some(gateway) = self.gateways.get(&proxy) else { continue };
            let Some(revision) = gateway.pinned.clone() else { continue };
            let uid = self.stores.proxies.get(&Key::from(&proxy)).and_then(|object| object.uid());
            let now = self.serving_now(&proxy).into_values().collect();
            self.records.push(Record::Ask(Box::new(Ask { proxy, uid, revision, now })));
        }
    }

    /// What a gateway serves now, without endpoints and secrets; after a start, what it would serve if it weren't held.
    pub(super) fn serving_now(&self, proxy: &ProxyRef) -> BTreeMap<ResourceId, Resource> {
        let published = self.gateways.get(proxy).is_some_and(|gateway| gateway.sequence > 0);
        let all = if published {
            self.cache.dump(&group_of(proxy))
        } else {
            self.translator.resources(proxy).into_iter().cloned().collect()
        };
        let steady = all.into_iter().filter(|resource| !flows(resource.id.kind));
        steady.map(|resource| (resource.id.clone(), resource)).collect()
    }

    /// The answer has come: what is pinned is published.
    pub(super) fn hold(&mut self, answer: Rebuilt) {
        let Rebuilt { proxy, revision, resources } = answer;
        let Some(gateway) = self.gateways.get(&proxy) else { return };
        if gateway.pinned.as_ref() != Some(&revision) || !matches!(gateway.pin, Some(Pin::Asked)) {
            return;
        }
        let at_start = gateway.sequence == 0;
        let mut now = self.serving_now(&proxy);
        let mut held = Held::default();
        let target: BTreeMap<ResourceId, Resource> = match resources {
            Ok(resources) => {
                let taken = |(id, content): (ResourceId, Content)| match content {
                    Content::Same => now.remove_entry(&id),
                    Content::Old(resource) => Some((id, resource)),
                };
                resources.into_iter().filter_map(taken).collect()
            }
            Err(failure) => {
                tracing::warn!(group = group_of(&proxy), revision, %failure, "can't be pinned; it stays as it is");
                held.failure = Some(failure);
                now
            }
        };
        self.serve(&proxy, target, held);
        if at_start && let Some(step) = self.steps.get_mut(&proxy) {
            step.baseline = true;
        }
        self.settle_claims(&proxy);
        self.restate.insert(proxy);
    }

    /// Publishes what a gateway is held at, with its endpoints and secrets.
    fn serve(&mut self, proxy: &ProxyRef, target: BTreeMap<ResourceId, Resource>, mut held: Held) {
        let named = target.values().flat_map(|resource| resource.needs.iter());
        held.needs = named.filter(|id| flows(id.kind)).cloned().collect();
        let listeners = target.values().filter(|resource| resource.id.kind == ResourceKind::Listener);
        held.listeners = listeners.map(|it| (it.id.name.clone(), it.version.clone())).collect();
        let mut before: HashMap<ResourceId, Resource> =
            self.cache.dump(&group_of(proxy)).into_iter().map(|it| (it.id.clone(), it)).collect();
        let mut wanted: Vec<Resource> = target.into_values().collect();
        wanted.extend(self.flowing(proxy, &mut held, &before));
        let (delta, changes) = difference(&mut before, wanted.iter());
        let causes = self.pin_causes(proxy);
        if let Some(gateway) = self.gateways.get_mut(proxy) {
            gateway.wanted = Some(held.needs.iter().filter_map(backend_of).map(str::to_owned).collect());
            gateway.pin = Some(Pin::Held(held));
        }
        self.send(proxy, delta, changes, causes);
    }

    /// The endpoints and secrets that a held gateway needs, as they are now, or as they were last.
    fn flowing(&self, proxy: &ProxyRef, held: &mut Held, before: &HashMap<ResourceId, Resource>) -> Vec<Resource> {
        let mut flowing = Vec::new();
        for id in held.needs.clone() {
            let resource = match self.translator.present(proxy, &id) {
                Present::Here(resource) => Some(resource),
                Present::Gone(resource) => {
                    held.missing.insert(id.clone());
                    resource.or_else(|| before.get(&id).cloned())
                }
            };
            let Some(resource) = resource else { continue };
            if self.translator.resource(proxy, &id).is_none() {
                held.extras.insert(id, resource.version.clone());
            }
            flowing.push(resource);
        }
        flowing
    }

    /// A gateway isn't held any more: all that was kept back is published.
    pub(super) fn let_go(&mut self, proxy: &ProxyRef, output: &mut Output) {
        let before = self.cache.dump(&group_of(proxy));
        let mut before: HashMap<ResourceId, Resource> = before.into_iter().map(|it| (it.id.clone(), it)).collect();
        let (delta, changes) = difference(&mut before, self.translator.resources(proxy).into_iter());
        output.deltas.insert(proxy.clone(), delta);
        output.changes.insert(proxy.clone(), changes);
        output.causes.entry(proxy.clone()).or_default().extend(self.pin_causes(proxy));
        self.records.push(Record::Unpinned(proxy.clone()));
    }

    /// Who pins and unpins: whoever writes the GatewayProxy.
    fn pin_causes(&self, proxy: &ProxyRef) -> Vec<Origin> {
        let object = self.stores.proxies.get(&Key::from(proxy));
        let origin = |object: &Arc<GatewayProxy>| Origin {
            cluster: String::new(),
            group: GROUP.to_owned(),
            kind: "GatewayProxy".to_owned(),
            namespace: proxy.namespace.clone(),
            name: proxy.name.clone(),
            uid: object.uid().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            creation_timestamp: object.metadata.creation_timestamp.clone(),
        };
        object.map(origin).into_iter().collect()
    }

    /// Claims are served as they are now where the held listeners are what they would be now.
    pub(super) fn settle_claims(&mut self, proxy: &ProxyRef) {
        let now: BTreeMap<Arc<str>, Arc<str>> = self
            .translator
            .resources_of(proxy, ResourceKind::Listener)
            .map(|listener| (listener.id.name.clone(), listener.version.clone()))
            .collect();
        let claims = self.claims_of(proxy);
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        let Some(Pin::Held(held)) = &gateway.pin else { return };
        let on = |listeners: &BTreeMap<Arc<str>, Arc<str>>, listener: &ClaimListener| {
            let found: Vec<_> = listeners.iter().filter(|(name, _)| is_of(name, listener)).collect();
            found.into_iter().map(|(name, version)| (name.clone(), version.clone())).collect::<Vec<_>>()
        };
        for claim in claims {
            let name = claim.name_any();
            let same = claim.spec.listeners.iter().all(|it| on(&now, it) == on(&held.listeners, it));
            if same {
                gateway.unpublished.remove(&name);
                let sequence = gateway.sequence;
                gateway.published.entry(name).or_insert(sequence);
            } else {
                gateway.published.remove(&name);
                gateway.unpublished.insert(name);
            }
        }
    }

    /// What an engine says against a resource of a held gateway that nobody owns any more. Returns whether it is one.
    pub(super) fn refused_while_held(
        &mut self,
        proxy: &ProxyRef,
        id: &ResourceId,
        ownerless: bool,
        message: &str,
    ) -> bool {
        let Some(gateway) = self.gateways.get_mut(proxy) else { return false };
        let Some(Pin::Held(held)) = &mut gateway.pin else { return false };
        if ownerless {
            held.refused.insert(id.clone(), message.to_owned());
        }
        ownerless
    }
}

impl crate::pipeline::gateway::Gateway {
    /// What its status says of its pin.
    pub(crate) fn pinned_as(&self) -> Option<Pinned> {
        let revision = self.pinned.clone()?;
        let (failure, troubles) = match &self.pin {
            Some(Pin::Held(held)) => (held.failure.clone(), held.troubles()),
            _ => (None, Vec::new()),
        };
        Some(Pinned { revision, failure, troubles, awaited: 0 })
    }
}

/// What leads from what is published to what is wanted, and how a revision tells it.
fn difference<'a>(
    before: &mut HashMap<ResourceId, Resource>,
    wanted: impl Iterator<Item = &'a Resource>,
) -> (Delta, Vec<ResourceChange>) {
    let (mut delta, mut changes) = (Delta::default(), Vec::new());
    let mut note = |id: &ResourceId, old: Option<&Resource>, new_version: Option<Arc<str>>| {
        if !flows(id.kind) && old.map(|old| &old.version) != new_version.as_ref() {
            changes.push(ResourceChange {
                id: id.clone(),
                old: old.map(|old| old.body.clone()),
                old_version: old.map(|old| old.version.clone()),
                old_needs: old.map(|old| old.needs.clone()).unwrap_or_default(),
                new_version,
            });
        }
    };
    for resource in wanted {
        let old = before.remove(&resource.id);
        if old.as_ref() == Some(resource) {
            continue;
        }
        note(&resource.id, old.as_ref(), Some(resource.version.clone()));
        delta.set.push(resource.clone());
    }
    let mut gone: Vec<(ResourceId, Resource)> = before.drain().collect();
    gone.sort_by(|a, b| a.0.cmp(&b.0));
    for (id, old) in gone {
        note(&id, Some(&old), None);
        delta.remove.push(id);
    }
    (delta, changes)
}
