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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foregate_api::condition::find;
use foregate_api::gateway::conditions::ACCEPTED;
use foregate_api::gateway::{GATEWAY_GROUP, RouteStatus};
use foregate_api::route::{Attachment, GatewayRouteSpec, RouteRule};
use foregate_api::{GatewayRoute, Origin};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;

use crate::backend::{BackendId, Usage};
use crate::book::metadata;
use crate::gateway::ParentId;
use crate::output::{Derived, DerivedKind};
use crate::problem::Problem;
use crate::refs::Dependent;
use crate::status::Pending;
use crate::target::{TargetId, TargetState};
use crate::world::{origin, slim, uid};
use crate::{Attach, Change, Key};

use contention::{Place, Seniority, Want};
use kind::Route;
use parent::ParentOutcome;
use parse::Parsed;

pub(crate) use contention::Contention;
pub(crate) use kind::{DEFAULT_SCOPE, RouteId, RouteKind};

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
    counted: Vec<Place>,
    /// Backends that it uses.
    backends: Vec<BackendId>,
    /// The hosts that it wants of each listener.
    wants: Vec<Want>,
    /// As whom it wants them.
    seniority: Option<Seniority>,
    /// What is derived from it.
    forms: Vec<Form>,
}

/// One of the GatewayRoutes of a route: there is one per target, and a second one for listeners that pass TLS through
/// where others end it: policies put TLS around what the latter send only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    target: TargetId,
    is_second: bool,
}

impl Form {
    /// Its name.
    fn name(self, target: &TargetState, uid: &str) -> Arc<str> {
        let name = target.name(uid);
        if self.is_second { format!("{name}{PASSED_THROUGH}").into() } else { name }
    }
}

type Places = BTreeMap<(TargetId, bool), Vec<Attachment>>;

/// The end of the second form's name.
const PASSED_THROUGH: &str = "-passthrough";

/// What a route is at one target.
struct Wanted {
    attachments: Vec<Attachment>,
    rules: Vec<RouteRule>,
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
        if object.wants_defaults() {
            self.index.default_routes.insert(id.clone());
        } else {
            self.index.default_routes.remove(&id);
        }
        let parsed = parse::parse(&*object, parse::From { kind, namespace: &id.key.namespace });
        let (outcome, pending) = match self.routes.remove(&id) {
            Some(old) => {
                self.index_route(&id, &old.parsed, &parsed);
                (old.outcome, old.pending)
            }
            None => {
                self.index_route(&id, &Parsed::default(), &parsed);
                (Outcome::default(), Pending::default())
            }
        };
        self.routes.insert(id.clone(), RouteState { object, kind, parsed, outcome, pending });
        self.dirty.routes.insert(id);
    }

    fn remove_route(&mut self, id: &RouteId) {
        let Some(state) = self.routes.remove(id) else { return };
        self.index_route(id, &state.parsed, &Parsed::default());
        self.index.default_routes.remove(id);
        self.count(&state.outcome.counted, &[]);
        self.use_backends(id, &state.outcome.backends, &[]);
        self.contend((state.outcome.seniority.as_ref(), &state.outcome.wants), (None, &[]));
        state.parsed.upstreams.iter().for_each(|upstream| self.mark_policies(upstream));
        state.outcome.forms.iter().for_each(|&form| self.want_route(&state, id, form, None));
    }

    /// Wants a form of a route, or none.
    fn want_route(&mut self, state: &RouteState, id: &RouteId, form: Form, wanted: Option<Wanted>) {
        let target = self.targets.get_mut(form.target);
        let name = form.name(target, &uid(state.object.metadata()));
        if wanted.is_some() {
            target.feedback.route_ids.insert(name.clone(), id.clone());
        } else {
            target.feedback.route_ids.remove(&name);
        }
        let wanted = wanted.map(|Wanted { attachments, rules }| {
            let origin = state.origin(&target.cluster);
            let metadata = metadata(&target.namespace, &name, &origin);
            let spec = GatewayRouteSpec { origin, protocol: id.kind.protocol(), attachments, rules };
            Derived::Route(Arc::new(GatewayRoute { metadata, spec, status: None }))
        });
        target.book.want((DerivedKind::Route, name), wanted);
    }

    fn index_route(&mut self, id: &RouteId, old: &Parsed, new: &Parsed) {
        if old.parents != new.parents {
            self.index.parent_routes.replace(id, &old.parents, &new.parents);
        }
        if old.upstreams != new.upstreams {
            old.upstreams.iter().for_each(|upstream| self.mark_policies(upstream));
            self.index.upstream_routes.replace(id, &old.upstreams, &new.upstreams);
        }
        if old.grants != new.grants {
            self.index.grants.replace(&Dependent::Route(id.clone()), &old.grants, &new.grants);
        }
    }

    pub(crate) fn resolve_route(&mut self, id: &RouteId) {
        let Some(mut state) = self.routes.remove(id) else { return };
        let seniority = state.seniority(id);
        let parent::Attached { outcomes: parents, attachments, beaten, wants } =
            self.attach_to_parents(&seniority, &state);
        let old = (state.outcome.seniority.as_ref(), state.outcome.wants.as_slice());
        self.contend(old, (Some(&seniority), &wants));
        let taken = attachments.iter().map(|(parent, a)| (parent.clone(), a.listener.as_str().into()));
        let taken: Vec<Place> = taken.chain(beaten).collect();
        let places = self.places(id, attachments);
        let form = |&(target, passes_through): &(TargetId, bool)| Form {
            target,
            is_second: passes_through && places.contains_key(&(target, false)),
        };
        let forms: Vec<Form> = places.keys().map(form).collect();
        for gone in std::mem::replace(&mut state.outcome.forms, forms.clone()) {
            if !forms.contains(&gone) {
                self.want_route(&state, id, gone, None);
            }
        }
        let counted = self.counted(&state, taken);
        if state.outcome.counted != counted {
            self.count(&state.outcome.counted, &counted);
        }
        // Of what is somebody else's nothing is looked up.
        let resolved = (!parents.is_empty()).then(|| self.want_forms(id, &state, places, &forms));
        let backend::Resolved { used, problems, .. } = resolved.unwrap_or_default();
        if state.outcome.backends != used {
            self.use_backends(id, &state.outcome.backends, &used);
        }
        state.parsed.upstreams.iter().for_each(|upstream| self.mark_policies(upstream));
        let references = crate::problem::join(problems).err();
        let seniority = Some(seniority);
        state.outcome = Outcome { parents, references, counted, backends: used, wants, seniority, forms };
        self.routes.insert(id.clone(), state);
        self.dirty.route_statuses.insert(id.clone());
    }

    /// Wants a route in each of its forms. Says what they use, and what is wrong with any of them.
    fn want_forms(&mut self, id: &RouteId, state: &RouteState, places: Places, forms: &[Form]) -> backend::Resolved {
        if places.is_empty() {
            let usage = Usage::of(id.kind, false);
            return backend::Resolved { used: Vec::new(), ..self.resolve_rules(id, state, TargetId::DEFAULT, usage) };
        }
        let mut all = backend::Resolved::default();
        for (((target, passes_through), attachments), form) in places.into_iter().zip(forms) {
            let resolved = self.resolve_rules(id, state, target, Usage::of(id.kind, passes_through));
            all.used.extend(resolved.used);
            for problem in resolved.problems {
                if !all.problems.contains(&problem) {
                    all.problems.push(problem);
                }
            }
            self.want_route(state, id, *form, Some(Wanted { attachments, rules: resolved.rules }));
        }
        all
    }

    /// Attachments by target, and by whether their listeners pass TLS through.
    fn places(&self, id: &RouteId, attachments: Vec<(ParentId, Attachment)>) -> Places {
        let mut places = Places::new();
        for (parent, attachment) in attachments {
            let passes_through = id.kind == RouteKind::Tls && self.passes_through(&parent, &attachment.listener);
            places.entry((self.target_of(&parent), passes_through)).or_default().push(attachment);
        }
        places
    }

    /// The listeners that count a route: those that take it, unless the platform refuses it.
    fn counted(&self, state: &RouteState, taken: Vec<Place>) -> Vec<Place> {
        taken.into_iter().filter(|(parent, _)| self.refusal(state, self.target_of(parent)).is_none()).collect()
    }

    /// What a platform has against this generation of a route: its translation or an engine refused it.
    fn refusal(&self, state: &RouteState, id: TargetId) -> Option<&Condition> {
        let target = self.targets.get(id);
        if target.feedback.routes.is_empty() {
            return None;
        }
        let uid = uid(state.object.metadata());
        let forms = state.outcome.forms.iter().filter(|form| form.target == id);
        let mut statuses = forms.filter_map(|form| target.feedback.routes.get(&form.name(target, &uid)));
        statuses.find_map(|status| {
            let current = status.origin_generation == state.generation();
            find(&status.conditions, ACCEPTED).filter(|c| current && c.status == "False")
        })
    }

    /// Keeps the listeners' numbers of attached routes.
    fn count(&mut self, old: &[Place], new: &[Place]) {
        for (entries, step) in [(old, -1), (new, 1)] {
            for (parent, listener) in entries {
                let listeners = self.attached.entry(parent.clone()).or_default();
                let count = listeners.entry(listener.clone()).or_default();
                *count += step;
                if *count == 0 {
                    listeners.remove(listener);
                }
                if listeners.is_empty() {
                    self.attached.remove(parent);
                }
                self.mark_parent_status(parent);
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
