//! HTTPRoutes: parsed once per version, resolved whenever something that they name changes.

mod backend;
mod filter;
mod matching;
mod parent;
mod parse;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use foregate_api::condition::find;
use foregate_api::gateway::conditions::ACCEPTED;
use foregate_api::gateway::{GATEWAY_GROUP, HTTPRoute, RouteStatus};
use foregate_api::route::{Attachment, GatewayRouteSpec};
use foregate_api::{GatewayRoute, Origin};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::book::metadata;
use crate::output::{Derived, DerivedKind};
use crate::problem::Problem;
use crate::refs::Dependent;
use crate::status::Pending;
use crate::world::{origin, slim, uid};
use crate::{Attach, Change, Key};

use parent::ParentOutcome;
use parse::Parsed;

/// An HTTPRoute.
#[derive(Debug)]
pub(crate) struct RouteState {
    object: Arc<HTTPRoute>,
    parsed: Parsed,
    outcome: Outcome,
    pending: Pending<RouteStatus>,
}

/// What became of a route.
#[derive(Debug, Default)]
struct Outcome {
    parents: Vec<ParentOutcome>,
    references: Option<Problem>,
    /// Listeners that count it.
    counted: Vec<(Key, Arc<str>)>,
    /// Service ports that it uses.
    backends: Vec<(Key, u16)>,
}

impl RouteState {
    fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or_default()
    }

    fn origin(&self, cluster: &str) -> Origin {
        origin(cluster, GATEWAY_GROUP, "HTTPRoute", &self.object.metadata)
    }
}

impl Attach {
    pub(crate) fn take_route(&mut self, change: Change<HTTPRoute>) {
        let object = match change {
            Change::Set(object) => slim(object),
            Change::Gone(key) => return self.remove_route(&key),
        };
        let key = Key::of(&object.metadata);
        if let Some(state) = self.routes.get_mut(&key) {
            if uid(&state.object.metadata) != uid(&object.metadata) {
                self.remove_route(&key);
            } else if is_same(&state.object, &object) {
                state.object = object;
                self.dirty.route_statuses.insert(key);
                return;
            }
        }
        let parsed = parse::parse(&object, &key.namespace);
        let (outcome, pending) = match self.routes.remove(&key) {
            Some(old) => {
                self.index_route(&key, &old.parsed, &parsed);
                (old.outcome, old.pending)
            }
            None => {
                self.index_route(&key, &Parsed::default(), &parsed);
                let name = self.route_name(&object);
                self.feedback.route_keys.insert(name, key.clone());
                (Outcome::default(), Pending::default())
            }
        };
        self.routes.insert(key.clone(), RouteState { object, parsed, outcome, pending });
        self.dirty.routes.insert(key);
    }

    fn remove_route(&mut self, key: &Key) {
        let Some(state) = self.routes.remove(key) else { return };
        self.index_route(key, &state.parsed, &Parsed::default());
        self.count(&state.outcome.counted, &[]);
        self.use_backends(key, &state.outcome.backends, &[]);
        let name = self.route_name(&state.object);
        self.feedback.route_keys.remove(&name);
        self.book.want((DerivedKind::Route, name), None);
    }

    fn index_route(&mut self, key: &Key, old: &Parsed, new: &Parsed) {
        if old.parents != new.parents {
            self.index.gateway_routes.replace(key, &old.parents, &new.parents);
        }
        if old.services != new.services {
            self.index.service_routes.replace(key, &old.services, &new.services);
        }
        if old.grants != new.grants {
            self.index.grants.replace(&Dependent::Route(key.clone()), &old.grants, &new.grants);
        }
    }

    fn route_name(&self, object: &HTTPRoute) -> Arc<str> {
        format!("{}-{}", self.settings.cluster, uid(&object.metadata)).into()
    }

    pub(crate) fn resolve_route(&mut self, key: &Key) {
        let Some(mut state) = self.routes.remove(key) else { return };
        let name = self.route_name(&state.object);
        let (parents, attachments) = self.attach_to_parents(key, &state);
        let resolved = if parents.is_empty() { backend::Resolved::default() } else { self.resolve_rules(key, &state) };
        let used = if attachments.is_empty() { Vec::new() } else { resolved.used };
        let counted = if self.refusal(&state, &name).is_some() { Vec::new() } else { counted(&attachments) };
        if state.outcome.counted != counted {
            self.count(&state.outcome.counted, &counted);
        }
        if state.outcome.backends != used {
            self.use_backends(key, &state.outcome.backends, &used);
        }
        let wanted = (!attachments.is_empty()).then(|| {
            let origin = state.origin(&self.settings.cluster);
            let metadata = metadata(&self.settings.tenant_namespace, &name, &origin);
            let attachments = attachments.into_iter().map(|(_, a)| a).collect();
            let spec = GatewayRouteSpec { origin, attachments, rules: resolved.rules };
            Derived::Route(Arc::new(GatewayRoute { metadata, spec, status: None }))
        });
        self.book.want((DerivedKind::Route, name), wanted);
        let references = crate::problem::join(resolved.problems).err();
        state.outcome = Outcome { parents, references, counted, backends: used };
        self.routes.insert(key.clone(), state);
        self.dirty.route_statuses.insert(key.clone());
    }

    /// What the platform has against this generation of a route: its translation or an engine refused it.
    fn refusal(&self, state: &RouteState, name: &str) -> Option<&Condition> {
        let status = self.feedback.routes.get(name)?;
        let current = status.origin_generation == state.generation();
        find(&status.conditions, ACCEPTED).filter(|c| current && c.status == "False")
    }

    /// Keeps the listeners' numbers of attached routes.
    fn count(&mut self, old: &[(Key, Arc<str>)], new: &[(Key, Arc<str>)]) {
        for (entries, step) in [(old, -1), (new, 1)] {
            for (gateway, listener) in entries {
                let listeners = self.attached.entry(gateway.clone()).or_default();
                let count = listeners.entry(listener.clone()).or_default();
                *count += step;
                if *count == 0 {
                    listeners.remove(listener);
                }
                if listeners.is_empty() {
                    self.attached.remove(gateway);
                }
                self.dirty.gateway_statuses.insert(gateway.clone());
            }
        }
    }

    /// Keeps the backends that attached routes use.
    fn use_backends(&mut self, key: &Key, old: &[(Key, u16)], new: &[(Key, u16)]) {
        self.index.backend_routes.replace(key, old, new);
        let changed: BTreeSet<&(Key, u16)> = old.iter().chain(new).collect();
        for backend in changed {
            let (service, port) = backend;
            let before = self.index.service_ports.has(service);
            if self.index.backend_routes.has(backend) {
                self.index.service_ports.add(service, *port);
            } else {
                self.index.service_ports.remove(service, port);
            }
            if before != self.index.service_ports.has(service) {
                self.dirty.slices.extend(self.index.service_slices.of(service).cloned());
            }
            self.dirty.backends.insert(backend.clone());
        }
    }
}

/// Whether nothing changed that matters but, perhaps, the status.
fn is_same(old: &HTTPRoute, new: &HTTPRoute) -> bool {
    old.metadata.generation == new.metadata.generation && old.spec == new.spec
}

fn counted(attachments: &[(Key, Attachment)]) -> Vec<(Key, Arc<str>)> {
    attachments.iter().map(|(gateway, a)| (gateway.clone(), a.listener.as_str().into())).collect()
}
