//! Routes of every kind: parsed once per version, resolved whenever something that they name changes.
//!
//! What a kind has to say for itself is in a file of its own ([`kind::Route`]); everything else is written once.

mod backend;
mod contention;
mod filter;
mod grpc;
mod http;
mod kind;
mod layer4;
mod matching;
mod parent;
mod parse;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use foregate_api::condition::find;
use foregate_api::gateway::conditions::ACCEPTED;
use foregate_api::gateway::{GATEWAY_GROUP, RouteStatus};
use foregate_api::route::{Attachment, GatewayRouteSpec};
use foregate_api::{GatewayRoute, Origin};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;

use crate::backend::{BackendId, Usage};
use crate::book::metadata;
use crate::output::{Derived, DerivedKind};
use crate::problem::Problem;
use crate::refs::Dependent;
use crate::status::Pending;
use crate::world::{origin, slim, uid};
use crate::{Attach, Change, Key};

use contention::{Seniority, Want};
use kind::Route;
use parent::ParentOutcome;
use parse::Parsed;

pub(crate) use contention::Contention;
pub(crate) use kind::{RouteId, RouteKind};

/// A route, of any kind.
#[derive(Debug)]
pub(crate) struct RouteState {
    object: Arc<dyn Route>,
    kind: RouteKind,
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
    /// Backends that it uses.
    backends: Vec<BackendId>,
    /// The hosts that it wants of each listener.
    wants: Vec<Want>,
    /// As whom it wants them.
    seniority: Option<Seniority>,
}

impl RouteState {
    fn generation(&self) -> i64 {
        self.object.metadata().generation.unwrap_or_default()
    }

    fn origin(&self, cluster: &str) -> Origin {
        origin(cluster, GATEWAY_GROUP, self.kind.as_str(), self.object.metadata())
    }

    /// Gateways of ours that take it, with their controllers.
    pub(crate) fn accepting_gateways(&self) -> impl Iterator<Item = (Key, Arc<str>)> {
        let accepted = self.outcome.parents.iter().filter(|parent| parent.accepted.is_ok());
        accepted.map(|parent| (parent.gateway.clone(), parent.controller.clone()))
    }

    fn seniority(&self, id: &RouteId) -> Seniority {
        let created = self.object.metadata().creation_timestamp.as_ref();
        Seniority { created: created.map_or(i64::MAX, |time| time.0.as_second()), id: id.clone() }
    }
}

impl Attach {
    pub(crate) fn take_route<K: Route + Resource + Clone>(&mut self, kind: RouteKind, change: Change<K>) {
        let object = match change {
            Change::Set(object) => slim(object) as Arc<dyn Route>,
            Change::Gone(key) => return self.remove_route(&RouteId { key, kind }),
        };
        let id = RouteId { key: Key::of(object.metadata()), kind };
        if let Some(state) = self.routes.get_mut(&id) {
            if uid(state.object.metadata()) != uid(object.metadata()) {
                self.remove_route(&id);
            } else if is_same(&*state.object, &*object) {
                state.object = object;
                self.dirty.route_statuses.insert(id);
                return;
            }
        }
        let parsed = parse::parse(&*object, parse::From { kind, namespace: &id.key.namespace });
        let (outcome, pending) = match self.routes.remove(&id) {
            Some(old) => {
                self.index_route(&id, &old.parsed, &parsed);
                (old.outcome, old.pending)
            }
            None => {
                self.index_route(&id, &Parsed::default(), &parsed);
                let name = self.route_name(object.metadata());
                self.feedback.route_ids.insert(name, id.clone());
                (Outcome::default(), Pending::default())
            }
        };
        self.routes.insert(id.clone(), RouteState { object, kind, parsed, outcome, pending });
        self.dirty.routes.insert(id);
    }

    fn remove_route(&mut self, id: &RouteId) {
        let Some(state) = self.routes.remove(id) else { return };
        self.index_route(id, &state.parsed, &Parsed::default());
        self.count(&state.outcome.counted, &[]);
        self.use_backends(id, &state.outcome.backends, &[]);
        self.contend((state.outcome.seniority.as_ref(), &state.outcome.wants), (None, &[]));
        state.parsed.upstreams.iter().for_each(|upstream| self.mark_policies(upstream));
        let name = self.route_name(state.object.metadata());
        self.feedback.route_ids.remove(&name);
        self.book.want((DerivedKind::Route, name), None);
    }

    fn index_route(&mut self, id: &RouteId, old: &Parsed, new: &Parsed) {
        if old.parents != new.parents {
            self.index.gateway_routes.replace(id, &old.parents, &new.parents);
        }
        if old.upstreams != new.upstreams {
            old.upstreams.iter().for_each(|upstream| self.mark_policies(upstream));
            self.index.upstream_routes.replace(id, &old.upstreams, &new.upstreams);
        }
        if old.grants != new.grants {
            self.index.grants.replace(&Dependent::Route(id.clone()), &old.grants, &new.grants);
        }
    }

    fn route_name(&self, metadata: &ObjectMeta) -> Arc<str> {
        format!("{}-{}", self.settings.cluster, uid(metadata)).into()
    }

    pub(crate) fn resolve_route(&mut self, id: &RouteId) {
        let Some(mut state) = self.routes.remove(id) else { return };
        let name = self.route_name(state.object.metadata());
        let seniority = state.seniority(id);
        let parent::Attached { outcomes: parents, attachments, beaten, passed_through, wants } =
            self.attach_to_parents(&seniority, &state);
        let old = (state.outcome.seniority.as_ref(), state.outcome.wants.as_slice());
        self.contend(old, (Some(&seniority), &wants));
        let usage = Usage::of(id.kind, passed_through);
        let resolved =
            if parents.is_empty() { backend::Resolved::default() } else { self.resolve_rules(id, &state, usage) };
        let used = if attachments.is_empty() { Vec::new() } else { resolved.used };
        let counted = if self.refusal(&state, &name).is_some() { Vec::new() } else { counted(&attachments, beaten) };
        if state.outcome.counted != counted {
            self.count(&state.outcome.counted, &counted);
        }
        if state.outcome.backends != used {
            self.use_backends(id, &state.outcome.backends, &used);
        }
        let wanted = (!attachments.is_empty()).then(|| {
            let origin = state.origin(&self.settings.cluster);
            let metadata = metadata(&self.settings.tenant_namespace, &name, &origin);
            let attachments = attachments.into_iter().map(|(_, a)| a).collect();
            let spec = GatewayRouteSpec { origin, protocol: id.kind.protocol(), attachments, rules: resolved.rules };
            Derived::Route(Arc::new(GatewayRoute { metadata, spec, status: None }))
        });
        self.book.want((DerivedKind::Route, name), wanted);
        state.parsed.upstreams.iter().for_each(|upstream| self.mark_policies(upstream));
        let references = crate::problem::join(resolved.problems).err();
        let seniority = Some(seniority);
        state.outcome = Outcome { parents, references, counted, backends: used, wants, seniority };
        self.routes.insert(id.clone(), state);
        self.dirty.route_statuses.insert(id.clone());
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

    /// Keeps what routes want of listeners; marks the younger ones that this makes a difference to.
    fn contend(&mut self, old: (Option<&Seniority>, &[Want]), new: (Option<&Seniority>, &[Want])) {
        if old == new {
            return;
        }
        for (who, wants) in [old, new] {
            let Some(who) = who else { continue };
            let younger = wants.iter().flat_map(|want| self.contention.younger(who, want));
            self.dirty.routes.extend(younger);
        }
        old.0.into_iter().for_each(|who| old.1.iter().for_each(|want| self.contention.remove(who, want)));
        new.0.into_iter().for_each(|who| new.1.iter().for_each(|want| self.contention.add(who, want)));
    }

    /// Keeps the backends that attached routes use.
    fn use_backends(&mut self, id: &RouteId, old: &[BackendId], new: &[BackendId]) {
        self.index.backend_routes.replace(id, old, new);
        let changed: BTreeSet<&BackendId> = old.iter().chain(new).collect();
        changed.into_iter().for_each(|backend| self.follow_use(backend));
    }
}

/// Whether nothing changed that matters but, perhaps, the status.
fn is_same(old: &dyn Route, new: &dyn Route) -> bool {
    old.metadata().generation == new.metadata().generation && old.has_spec_of(new)
}

fn counted(attachments: &[(Key, Attachment)], beaten: Vec<(Key, Arc<str>)>) -> Vec<(Key, Arc<str>)> {
    attachments.iter().map(|(gateway, a)| (gateway.clone(), a.listener.as_str().into())).chain(beaten).collect()
}
