//! ListenerSets: more listeners for a Gateway, owned by somebody else.
//!
//! A Gateway and its ListenerSets are one group: they are looked at together, in the order of precedence, so that
//! conflicts are decided here and the platform gets listeners that fit together.

use std::collections::BTreeSet;
use std::sync::Arc;

use foregate_api::claim::ClaimInfrastructure;
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{
    AllowedListeners, FromNamespaces, GATEWAY_GROUP, Listener, ListenerSet, ListenerSetSpec, ListenerSetStatus,
};

use super::ParentId;
use super::certificate::{self, Certificate};
use super::conflict::{Overlaps, Taken};
use super::filters;
use super::frontend::Frontend;
use super::listener::{self, ListenerVerdict, Verdict};
use super::view::{self, ParentView};
use crate::backend::{BackendId, Upstream};
use crate::class::Placement;
use crate::problem::Problem;
use crate::refs::Dependent;
use crate::status::Pending;
use crate::world::{slim, uid};
use crate::{Attach, Change, Key, selector, telemetry};

/// A ListenerSet, of any Gateway.
#[derive(Debug)]
pub(crate) struct ListenerSetState {
    pub(super) object: Arc<ListenerSet>,
    named: Named,
    /// What routes see; none: its Gateway isn't ours.
    pub(super) view: Option<Arc<ParentView>>,
    pub(super) verdict: Option<Verdict>,
    /// What the verdict was made with.
    basis: Option<Arc<Basis>>,
    /// Whether the listeners have to be judged again.
    is_stale: bool,
    used: Vec<Key>,
    /// Backends that its claim names.
    backends: Vec<BackendId>,
    pub(super) pending: Pending<ListenerSetStatus>,
}

/// What a ListenerSet's spec names.
#[derive(Debug, Default, PartialEq)]
struct Named {
    gateway: Option<Key>,
    secrets: Vec<Key>,
    upstreams: Vec<Upstream>,
    grants: Vec<(Arc<str>, Arc<str>)>,
    selects: bool,
}

/// What ListenerSets have from their Gateway.
#[derive(Debug, PartialEq)]
pub(super) struct Basis {
    pub gateway: Key,
    pub controller: Arc<str>,
    pub accepted: Result<(), Problem>,
    pub allowed: Option<AllowedListeners>,
    pub frontend: Frontend,
    /// Where its claim is; of no meaning while it isn't accepted.
    pub placement: Placement,
    /// Name of the Gateway's claim.
    pub claim: Arc<str>,
    /// Claims with this key share a gateway.
    pub sharing_key: Arc<str>,
    pub addresses: Vec<String>,
    pub client_certificate: Option<Certificate>,
    pub infrastructure: Option<ClaimInfrastructure>,
    pub telemetry: telemetry::Resolved,
}

/// The Gateway that a ListenerSet names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parent<'a> {
    Missing,
    /// Of another controller.
    Foreign,
    Ours(&'a Arc<Basis>),
}

impl ListenerSetState {
    fn new(object: Arc<ListenerSet>) -> Self {
        Self {
            object,
            named: Named::default(),
            view: None,
            verdict: None,
            basis: None,
            is_stale: true,
            used: Vec::new(),
            backends: Vec::new(),
            pending: Pending::default(),
        }
    }

    /// The Gateway that it names.
    pub fn gateway(&self) -> Option<&Key> {
        self.named.gateway.as_ref()
    }
}

impl Basis {
    /// What routes see of an object with these listeners.
    pub fn view(&self, claim: &Arc<str>, listeners: &[Listener], verdict: &Verdict) -> ParentView {
        ParentView {
            controller: self.controller.clone(),
            target: self.placement.target,
            claim: verdict.accepted.is_ok().then(|| claim.clone()),
            listeners: view::listeners(listeners, &verdict.listeners),
        }
    }
}

impl Named {
    fn of(own: &Key, spec: &ListenerSetSpec) -> Self {
        let namespace = &own.namespace;
        let secrets: Vec<Key> = spec.listeners.iter().flat_map(|l| certificate::secrets(l, namespace)).collect();
        let upstreams = filters::upstreams(&spec.listeners, namespace);
        let named = secrets.iter().chain(upstreams.iter().map(Upstream::key));
        let others: BTreeSet<_> = named.map(|key| key.namespace.clone()).filter(|n| n != namespace).collect();
        let parent = &spec.parent_ref;
        let is_gateway = parent.group.as_deref().unwrap_or(GATEWAY_GROUP) == GATEWAY_GROUP
            && parent.kind.as_deref().unwrap_or("Gateway") == "Gateway";
        let gateway = || Key::new(parent.namespace.as_deref().unwrap_or(namespace), parent.name.as_str());
        Self {
            gateway: is_gateway.then(gateway),
            secrets,
            upstreams,
            grants: others.into_iter().map(|other| (other, namespace.clone())).collect(),
            selects: spec.listeners.iter().any(view::selects),
        }
    }
}

impl Attach {
    pub(crate) fn take_listener_set(&mut self, change: Change<ListenerSet>) {
        let object = match change {
            Change::Set(object) => slim(object),
            Change::Gone(key) => return self.remove_listener_set(&key),
        };
        let key = Key::of(&object.metadata);
        if self.listener_sets.get(&key).is_some_and(|old| uid(&old.object.metadata) != uid(&object.metadata)) {
            self.remove_listener_set(&key);
        }
        let mut state = self.listener_sets.remove(&key).unwrap_or_else(|| ListenerSetState::new(object.clone()));
        let old = std::mem::replace(&mut state.object, object);
        if state.is_stale
            || old.spec != state.object.spec
            || old.metadata.generation != state.object.metadata.generation
        {
            let named = Named::of(&key, &state.object.spec);
            self.index_listener_set(&key, &state.named, &named);
            self.dirty.gateways.extend(state.named.gateway.take().into_iter().chain(named.gateway.clone()));
            state.named = named;
            state.is_stale = true;
        }
        self.dirty.listener_set_statuses.insert(key.clone());
        self.listener_sets.insert(key, state);
    }

    fn remove_listener_set(&mut self, key: &Key) {
        let Some(state) = self.listener_sets.remove(key) else { return };
        let id = ParentId::listener_set(key.clone());
        self.index_listener_set(key, &state.named, &Named::default());
        self.want_claim(&id, &state.object.metadata, None);
        self.use_secrets(&id, &state.used, &[]);
        self.use_claim_backends(&id, &state.backends, &[]);
        self.mark_routes_of(&id);
        self.dirty.gateways.extend(state.named.gateway);
    }

    fn index_listener_set(&mut self, key: &Key, old: &Named, new: &Named) {
        let id = ParentId::listener_set(key.clone());
        self.index.gateway_sets.replace(key, &old.gateway, &new.gateway);
        self.index.secret_parents.replace(&id, &old.secrets, &new.secrets);
        self.index.upstream_parents.replace(&id, &old.upstreams, &new.upstreams);
        old.upstreams.iter().chain(&new.upstreams).for_each(|upstream| self.mark_policies(upstream));
        self.index.grants.replace(&Dependent::Parent(id.clone()), &old.grants, &new.grants);
        if new.selects {
            self.index.selectors.insert(id);
        } else {
            self.index.selectors.remove(&id);
        }
    }

    /// Has it looked at again, with its group.
    pub(super) fn mark_listener_set(&mut self, key: &Key) {
        let Some(state) = self.listener_sets.get_mut(key) else { return };
        state.is_stale = true;
        self.dirty.gateways.extend(state.named.gateway.clone());
    }

    /// The ListenerSets that name a Gateway, those of precedence first: by age, then by name.
    pub(super) fn sets_of(&self, gateway: &Key) -> Vec<Key> {
        let mut sets: Vec<&Key> = self.index.gateway_sets.of(gateway).collect();
        let age = |key: &&Key| {
            let created = self.listener_sets.get(*key).and_then(|set| set.object.metadata.creation_timestamp.as_ref());
            created.map_or(i64::MAX, |time| time.0.as_second())
        };
        // The index has them by name.
        sets.sort_by_cached_key(age);
        sets.into_iter().cloned().collect()
    }

    /// Looks at a ListenerSet in its group. Returns whether it is attached.
    pub(super) fn evaluate_listener_set(&mut self, key: &Key, parent: Parent<'_>, taken: &mut Taken) -> bool {
        let Some(mut state) = self.listener_sets.remove(key) else { return false };
        let changed = match parent {
            Parent::Ours(basis) => self.judge_set(key, &mut state, basis, taken),
            Parent::Foreign => state.verdict.take().is_some(),
            Parent::Missing => lose_parent(&mut state),
        };
        let basis = match parent {
            Parent::Ours(basis) => Some(basis),
            _ => None,
        };
        let attached = basis.is_some() && state.verdict.as_ref().is_some_and(|v| v.accepted.is_ok());
        if changed || state.basis.as_ref() != basis {
            self.follow_set(key, &mut state, basis.filter(|_| attached));
            let view = basis.zip(state.verdict.as_ref());
            let view = view.map(|(basis, verdict)| {
                let claim = self.claim_name(basis.placement.target, &state.object.metadata);
                Arc::new(basis.view(&claim, &state.object.spec.listeners, verdict))
            });
            if state.view != view {
                self.mark_routes_of(&ParentId::listener_set(key.clone()));
                state.view = view;
                state.named.upstreams.iter().for_each(|upstream| self.mark_policies(upstream));
            }
        }
        state.basis = basis.cloned();
        state.is_stale = false;
        self.listener_sets.insert(key.clone(), state);
        attached
    }

    /// Judges what has to be, and finds the conflicts. Returns whether anything changed.
    fn judge_set(&self, key: &Key, state: &mut ListenerSetState, basis: &Basis, taken: &mut Taken) -> bool {
        let old = state.verdict.take();
        if !self.lets_in_set(basis, key) {
            let message = format!(
                "Gateway {} takes no ListenerSets of namespace {}; see its spec.allowedListeners",
                basis.gateway, key.namespace
            );
            let accepted = Err(Problem::new(reason::NOT_ALLOWED, message));
            let changed = old.is_none_or(|old| old.accepted != accepted);
            state.verdict = Some(Verdict { accepted, listeners: Vec::new() });
            return changed || state.is_stale;
        }
        let known = state.basis.as_ref().is_some_and(|old| old.frontend == basis.frontend) && !state.is_stale;
        let spec = &state.object.spec;
        let (before, mut listeners) = match old {
            Some(old) if known && old.listeners.len() == spec.listeners.len() => (Some(old.accepted), old.listeners),
            _ => {
                let id = ParentId::listener_set(key.clone());
                let judged = spec.listeners.iter().map(|l| listener::judge(&self.world, &id, &basis.frontend, l));
                (None, judged.collect())
            }
        };
        let moved = taken.place(&mut listeners);
        let id = ParentId::listener_set(key.clone());
        let resolved = self.resolve_listeners_filters(&id, basis.placement.target, &mut listeners);
        let accepted = accepted(basis, &listeners);
        let changed = moved || resolved || before.as_ref() != Some(&accepted);
        state.verdict = Some(Verdict { accepted, listeners });
        changed
    }

    /// Tells the ListenerSets of a Gateway which of their listeners overlap with others of the group.
    pub(super) fn mark_overlaps_of_sets(&mut self, gateway: &Key, overlaps: &Overlaps) {
        for key in self.index.gateway_sets.of(gateway) {
            let verdict = self.listener_sets.get_mut(key).and_then(|set| set.verdict.as_mut());
            if verdict.is_some_and(|verdict| overlaps.mark(&mut verdict.listeners)) {
                self.dirty.listener_set_statuses.insert(key.clone());
            }
        }
    }

    fn lets_in_set(&self, basis: &Basis, set: &Key) -> bool {
        let Some(namespaces) = basis.allowed.as_ref().and_then(|allowed| allowed.namespaces.as_ref()) else {
            return false;
        };
        match namespaces.from.unwrap_or(FromNamespaces::None) {
            FromNamespaces::All => true,
            FromNamespaces::Same => basis.gateway.namespace == set.namespace,
            FromNamespaces::Selector => namespaces.selector.as_ref().is_some_and(|selected| {
                self.world.namespaces.get(&set.namespace).is_some_and(|labels| selector::matches(selected, labels))
            }),
            FromNamespaces::None | FromNamespaces::Unknown => false,
        }
    }

    /// Wants what an attached ListenerSet needs, and nothing for others.
    fn follow_set(&mut self, key: &Key, state: &mut ListenerSetState, basis: Option<&Arc<Basis>>) {
        let verdict = state.verdict.as_ref();
        let mut used = verdict.filter(|_| basis.is_some()).map(Verdict::used_secrets).unwrap_or_default();
        used.extend(basis.and_then(|basis| basis.client_certificate.as_ref()).map(|c| c.secret.clone()));
        let used: Vec<Key> = used.into_iter().collect();
        let id = ParentId::listener_set(key.clone());
        self.want_claim(&id, &state.object.metadata, verdict.zip(basis.map(|basis| &**basis)));
        self.use_secrets(&id, &state.used, &used);
        state.used = used;
        let verdict = state.verdict.as_ref().filter(|_| basis.is_some());
        let backends = verdict.map(Verdict::used_backends).unwrap_or_default();
        self.use_claim_backends(&id, &state.backends, &backends);
        state.backends = backends;
        self.dirty.listener_set_statuses.insert(key.clone());
    }
}

/// Its Gateway is gone; one that never was ours is nothing to us. Returns whether anything changed.
fn lose_parent(state: &mut ListenerSetState) -> bool {
    let Some(basis) = &state.basis else { return false };
    let problem = Problem::new(reason::PARENT_NOT_ACCEPTED, format!("Gateway {} doesn't exist", basis.gateway));
    state.verdict = Some(Verdict { accepted: Err(problem), listeners: Vec::new() });
    true
}

fn accepted(basis: &Basis, listeners: &[ListenerVerdict]) -> Result<(), Problem> {
    if basis.accepted.is_err() {
        let message = format!("Gateway {} isn't accepted; see its conditions", basis.gateway);
        return Err(Problem::new(reason::PARENT_NOT_ACCEPTED, message));
    }
    if listeners.iter().any(ListenerVerdict::is_served) {
        return Ok(());
    }
    Err(Problem::new(reason::LISTENERS_NOT_VALID, "none of its listeners can be served; see their conditions"))
}
