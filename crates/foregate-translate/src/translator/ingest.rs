//! Objects into the index; marks what depends on them.

use std::sync::Arc;

use foregate_api::backend::BackendProtocol;
use foregate_api::{GatewayBackend, GatewayEndpointSlice, GatewayRoute, Origin};
use foregate_envoy::Owner;
use k8s_openapi::api::core::v1::Secret;

use super::Translator;
use super::secrets::secret_owner;
use super::work::Work;
use crate::index::{Backend, Certificate, Route, Service, Tracked};
use crate::{Change, Input, Key, ObjectRef};

/// Kinds as reports name them.
pub(super) const PROXY: &str = "GatewayProxy";
pub(super) const ROUTE: &str = "GatewayRoute";
pub(super) const BACKEND: &str = "GatewayBackend";
pub(super) const SLICE: &str = "GatewayEndpointSlice";
pub(super) const SECRET: &str = "Secret";

impl Translator {
    pub(super) fn ingest(&mut self, input: Input, work: &mut Work) {
        match input {
            Input::Proxy(Change::Set(proxy)) => self.take_proxy(proxy, work),
            Input::Proxy(Change::Gone(key)) => self.drop_proxy(&key, work),
            Input::Route(Change::Set(route)) => self.take_route(route, work),
            Input::Route(Change::Gone(key)) => self.drop_route(&key, work),
            Input::Backend(Change::Set(backend)) => self.take_backend(backend, work),
            Input::Backend(Change::Gone(key)) => self.lose_backend(&key, work),
            Input::Slice(Change::Set(slice)) => self.take_slice(slice, work),
            Input::Slice(Change::Gone(key)) => self.lose_slice(&key, work),
            Input::Secret(Change::Set(secret)) => self.take_secret(secret, work),
            Input::Secret(Change::Gone(key)) => self.lose_secret(&key, work),
            Input::Quarantine { uid, generation, message } => self.quarantine(&uid, generation, &message, work),
        }
    }

    fn take_route(&mut self, route: Arc<GatewayRoute>, work: &mut Work) {
        let key = Key::of(&route.metadata);
        if let Some(known) = self.index.routes.get_mut(&key)
            && known.tracked.current.spec == route.spec
        {
            // Its status, mostly: the platform's own words come back.
            return;
        }
        let owner = owner_of(&route.spec.origin);
        work.mark_route(&key, &[Arc::new(route.spec.origin.clone())]);
        work.judge(ROUTE, &key);
        self.know(&owner, ROUTE, &key);
        match self.index.routes.get_mut(&key) {
            Some(known) => known.tracked.replace(route, owner),
            None => {
                self.index.routes.insert(key, Route::new(Tracked::new(route, owner)));
            }
        }
    }

    fn drop_route(&mut self, key: &Key, work: &mut Work) {
        if let Some(route) = self.index.routes.get(key) {
            work.mark_route(key, &[Arc::new(route.tracked.current.spec.origin.clone())]);
            work.judge(ROUTE, key);
            let owner = route.tracked.owner.clone();
            self.forget(&owner, ROUTE, key);
            self.unplace_route(key, work);
        }
    }

    fn take_backend(&mut self, backend: Arc<GatewayBackend>, work: &mut Work) {
        let key = Key::of(&backend.metadata);
        let owner = backend_owner(&backend);
        if let Some(known) = self.index.backends.get_mut(&key)
            && known.tracked.owner == owner
            && known.tracked.current.spec == backend.spec
        {
            known.gone = false;
            return;
        }
        work.backends.entry(key.clone()).or_default().push(Arc::new(backend.spec.origin.clone()));
        work.judge(BACKEND, &key);
        self.know(&owner, BACKEND, &key);
        let service = service_of(&key, &backend.spec.origin);
        match self.index.backends.get_mut(&key) {
            Some(known) => {
                let old = service_of(&key, &known.tracked.current.spec.origin);
                self.index.backends_by_service.remove(&old, &key);
                known.gone = false;
                known.tracked.replace(backend, owner);
            }
            None => {
                self.index.backends.insert(key.clone(), Backend::new(Tracked::new(backend, owner)));
            }
        }
        self.index.backends_by_service.insert(service, key);
    }

    fn lose_backend(&mut self, key: &Key, work: &mut Work) {
        if let Some(backend) = self.index.backends.get_mut(key) {
            backend.gone = true;
            work.released.insert(key.clone());
        }
        self.release_backends(work);
    }

    fn take_slice(&mut self, slice: Arc<GatewayEndpointSlice>, work: &mut Work) {
        let key = Key::of(&slice.metadata);
        self.index.lingering_slices.remove(&key);
        if self.index.slices.get(&key).is_some_and(|known| known.spec == slice.spec) {
            return;
        }
        if !self.index.slices.contains_key(&key) {
            work.arrived_slices.push(key.clone());
        }
        let service = service_of_slice(&key, &slice);
        work.judge(SLICE, &key);
        self.know(&owner_of(&slice.spec.origin), SLICE, &key);
        if let Some(old) = self.index.slices.insert(key.clone(), slice) {
            let old = service_of_slice(&key, &old);
            self.index.slices_by_service.remove(&old, &key);
            work.services.insert(old);
        }
        self.index.slices_by_service.insert(service.clone(), key);
        work.services.insert(service);
    }

    pub(super) fn drop_slice(&mut self, key: &Key, work: &mut Work) {
        if let Some(slice) = self.index.slices.remove(key) {
            let service = service_of_slice(key, &slice);
            self.index.slices_by_service.remove(&service, key);
            self.forget(&owner_of(&slice.spec.origin), SLICE, key);
            work.judge(SLICE, key);
            work.services.insert(service);
        }
    }

    fn take_secret(&mut self, secret: Arc<Secret>, work: &mut Work) {
        let key = Key::of(&secret.metadata);
        let owner = secret_owner(&key, &secret);
        work.secrets.insert(key.clone());
        self.know(&owner, SECRET, &key);
        match self.index.secrets.get_mut(&key) {
            Some(known) => {
                known.gone = false;
                known.tracked.replace(secret, owner);
            }
            None => {
                self.index.secrets.insert(key, Certificate::new(Tracked::new(secret, owner)));
            }
        }
    }

    fn lose_secret(&mut self, key: &Key, work: &mut Work) {
        if self.index.proxies_by_secret.has(key) {
            if let Some(secret) = self.index.secrets.get_mut(key) {
                secret.gone = true;
            }
        } else if let Some(secret) = self.index.secrets.remove(key) {
            self.forget(&secret.tracked.owner, SECRET, key);
            work.judge(SECRET, key);
        }
    }

    fn quarantine(&mut self, uid: &Arc<str>, generation: i64, message: &str, work: &mut Work) {
        let objects: Vec<ObjectRef> = self.index.by_uid.of(uid).cloned().collect();
        for ObjectRef { kind, key } in objects {
            let refused = match kind {
                ROUTE => self.index.routes.get_mut(&key).is_some_and(|it| it.tracked.refuse(generation, message)),
                BACKEND => self.index.backends.get_mut(&key).is_some_and(|it| it.tracked.refuse(generation, message)),
                SECRET => self.index.secrets.get_mut(&key).is_some_and(|it| it.tracked.refuse(generation, message)),
                PROXY => self.index.proxies.get_mut(&key).is_some_and(|it| it.templates.refuse(generation, message)),
                _ => false,
            };
            if !refused {
                continue;
            }
            work.judge(kind, &key);
            match kind {
                ROUTE => work.mark_route(&key, &[]),
                BACKEND => {
                    work.backends.entry(key).or_default();
                }
                SECRET => {
                    work.secrets.insert(key);
                }
                _ => self.templates_changed(&key, work),
            }
        }
    }

    pub(super) fn know(&mut self, owner: &Owner, kind: &'static str, key: &Key) {
        self.index.by_uid.insert(owner.uid.clone(), ObjectRef { kind, key: key.clone() });
    }

    pub(super) fn forget(&mut self, owner: &Owner, kind: &'static str, key: &Key) {
        self.index.by_uid.remove(&owner.uid, &ObjectRef { kind, key: key.clone() });
    }
}

/// UID and generation of the user's object.
pub(super) fn owner_of(origin: &Origin) -> Owner {
    Owner { uid: origin.uid.as_str().into(), generation: origin.generation }
}

/// UID of the user's Service or Backend. Services have no generation, and several backends may have one Service: the
/// backend's own generation, its port and its protocol stand in, so that a quarantine hits the right one and can end.
pub(super) fn backend_owner(backend: &GatewayBackend) -> Owner {
    let generation = backend.metadata.generation.unwrap_or(0);
    let http2 = i64::from(backend.spec.protocol == BackendProtocol::H2c);
    Owner {
        uid: backend.spec.origin.uid.as_str().into(),
        generation: generation.saturating_mul(1 << 17).saturating_add(i64::from(backend.spec.port) << 1 | http2),
    }
}

pub(super) fn service_of(key: &Key, origin: &Origin) -> Service {
    (key.namespace.clone(), origin.cluster.clone(), origin.uid.clone())
}

pub(super) fn service_of_slice(key: &Key, slice: &GatewayEndpointSlice) -> Service {
    (key.namespace.clone(), slice.spec.origin.cluster.clone(), slice.spec.service_uid.clone())
}
