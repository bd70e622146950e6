//! Derived objects as the platform has them: what is there, and what their statuses say.

use std::sync::Arc;

use foregate_api::condition::find;
use foregate_api::gateway::ReferenceGrant;
use foregate_api::gateway::conditions::ACCEPTED;
use foregate_api::{GatewayBackend, GatewayClaim, GatewayEndpointSlice, GatewayRoute};
use k8s_openapi::api::core::v1::Namespace;

use crate::attach::{BackendFeedback, ClaimFeedback};
use crate::backend::Upstream;
use crate::output::{Derived, DerivedKind};
use crate::refs::Dependent;
use crate::world::slim;
use crate::{Attach, Change, Key};

impl Attach {
    pub(crate) fn take_claim_back(&mut self, change: Change<GatewayClaim>) {
        let (name, object) = match change {
            Change::Set(object) if object.spec.origin.cluster != self.settings.cluster => return,
            Change::Set(object) => (Arc::from(object.metadata.name.as_deref().unwrap_or_default()), Some(object)),
            Change::Gone(key) => (key.name, None),
        };
        let new = object.as_deref().map(|claim| {
            let status = claim.status.clone().unwrap_or_default();
            ClaimFeedback { generation: claim.metadata.generation, status }
        });
        let wanted = new.as_ref().map(|new| new.status.wanted_backends.clone()).unwrap_or_default();
        let old = match new {
            Some(new) => self.feedback.claims.insert(name.clone(), new),
            None => self.feedback.claims.remove(&name),
        };
        self.follow_wanted(&name, &old.map(|old| old.status.wanted_backends).unwrap_or_default(), &wanted);
        self.dirty.gateway_statuses.extend(self.feedback.claim_gateways.get(&name).cloned());
        self.book.seen((DerivedKind::Claim, name), object.map(|o| Derived::Claim(slim(o))));
    }

    pub(crate) fn take_route_back(&mut self, change: Change<GatewayRoute>) {
        let (name, object) = match change {
            Change::Set(object) if object.spec.origin.cluster != self.settings.cluster => return,
            Change::Set(object) => (Arc::from(object.metadata.name.as_deref().unwrap_or_default()), Some(object)),
            Change::Gone(key) => (key.name, None),
        };
        let status = object.as_ref().and_then(|o| o.status.clone()).filter(|s| !s.conditions.is_empty());
        if self.feedback.routes.get(&name) != status.as_ref() {
            match status {
                Some(status) => self.feedback.routes.insert(name.clone(), status),
                None => self.feedback.routes.remove(&name),
            };
            self.dirty.routes.extend(self.feedback.route_ids.get(&name).cloned());
        }
        self.book.seen((DerivedKind::Route, name), object.map(|o| Derived::Route(slim(o))));
    }

    pub(crate) fn take_backend_back(&mut self, change: Change<GatewayBackend>) {
        let (name, object) = match change {
            Change::Set(object) if object.spec.origin.cluster != self.settings.cluster => return,
            Change::Set(object) => (Arc::from(object.metadata.name.as_deref().unwrap_or_default()), Some(object)),
            Change::Gone(key) => (key.name, None),
        };
        let refused = object.as_deref().and_then(|backend| {
            let refusal = find(&backend.status.as_ref()?.conditions, ACCEPTED).filter(|c| c.status == "False")?;
            let origin = &backend.spec.origin;
            let key = Key::new(origin.namespace.as_str(), origin.name.as_str());
            let upstream = if origin.kind == "Backend" { Upstream::Backend(key) } else { Upstream::Service(key) };
            Some(BackendFeedback { upstream, message: refusal.message.clone() })
        });
        if self.feedback.backends.get(&name) != refused.as_ref() {
            let old = match refused.clone() {
                Some(refused) => self.feedback.backends.insert(name.clone(), refused),
                None => self.feedback.backends.remove(&name),
            };
            for concerned in old.iter().chain(&refused) {
                self.dirty.routes.extend(self.index.upstream_routes.of(&concerned.upstream).cloned());
            }
        }
        self.book.seen((DerivedKind::Backend, name), object.map(|o| Derived::Backend(slim(o))));
    }

    pub(crate) fn take_slice_back(&mut self, change: Change<GatewayEndpointSlice>) {
        let (name, object) = match change {
            Change::Set(object) if object.spec.origin.cluster != self.settings.cluster => return,
            Change::Set(object) => (Arc::from(object.metadata.name.as_deref().unwrap_or_default()), Some(object)),
            Change::Gone(key) => (key.name, None),
        };
        self.book.seen((DerivedKind::Slice, name), object.map(|o| Derived::Slice(slim(o))));
    }

    pub(crate) fn take_grant(&mut self, change: Change<ReferenceGrant>) {
        let (key, new) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Some(object)),
            Change::Gone(key) => (key, None),
        };
        let old = self.world.grants.set(&key, new.clone());
        for from in old.iter().chain(&new).flat_map(|grant| &grant.spec.from) {
            let pair = (key.namespace.clone(), Arc::from(from.namespace.as_str()));
            for dependent in self.index.grants.of(&pair) {
                match dependent {
                    Dependent::Gateway(gateway) => self.dirty.gateways.insert(gateway.clone()),
                    Dependent::Route(route) => self.dirty.routes.insert(route.clone()),
                };
            }
        }
    }

    pub(crate) fn take_namespace(&mut self, change: Change<Namespace>) {
        let (name, labels) = match change {
            Change::Set(object) => {
                let name: Arc<str> = object.metadata.name.as_deref().unwrap_or_default().into();
                (name, Some(object.metadata.labels.clone().unwrap_or_default()))
            }
            Change::Gone(key) => (key.name, None),
        };
        if self.world.namespaces.get(&name) == labels.as_ref() {
            return;
        }
        match labels {
            Some(labels) => self.world.namespaces.insert(name.clone(), labels),
            None => self.world.namespaces.remove(&name),
        };
        for gateway in &self.index.selectors {
            let concerned = self.index.gateway_routes.of_namespace(gateway, &name);
            self.dirty.routes.extend(concerned.cloned());
        }
    }
}
