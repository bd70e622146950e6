//! Claims to gateway: proxy, addresses, instances, and what the translator is told.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Instant;

use foregate_api::address::ProxyRef;
use foregate_api::instance::{GatewayInstance, GatewayInstanceSpec};
use foregate_api::proxy::{GatewayProxy, GatewayProxySpec, GatewayProxyStatus};
use foregate_api::template::GatewayTemplateSpec;
use foregate_api::{GatewayClaim, GatewayTemplate};
use foregate_translate::{Change, Input as Translate};
use kube::{Resource, ResourceExt as _};

use crate::bind::{MANAGED_BY, MANAGER, founds, instance_name, nodes_for, precedence};
use crate::merge::merge;
use crate::outbox::{Kind, Target, Write};
use crate::pipeline::Pipeline;
use crate::pipeline::address::requests;
use crate::pipeline::gateway::Fed;
use crate::pipeline::handed;
use crate::pipeline::last_good;
use crate::status::complaint::Complaint;
use crate::store::Key;

impl Pipeline {
    /// Shapes every gateway that something touched; the eldest first, so that it gets the last free address.
    pub(super) fn shape_all(&mut self, now: Instant) {
        while !self.reshape.is_empty() {
            let mut touched: Vec<_> = std::mem::take(&mut self.reshape)
                .into_iter()
                .map(|proxy| (self.claims_of(&proxy).into_iter().next(), proxy))
                .collect();
            touched.sort_by(|(a, p), (b, q)| {
                let by_age = match (a, b) {
                    (Some(a), Some(b)) => precedence(a, b),
                    _ => Ordering::Equal,
                };
                by_age.then_with(|| p.cmp(q))
            });
            for (_, proxy) in touched {
                self.shape(&proxy, now);
            }
        }
    }

    /// A gateway's claims in order of precedence.
    pub(super) fn claims_of(&self, proxy: &ProxyRef) -> Vec<Arc<GatewayClaim>> {
        let Some(gateway) = self.gateways.get(proxy) else { return Vec::new() };
        let key = |name: &String| Key::new(&proxy.namespace, name);
        let mut claims: Vec<_> =
            gateway.claims.iter().filter_map(|name| self.stores.claims.get(&key(name)).cloned()).collect();
        claims.sort_by(|a, b| precedence(a, b));
        claims
    }

    fn shape(&mut self, proxy: &ProxyRef, now: Instant) {
        let claims = self.claims_of(proxy);
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        gateway.order = claims.iter().map(|claim| claim.name_any()).collect();
        gateway.merge = merge(claims.iter().map(|claim| &**claim));
        let first = claims.first().map(|claim| &claim.spec);
        gateway.backend_client_certificate = first.and_then(|spec| spec.backend_client_certificate.clone());
        gateway.infrastructure = first.and_then(|spec| spec.infrastructure.clone());
        let object = self.stores.proxies.get(&Key::from(proxy)).cloned();
        let target = Target { kind: Kind::Proxy, key: Key::from(proxy) };
        self.restate.insert(proxy.clone());
        match object {
            Some(object) if !claims.is_empty() || !is_ours(&object) => {
                let asked = requests(claims.first().map(|claim| &**claim), &object.spec.requested_addresses).to_vec();
                self.assign(proxy, &object.spec.template.pool, &asked, now);
                self.place(proxy, &object.spec.template, now);
                self.follow_pin(proxy, &object);
                self.feed(proxy, &object);
            }
            None if !claims.is_empty() => self.make(proxy, &claims, target, now),
            _ => self.tear_down(proxy, target, now),
        }
    }

    /// Makes the proxy from the template that the first claim names.
    fn make(&mut self, proxy: &ProxyRef, claims: &[Arc<GatewayClaim>], target: Target, now: Instant) {
        let Some(eldest) = claims.first() else { return };
        if !founds(eldest) {
            // Its Gateway's claim is on its way.
            return self.outbox.want(target, None, now);
        }
        let key = Key::new(&proxy.namespace, &eldest.spec.template);
        let template = self.stores.templates.get(&key).cloned();
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        gateway.template_missing = template.is_none().then(|| eldest.spec.template.clone());
        let write = template.map(|template| {
            let mut object = new_proxy(proxy, eldest, &template);
            handed::put(&mut object.metadata, eldest.spec.infrastructure.as_ref());
            Write::CreateProxy(Box::new(object))
        });
        self.outbox.want(target, write, now);
    }

    /// The nodes that a gateway is to run on. One that takes no new instances keeps those that it has.
    pub(super) fn nodes_of(&self, proxy: &ProxyRef, replicas: u32) -> Vec<String> {
        let owned = |nodes: &[String]| nodes_for(proxy, replicas, nodes).into_iter().map(str::to_owned).collect();
        if !self.options.nodes.is_empty() {
            return owned(&self.options.nodes);
        }
        let runs_on = |node: &str| {
            self.gateways.get(proxy).is_some_and(|gateway| gateway.instances.contains(&instance_name(proxy, node)))
        };
        let usable = self.stores.nodes.iter().filter(|(key, node)| {
            node.metadata.deletion_timestamp.is_none() && (!node.spec.unschedulable || runs_on(&key.name))
        });
        owned(&usable.map(|(key, _)| key.name.clone()).collect::<Vec<_>>())
    }

    /// One instance per node, each on the template's engine; instances on other nodes go.
    fn place(&mut self, proxy: &ProxyRef, template: &GatewayTemplateSpec, now: Instant) {
        let nodes = self.nodes_of(proxy, template.replicas);
        let wanted: Vec<(String, &String)> = nodes.iter().map(|node| (instance_name(proxy, node), node)).collect();
        let Some(gateway) = self.gateways.get(proxy) else { return };
        let mut writes = Vec::new();
        for (name, node) in &wanted {
            let write = if gateway.instances.contains(name) {
                self.change_engine(name, &template.engine)
            } else {
                let (proxy, node, engine) = (proxy.clone(), (*node).clone(), template.engine.clone());
                let mut instance = GatewayInstance::new(name, GatewayInstanceSpec { proxy, node, engine });
                instance.labels_mut().insert(MANAGED_BY.into(), MANAGER.into());
                handed::put(&mut instance.metadata, gateway.infrastructure.as_ref());
                Some(Write::CreateInstance(Box::new(instance)))
            };
            let target = Target { kind: Kind::Instance, key: Key::cluster(name) };
            // A status that is wanted isn't taken back by a spec that is right.
            if write.is_some() || !gateway.instances.contains(name) {
                writes.push((target, write));
            }
        }
        let surplus = gateway.instances.iter().filter(|name| wanted.iter().all(|(wanted, _)| wanted != *name));
        let gone =
            |name: &String| (Target { kind: Kind::Instance, key: Key::cluster(name) }, self.delete_instance(name));
        writes.extend(surplus.map(gone));
        for (target, write) in writes {
            self.outbox.want(target, write, now);
        }
    }

    /// An instance that runs on another engine than its gateway's template names.
    pub(super) fn change_engine(&self, name: &str, engine: &str) -> Option<Write> {
        let instance = self.stores.instances.get(&Key::cluster(name))?;
        let differs = instance.spec.engine != engine && instance.metadata.deletion_timestamp.is_none();
        let uid = instance.uid().filter(|_| differs)?;
        Some(Write::Engine { uid, engine: engine.to_owned() })
    }

    fn delete_instance(&self, name: &str) -> Option<Write> {
        self.stores.instances.get(&Key::cluster(name)).and_then(|instance| delete(&**instance))
    }

    /// Tells the translator what the gateway is now, if it is something else than before.
    fn feed(&mut self, proxy: &ProxyRef, object: &Arc<GatewayProxy>) {
        let troubled = Complaint::new(self.problem("GatewayProxy", &Key::from(proxy))).of_template().is_some();
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        gateway.template_missing = None;
        let addresses = gateway.owned.clone();
        // Without an address there is nothing to listen on.
        let listeners = if addresses.is_empty() { Vec::new() } else { gateway.merge.listeners.clone() };
        let (uid, generation) = (object.uid(), object.metadata.generation);
        let fed = Fed {
            uid,
            generation,
            template: object.spec.template.clone(),
            listeners,
            addresses,
            backend_client_certificate: gateway.backend_client_certificate.clone(),
            infrastructure: gateway.infrastructure.clone(),
        };
        gateway.published.retain(|claim, _| gateway.order.contains(claim));
        if gateway.fed.as_ref() == Some(&fed) {
            return;
        }
        for claim in &gateway.order {
            let same = gateway.published.contains_key(claim)
                && gateway.fed.as_ref().is_some_and(|before| before.same_for(&fed, claim));
            if !same {
                gateway.published.remove(claim);
                gateway.unpublished.insert(claim.clone());
            }
        }
        let mut overlay = GatewayProxy::clone(object);
        overlay.status = Some(GatewayProxyStatus {
            addresses: fed.addresses.clone(),
            listeners: fed.listeners.clone(),
            backend_client_certificate: fed.backend_client_certificate.clone(),
            infrastructure: fed.infrastructure.clone(),
            ..Default::default()
        });
        let before = gateway.fed.replace(fed);
        let remembered = if before.is_none() { last_good::remembered(object) } else { None };
        match before {
            Some(before) if before.template != object.spec.template && !troubled => {
                gateway.good = Some(before.template)
            }
            Some(_) => {}
            None => gateway.good = remembered.as_ref().map(|(template, _)| template.clone()),
        }
        let (first, last) = match &remembered {
            Some((template, last)) => {
                let (first, last) = last_good::around(&overlay, template, last);
                (Some(first), last)
            }
            None => (None, None),
        };
        let present = Translate::Proxy(Change::Set(Arc::new(overlay)));
        self.changes.extend(first.into_iter().chain([present]).chain(last));
    }

    /// The last claim is out: everything goes. Addresses go last, when no instance can listen on them any more.
    fn tear_down(&mut self, proxy: &ProxyRef, target: Target, now: Instant) {
        let object = self.stores.proxies.get(&target.key).cloned();
        let write = object.as_ref().and_then(|object| delete(&**object));
        self.outbox.want(target, write, now);
        self.unmet.remove(proxy);
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        gateway.unmet = None;
        let outbox = &mut self.outbox;
        gateway.assigning.retain(|name, address| {
            let target = Target { kind: Kind::Address, key: Key::cluster(name) };
            outbox.want(target.clone(), None, now);
            let busy = outbox.is_busy(&target);
            if !busy {
                self.pools.free(*address);
            }
            busy
        });
        let instances: Vec<String> = gateway.instances.iter().cloned().collect();
        let addresses: Vec<String> = gateway.addresses.iter().cloned().collect();
        for name in &instances {
            let write = self.delete_instance(name);
            self.outbox.want(Target { kind: Kind::Instance, key: Key::cluster(name) }, write, now);
        }
        let listening = !instances.is_empty() || self.presences.any_connected(proxy);
        if !listening {
            for name in &addresses {
                self.release(name, now);
            }
        }
        if object.is_none() && !listening && self.gateways.get(proxy).is_some_and(|gateway| gateway.is_empty()) {
            self.gateways.remove(proxy);
            self.restate.remove(proxy);
            self.gone.push(proxy.clone());
        }
    }
}

/// Whether the platform made it, and so may remove it.
fn is_ours(proxy: &GatewayProxy) -> bool {
    proxy.labels().get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
}

fn delete<K: Resource>(object: &K) -> Option<Write> {
    let meta = object.meta();
    meta.uid.clone().filter(|_| meta.deletion_timestamp.is_none()).map(|uid| Write::Delete { uid })
}

fn new_proxy(proxy: &ProxyRef, eldest: &GatewayClaim, template: &GatewayTemplate) -> GatewayProxy {
    let spec = GatewayProxySpec {
        template_name: eldest.spec.template.clone(),
        template: template.spec.clone(),
        // An operator's. Those of the first claim are its own, and it may ask for others later.
        requested_addresses: Vec::new(),
        pinned_revision: None,
    };
    let mut object = GatewayProxy::new(&proxy.name, spec);
    object.metadata.namespace = Some(proxy.namespace.clone());
    object.labels_mut().insert(MANAGED_BY.into(), MANAGER.into());
    object
}
