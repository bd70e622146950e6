//! Derived objects as the platform has them: what is there, and what their statuses say.

use std::sync::Arc;

use foregate_api::condition::find;
use foregate_api::gateway::ReferenceGrant;
use foregate_api::gateway::conditions::ACCEPTED;
use foregate_api::{GatewayBackend, GatewayClaim, GatewayEndpointSlice, GatewayRoute};
use k8s_openapi::api::core::v1::Namespace;

use crate::backend::Upstream;
use crate::gateway::ParentId;
use crate::output::{Derived, DerivedKind};
use crate::refs::Dependent;
use crate::route::RouteId;
use crate::target::{BackendFeedback, ClaimFeedback, Health, TargetEvent, TargetId};
use crate::world::slim;
use crate::{Attach, Change, Key};

impl Attach {
    pub(crate) fn take_target(&mut self, id: TargetId, event: TargetEvent) {
        match event {
            TargetEvent::Listed => {
                self.targets.open(id);
                self.mark_statuses_at(id);
            }
            TargetEvent::Checked(health) => {
                let target = self.targets.get_mut(id);
                let is_back = matches!(target.health, Some(Health::Away(_) | Health::Refused(_) | Health::Disowned(_)));
                if is_back && matches!(health, Health::Good { .. }) {
                    target.book.doubt();
                }
                // Gateways repeat why nothing new is heard of them.
                let is_good = |health: &Health| matches!(health, Health::Good { .. });
                let concerns_gateways = !(target.health.as_ref().is_some_and(is_good) && is_good(&health));
                target.health = Some(health);
                self.mark_classes_at(id);
                if concerns_gateways {
                    self.mark_statuses_at(id);
                }
            }
            TargetEvent::Renewal(stale) => {
                self.targets.get_mut(id).stale = stale;
                self.mark_classes_at(id);
            }
        }
    }

    /// Has the statuses of the classes that lead to a target made again.
    fn mark_classes_at(&mut self, id: TargetId) {
        let concerned = self.classes.iter().filter(|(_, class)| class.target() == Some(id));
        self.dirty.class_statuses.extend(concerned.map(|(name, _)| name.clone()));
    }

    /// Has the statuses of all that has its claim at a target made again.
    fn mark_statuses_at(&mut self, id: TargetId) {
        let there = self.claim_targets.iter().filter(|(_, target)| **target == id);
        let parents: Vec<ParentId> = there.map(|(parent, _)| parent.clone()).collect();
        parents.iter().for_each(|parent| self.mark_parent_status(parent));
    }

    pub(crate) fn take_claim_back(&mut self, target: TargetId, change: Change<GatewayClaim>) {
        let id = target;
        let target = self.targets.get_mut(id);
        let (name, object) = match change {
            Change::Set(object) if object.spec.origin.cluster != target.cluster => return,
            Change::Set(object) => (Arc::from(object.metadata.name.as_deref().unwrap_or_default()), Some(object)),
            Change::Gone(key) => (key.name, None),
        };
        let new = object.as_deref().map(|claim| {
            let status = claim.status.clone().unwrap_or_default();
            ClaimFeedback { generation: claim.metadata.generation, status }
        });
        let wanted = new.as_ref().map(|new| new.status.wanted_backends.clone()).unwrap_or_default();
        let old = match new {
            Some(new) => target.feedback.claims.insert(name.clone(), new),
            None => target.feedback.claims.remove(&name),
        };
        self.follow_wanted(id, &name, &old.map(|old| old.status.wanted_backends).unwrap_or_default(), &wanted);
        let target = self.targets.get_mut(id);
        let parent = target.feedback.claim_parents.get(&name).cloned();
        target.book.seen((DerivedKind::Claim, name), object.map(|o| Derived::Claim(slim(o))));
        if let Some(parent) = parent {
            self.mark_parent_status(&parent);
        }
    }

    pub(crate) fn take_route_back(&mut self, target: TargetId, change: Change<GatewayRoute>) {
        let id = target;
        let target = self.targets.get_mut(id);
        let (name, object) = match change {
            Change::Set(object) if object.spec.origin.cluster != target.cluster => return,
            Change::Set(object) => (Arc::from(object.metadata.name.as_deref().unwrap_or_default()), Some(object)),
            Change::Gone(key) => (key.name, None),
        };
        let status = object.as_ref().and_then(|o| o.status.clone()).filter(|s| !s.conditions.is_empty());
        if target.feedback.routes.get(&name) != status.as_ref() {
            match status {
                Some(status) => target.feedback.routes.insert(name.clone(), status),
                None => target.feedback.routes.remove(&name),
            };
            self.dirty.routes.extend(target.feedback.route_ids.get(&name).cloned());
        }
        target.book.seen((DerivedKind::Route, name), object.map(|o| Derived::Route(slim(o))));
    }

    pub(crate) fn take_backend_back(&mut self, target: TargetId, change: Change<GatewayBackend>) {
        let id = target;
        let target = self.targets.get_mut(id);
        let (name, object) = match change {
            Change::Set(object) if object.spec.origin.cluster != target.cluster => return,
            Change::Set(object) => (Arc::from(object.metadata.name.as_deref().unwrap_or_default()), Some(object)),
            Change::Gone(key) => (key.name, None),
        };
        let refused = object.as_deref().and_then(|backend| {
            let refusal = find(&backend.status.as_ref()?.conditions, ACCEPTED).filter(|c| c.status == "False")?;
            let origin = &backend.spec.origin;
            let key = Key::new(origin.namespace.as_str(), origin.name.as_str());
            let upstream = Upstream::of(&origin.group, &origin.kind, key)?;
            Some(BackendFeedback { upstream, message: refusal.message.clone() })
        });
        if target.feedback.backends.get(&name) != refused.as_ref() {
            let old = match refused.clone() {
                Some(refused) => target.feedback.backends.insert(name.clone(), refused),
                None => target.feedback.backends.remove(&name),
            };
            for concerned in old.iter().chain(&refused) {
                self.mark_users(&concerned.upstream);
            }
        }
        let seen = object.map(|o| Derived::Backend(slim(o)));
        self.targets.get_mut(id).book.seen((DerivedKind::Backend, name), seen);
    }

    pub(crate) fn take_slice_back(&mut self, target: TargetId, change: Change<GatewayEndpointSlice>) {
        let id = target;
        let target = self.targets.get_mut(id);
        let (name, object) = match change {
            Change::Set(object) if object.spec.origin.cluster != target.cluster => return,
            Change::Set(object) => (Arc::from(object.metadata.name.as_deref().unwrap_or_default()), Some(object)),
            Change::Gone(key) => (key.name, None),
        };
        target.book.seen((DerivedKind::Slice, name), object.map(|o| Derived::Slice(slim(o))));
    }

    pub(crate) fn take_grant(&mut self, change: Change<ReferenceGrant>) {
        let (key, new) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Some(object)),
            Change::Gone(key) => (key, None),
        };
        let old = self.world.grants.set(&key, new.clone());
        let (mut parents, mut policies) = (Vec::new(), Vec::new());
        for from in old.iter().chain(&new).flat_map(|grant| &grant.spec.from) {
            let pair = (key.namespace.clone(), Arc::from(from.namespace.as_str()));
            for dependent in self.index.grants.of(&pair) {
                match dependent {
                    Dependent::Class(class) => {
                        self.dirty.classes.insert(class.clone());
                    }
                    Dependent::Parent(parent) => parents.push(parent.clone()),
                    Dependent::Route(route) => {
                        self.dirty.routes.insert(route.clone());
                    }
                    Dependent::Telemetry(policy) => policies.push(policy.clone()),
                }
            }
        }
        parents.iter().for_each(|parent| self.mark_parent(parent));
        policies.iter().for_each(|policy| self.mark_telemetry(policy));
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
        for parent in &self.index.selectors {
            let concerned = self.index.parent_routes.of_namespace(parent, &name);
            self.dirty.routes.extend(concerned.cloned());
        }
        if !self.index.selectors.is_empty() {
            let first = RouteId::first_of(&name);
            let concerned = self.index.default_routes.range(first..).take_while(|route| route.key.namespace == name);
            self.dirty.routes.extend(concerned.cloned());
        }
        for gateway in &self.index.set_selectors {
            if self.index.gateway_sets.of(gateway).any(|set| set.namespace == name) {
                self.dirty.gateways.insert(gateway.clone());
            }
        }
    }
}
