//! What a change in the API touches.

use std::sync::Arc;
use std::time::Instant;

use foregate_api::address::{Address, AddressPool, ProxyRef};
use foregate_api::{
    GatewayBackend, GatewayClaim, GatewayInstance, GatewayNode, GatewayProxy, GatewayRoute, GatewayTemplate,
};
use foregate_translate::{Change, Input as Translate, ObjectRef};
use k8s_openapi::api::core::v1::Secret;
use kube::{Resource, ResourceExt as _};

use crate::bind::proxy_of;
use crate::outbox::{Kind, Target, Write};
use crate::pipeline::{Object, Observation, Pipeline, Stores, proxy_ref};
use crate::status::instance::is_exchanged;
use crate::store::{Changed, Key, Seen, Store, same_spec};

impl Pipeline {
    pub(super) fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Claim(seen) => self.each(seen, |stores| &mut stores.claims, Self::claim_changed),
            Observation::Proxy(seen) => self.each(seen, |stores| &mut stores.proxies, Self::proxy_changed),
            Observation::Address(seen) => self.each(seen, |stores| &mut stores.addresses, Self::address_changed),
            Observation::Pool(seen) => self.each(seen, |stores| &mut stores.pools, Self::pool_changed),
            Observation::Template(seen) => self.each(seen, |stores| &mut stores.templates, Self::template_changed),
            Observation::Instance(seen) => self.each(seen, |stores| &mut stores.instances, Self::instance_changed),
            Observation::Node(seen) => self.each(seen, |stores| &mut stores.nodes, Self::node_changed),
            Observation::Route(seen) => self.each(seen, |stores| &mut stores.routes, Self::route_changed),
            Observation::Backend(seen) => self.each(seen, |stores| &mut stores.backends, Self::backend_changed),
            Observation::Slice(seen) => {
                self.each(seen, |stores| &mut stores.slices, |this, changed| this.pace.observe(changed));
            }
            Observation::Secret(seen) => self.each(seen, |stores| &mut stores.secrets, Self::secret_changed),
        }
    }

    fn each<K: Resource>(
        &mut self,
        seen: Seen<K>,
        store: impl Fn(&mut Stores) -> &mut Store<K>,
        changed: impl Fn(&mut Self, Changed<K>),
    ) {
        if matches!(seen, Seen::All(_)) && !self.started {
            self.listed += 1;
        }
        for change in store(&mut self.stores).observe(seen) {
            changed(self, change);
        }
    }

    /// The answer to a write of ours.
    pub(super) fn written(&mut self, object: Object) {
        match object {
            Object::Claim(object) => {
                self.stores.claims.written(object).into_iter().for_each(|it| self.claim_changed(it))
            }
            Object::Proxy(object) => {
                self.stores.proxies.written(object).into_iter().for_each(|it| self.proxy_changed(it))
            }
            Object::Address(object) => {
                self.stores.addresses.written(object).into_iter().for_each(|it| self.address_changed(it));
            }
            Object::Pool(object) => self.stores.pools.written(object).into_iter().for_each(|it| self.pool_changed(it)),
            Object::Instance(object) => {
                self.stores.instances.written(object).into_iter().for_each(|it| self.instance_changed(it));
            }
            Object::Secret(object) => {
                self.stores.secrets.written(object).into_iter().for_each(|it| self.secret_changed(it));
            }
            Object::Route(object) => {
                self.stores.routes.written(object).into_iter().for_each(|it| self.route_changed(it))
            }
            Object::Backend(object) => {
                self.stores.backends.written(object).into_iter().for_each(|it| self.backend_changed(it));
            }
        }
    }

    /// The server doesn't have what we wrote to.
    pub(super) fn missing(&mut self, target: &Target, write: &Write) {
        let uid = match write {
            Write::Delete { uid }
            | Write::Status { uid, .. }
            | Write::Metadata { uid, .. }
            | Write::Engine { uid, .. } => Some(uid.as_str()),
            _ => None,
        };
        if uid.is_none() {
            tracing::warn!(kind = ?target.kind, object = %target.key, "can't be created: its namespace is missing");
            self.failures.insert(target.clone(), "its namespace is missing".to_owned());
            return;
        }
        let key = &target.key;
        match target.kind {
            Kind::Claim => self.stores.claims.missing(key, uid).into_iter().for_each(|it| self.claim_changed(it)),
            Kind::Proxy => self.stores.proxies.missing(key, uid).into_iter().for_each(|it| self.proxy_changed(it)),
            Kind::Address => {
                self.stores.addresses.missing(key, uid).into_iter().for_each(|it| self.address_changed(it))
            }
            Kind::Pool => self.stores.pools.missing(key, uid).into_iter().for_each(|it| self.pool_changed(it)),
            Kind::Instance => {
                self.stores.instances.missing(key, uid).into_iter().for_each(|it| self.instance_changed(it));
            }
            Kind::Secret => self.stores.secrets.missing(key, uid).into_iter().for_each(|it| self.secret_changed(it)),
            Kind::Route => self.stores.routes.missing(key, uid).into_iter().for_each(|it| self.route_changed(it)),
            Kind::Backend => self.stores.backends.missing(key, uid).into_iter().for_each(|it| self.backend_changed(it)),
        }
    }

    /// Somebody else has the name. For an address this means: take another.
    pub(super) fn conflict(&mut self, target: &Target, write: &Write) {
        tracing::debug!(kind = ?target.kind, object = %target.key, "the server has another one of that name");
        if let Write::CreateAddress(address) = write
            && let Some(gateway) = address.spec.proxy.as_ref().and_then(|proxy| self.gateways.get_mut(proxy))
        {
            // It stays in use in its pool: whoever has it will be seen.
            gateway.assigning.remove(&target.key.name);
        }
    }

    fn secret_changed(&mut self, changed: Changed<Secret>) {
        self.stirred.insert(changed.key.namespace.clone());
        self.expiries.observe(&changed);
        self.copies.secret(&changed);
        self.changes.push(Translate::Secret(for_translator(&changed)));
    }

    /// Hands on the slices whose time has come.
    pub(super) fn slices_changed(&mut self, now: Instant) {
        for change in self.pace.take(now) {
            self.stirred.insert(match &change {
                Change::Set(slice) => slice.namespace().unwrap_or_default(),
                Change::Gone(key) => key.namespace.to_string(),
            });
            self.changes.push(Translate::Slice(change));
        }
    }

    fn claim_changed(&mut self, changed: Changed<GatewayClaim>) {
        self.copies.claim(&changed);
        let live = |claim: &Option<Arc<GatewayClaim>>| {
            claim.as_deref().filter(|claim| claim.metadata.deletion_timestamp.is_none()).map(proxy_of)
        };
        let (was, is) = (live(&changed.old), live(&changed.new));
        if is.is_none() {
            self.patience.forget(&Target { kind: Kind::Claim, key: changed.key.clone() });
        }
        if let Some(proxy) = &was
            && was != is
        {
            self.gateway(proxy).claims.remove(&changed.key.name);
            self.reshape.insert(proxy.clone());
        }
        if let Some(proxy) = is {
            self.gateway(&proxy).claims.insert(changed.key.name.clone());
            if only_status(&changed) {
                self.restate.insert(proxy)
            } else {
                self.reshape.insert(proxy)
            };
        }
    }

    fn proxy_changed(&mut self, changed: Changed<GatewayProxy>) {
        let proxy = proxy_ref(&changed.key);
        let replaced =
            changed.old.as_ref().is_some_and(|old| changed.new.as_ref().map(|new| new.uid()) != Some(old.uid()));
        if replaced {
            self.abandon(&proxy);
        }
        let gateway = self.gateway(&proxy);
        if replaced {
            gateway.fed = None;
            gateway.published.clear();
            gateway.refused_listeners.clear();
        }
        if changed.new.is_none() {
            self.waiting.remove(&proxy);
            let gateway = self.gateway(&proxy);
            gateway.pinned = None;
            (gateway.pin, gateway.wanted) = (None, None);
            self.patience.forget(&Target { kind: Kind::Proxy, key: changed.key.clone() });
            self.problems.remove(&ObjectRef { kind: "GatewayProxy", key: translator_key(&changed.key) });
            self.changes.push(Translate::Proxy(Change::Gone(translator_key(&changed.key))));
        }
        if only_status(&changed) {
            self.restate.insert(proxy)
        } else {
            self.reshape.insert(proxy)
        };
    }

    fn address_changed(&mut self, changed: Changed<Address>) {
        if let Some(old) = &changed.old {
            self.pools.went(&old.spec);
            if let Some(proxy) = self.looked_after(old.spec.proxy.as_ref()) {
                self.gateway(&proxy).addresses.remove(&changed.key.name);
                self.reshape.insert(proxy);
            }
            // An address is free: whoever lacks one may have it.
            self.reshape.extend(self.unmet.iter().cloned());
        }
        if let Some(new) = &changed.new {
            self.pools.came(&new.spec);
            if let Some(proxy) = self.looked_after(new.spec.proxy.as_ref()) {
                let gateway = self.gateway(&proxy);
                gateway.addresses.insert(changed.key.name.clone());
                gateway.assigning.remove(&changed.key.name);
                self.reshape.insert(proxy);
            }
        }
    }

    fn pool_changed(&mut self, changed: Changed<AddressPool>) {
        match &changed.new {
            Some(_) if only_status(&changed) => self.pools.touch(&changed.key.name),
            Some(pool) => {
                self.pools.set(pool, &self.stores.addresses);
                let assigning = self.gateways.values().flat_map(|gateway| gateway.assigning.values());
                assigning.for_each(|address| self.pools.take(*address));
                self.reshape.extend(self.unmet.iter().cloned());
            }
            None => self.pools.remove(&changed.key.name),
        }
    }

    fn template_changed(&mut self, changed: Changed<GatewayTemplate>) {
        let waiting = self.gateways.iter().filter(|(proxy, gateway)| {
            proxy.namespace == changed.key.namespace && gateway.template_missing.as_ref() == Some(&changed.key.name)
        });
        self.reshape.extend(waiting.map(|(proxy, _)| proxy.clone()));
    }

    /// A gateway of another namespace than ours is another platform's.
    fn looked_after(&self, proxy: Option<&ProxyRef>) -> Option<ProxyRef> {
        proxy.filter(|proxy| self.options.namespace.as_ref().is_none_or(|ours| *ours == proxy.namespace)).cloned()
    }

    fn instance_changed(&mut self, changed: Changed<GatewayInstance>) {
        let either = changed.new.as_ref().or(changed.old.as_ref());
        if self.looked_after(either.map(|instance| &instance.spec.proxy)).is_none() {
            return;
        }
        if let Some(old) = &changed.old
            && changed.new.is_none()
        {
            self.gateway(&old.spec.proxy).instances.remove(&changed.key.name);
            self.presences.forget(&old.spec.proxy, &old.spec.node);
            self.reshape.insert(old.spec.proxy.clone());
        }
        if let Some(new) = &changed.new {
            let proxy = new.spec.proxy.clone();
            let old = changed.old.as_deref();
            if old.is_some_and(|old| old.spec.engine != new.spec.engine) {
                self.gateway(&proxy).newcomer(&new.spec.node);
            } else if old.is_some_and(is_exchanged) && !is_exchanged(new) {
                self.exchanged(&proxy, &new.spec.node);
            }
            self.gateway(&proxy).instances.insert(changed.key.name.clone());
            if only_status(&changed) {
                self.restate.insert(proxy)
            } else {
                self.reshape.insert(proxy)
            };
        }
    }

    /// Where gateways may run has changed.
    fn node_changed(&mut self, changed: Changed<GatewayNode>) {
        if self.options.nodes.is_empty() && !only_status(&changed) {
            self.reshape.extend(self.gateways.keys().cloned());
        }
    }

    fn route_changed(&mut self, changed: Changed<GatewayRoute>) {
        if !only_status(&changed) {
            self.changes.push(Translate::Route(for_translator(&changed)));
        }
        let object = ObjectRef { kind: "GatewayRoute", key: translator_key(&changed.key) };
        let said =
            |route: &Arc<GatewayRoute>| route.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
        let known = self.problems.contains_key(&object);
        self.by_exception(Kind::Route, object, changed.new.as_ref().map(said), known);
    }

    fn backend_changed(&mut self, changed: Changed<GatewayBackend>) {
        if !only_status(&changed) {
            self.stirred.insert(changed.key.namespace.clone());
            self.changes.push(Translate::Backend(for_translator(&changed)));
        }
        let object = ObjectRef { kind: "GatewayBackend", key: translator_key(&changed.key) };
        let said =
            |backend: &Arc<GatewayBackend>| backend.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
        let known = self.problems.contains_key(&object);
        self.by_exception(Kind::Backend, object, changed.new.as_ref().map(said), known);
    }

    /// Looks at an object's status if there is something to say, or something was said. `said`: none, it is gone.
    fn by_exception(&mut self, kind: Kind, object: ObjectRef, said: Option<bool>, known: bool) {
        let key = Key::new(&*object.key.namespace, &*object.key.name);
        match said {
            None => {
                self.problems.remove(&object);
                self.outbox.forget(&Target { kind, key });
            }
            Some(said) if said || known => drop(self.reconsider.insert(Target { kind, key })),
            Some(_) => {}
        }
    }

    pub(super) fn gateway(&mut self, proxy: &ProxyRef) -> &mut crate::pipeline::gateway::Gateway {
        self.gateways.entry(proxy.clone()).or_default()
    }
}

fn only_status<K: Resource>(changed: &Changed<K>) -> bool {
    matches!((&changed.old, &changed.new), (Some(old), Some(new)) if same_spec(&**old, &**new))
}

pub(super) fn translator_key(key: &Key) -> foregate_translate::Key {
    foregate_translate::Key::new(key.namespace.as_str(), key.name.as_str())
}

fn for_translator<K>(changed: &Changed<K>) -> Change<K> {
    match &changed.new {
        Some(object) => Change::Set(Arc::clone(object)),
        None => Change::Gone(translator_key(&changed.key)),
    }
}
