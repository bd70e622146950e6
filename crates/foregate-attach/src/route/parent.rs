//! Parents: which listeners take a route.

use std::sync::Arc;

use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{GATEWAY_GROUP, ParentReference};
use foregate_api::route::Attachment;

use super::RouteState;
use super::contention::{Place, Seniority, Want};
use crate::gateway::{ListenerView, Namespaces, ParentId, ParentView};
use crate::problem::Problem;
use crate::{Attach, Key, hostname, selector};

/// What became of one `parentRef` that names a Gateway or ListenerSet of ours.
#[derive(Debug)]
pub(crate) struct ParentOutcome {
    pub reference: ParentReference,
    pub parent: ParentId,
    /// The parent, or the Gateway of a ListenerSet.
    pub gateway: Key,
    pub controller: Arc<str>,
    /// Or what there is to say though it is accepted; mostly nothing.
    pub accepted: Result<String, Problem>,
}

/// What became of all parents.
#[derive(Default)]
pub(super) struct Attached {
    /// One per parent of ours.
    pub outcomes: Vec<ParentOutcome>,
    /// Each listener that takes the route once, with its parent.
    pub attachments: Vec<(ParentId, Attachment)>,
    /// Listeners that take it, and that an older route has alone.
    pub beaten: Vec<Place>,
    /// The hosts that it wants of listeners.
    pub wants: Vec<Want>,
}

impl Attach {
    pub(super) fn attach_to_parents(&self, who: &Seniority, state: &RouteState) -> Attached {
        let mut attached = Attached::default();
        let key = &who.id.key;
        let named = state.object.parent_refs().iter().cloned();
        for reference in named.chain(self.default_parents(key, state)) {
            let reference = &reference;
            let Some(parent) = ParentId::of(reference, &key.namespace) else { continue };
            let Some((view, gateway)) = self.parent_view(&parent).zip(self.gateway_of(&parent)) else { continue };
            let taken = match state.parsed.refusal() {
                Some(problem) => self.taken(key, state, reference, &parent, view).and(Err(problem.clone())),
                None => self.taken(key, state, reference, &parent, view),
            };
            let accepted = taken.and_then(|taken| self.contest(who, &parent, taken, &mut attached));
            let controller = view.controller.clone();
            let reference = reference.clone();
            attached.outcomes.push(ParentOutcome { reference, parent, gateway, controller, accepted });
        }
        attached
    }

    /// The default Gateways that a route asks for and doesn't name (GEP-3793).
    fn default_parents(&self, key: &Key, state: &RouteState) -> Vec<ParentReference> {
        if !state.object.wants_defaults() {
            return Vec::new();
        }
        let is_named = |gateway: &Key| {
            let mut parents = state.object.parent_refs().iter().filter_map(|p| ParentId::of(p, &key.namespace));
            parents.any(|parent| parent == ParentId::gateway(gateway.clone()))
        };
        let others = self.index.default_gateways.iter().filter(|gateway| !is_named(gateway));
        others
            .map(|gateway| ParentReference {
                group: Some(GATEWAY_GROUP.to_owned()),
                kind: Some("Gateway".to_owned()),
                namespace: Some(gateway.namespace.to_string()),
                name: gateway.name.to_string(),
                ..ParentReference::default()
            })
            .collect()
    }

    /// Whether a listener passes TLS through.
    pub(super) fn passes_through(&self, parent: &ParentId, listener: &str) -> bool {
        let listeners = self.parent_view(parent).map(|view| &view.listeners);
        listeners.into_iter().flatten().any(|l| *l.name == *listener && l.passes_through)
    }

    /// Attaches the route where no older rival has a host name of it, or the listener.
    fn contest(
        &self,
        who: &Seniority,
        parent: &ParentId,
        taken: Vec<Attachment>,
        attached: &mut Attached,
    ) -> Result<String, Problem> {
        let (mut lost, mut any) = (None, taken.is_empty());
        for attachment in taken {
            let place: Place = (parent.clone(), attachment.listener.as_str().into());
            let mut hosts: Vec<Arc<str>> = attachment.hostnames.iter().map(|h| h.effective.as_str().into()).collect();
            hosts.sort();
            hosts.dedup();
            let winner = self.contention.winner(who, &place, &hosts);
            any |= winner.is_none();
            if !attached.wants.iter().any(|want| want.place == place) {
                if winner.is_none() {
                    attached.attachments.push((parent.clone(), attachment));
                } else if who.id.kind.is_alone() {
                    attached.beaten.push(place.clone());
                }
                attached.wants.push(Want { place, hosts, has: winner.is_none() });
            }
            lost = lost.or(winner);
        }
        match lost {
            // The standard has it accepted, and counted by the listener, though nothing reaches it.
            Some(winner) if who.id.kind.is_alone() => {
                Ok(format!("{winner} is older and has a listener of {parent} alone; nothing there comes here"))
            }
            Some(winner) if !any => {
                let message = format!(
                    "{winner} is older and has a hostname of this route on the same listener of {parent}: a \
                     hostname takes routes of one kind; use other hostnames"
                );
                Err(Problem::new(reason::HOSTNAME_CONFLICT, message))
            }
            _ => Ok(String::new()),
        }
    }

    /// The listeners of one parent that take the route.
    fn taken(
        &self,
        key: &Key,
        state: &RouteState,
        reference: &ParentReference,
        parent: &ParentId,
        view: &ParentView,
    ) -> Result<Vec<Attachment>, Problem> {
        let is_named = |l: &&ListenerView| {
            reference.section_name.as_deref().is_none_or(|s| s.is_empty() || s == &*l.name)
                && reference.port.is_none_or(|p| p == l.port)
        };
        let mut named = view.listeners.iter().filter(is_named).peekable();
        if named.peek().is_none() {
            let message = format!("{parent} has no listener {}", describe(reference));
            return Err(Problem::new(reason::NO_MATCHING_PARENT, message));
        }
        let mut allowed =
            named.filter(|l| l.kinds.contains(&state.kind) && self.lets_in(l, &parent.key, key)).peekable();
        if allowed.peek().is_none() {
            let message = format!(
                "no listener of {parent} takes {}s of namespace {}; see its allowedRoutes",
                state.kind.as_str(),
                key.namespace
            );
            return Err(Problem::new(reason::NOT_ALLOWED_BY_LISTENERS, message));
        }
        let mut taken = Vec::new();
        let mut has_common_name = false;
        for listener in allowed {
            let hostnames = hostname::intersect(listener.hostname.as_deref(), state.object.hostnames());
            has_common_name |= !hostnames.is_empty();
            // A parent that isn't accepted has no claim to attach to.
            if let Some(claim) = view.claim.as_ref().filter(|_| !hostnames.is_empty()) {
                taken.push(Attachment { claim: claim.to_string(), listener: listener.name.to_string(), hostnames });
            }
        }
        if has_common_name {
            return Ok(taken);
        }
        let message = format!("spec.hostnames: none matches the hostname of a listener of {parent}");
        Err(Problem::new(reason::NO_MATCHING_LISTENER_HOSTNAME, message))
    }

    fn lets_in(&self, listener: &ListenerView, parent: &Key, route: &Key) -> bool {
        match &listener.namespaces {
            Namespaces::All => true,
            Namespaces::Own => parent.namespace == route.namespace,
            Namespaces::Selected(selected) => {
                self.world.namespaces.get(&route.namespace).is_some_and(|labels| selector::matches(selected, labels))
            }
            Namespaces::None => false,
        }
    }
}

fn describe(reference: &ParentReference) -> String {
    match (&reference.section_name, reference.port) {
        (Some(name), Some(port)) => format!("{name:?} of port {port}"),
        (Some(name), None) => format!("{name:?}"),
        (None, Some(port)) => format!("of port {port}"),
        (None, None) => "at all".to_owned(),
    }
}
