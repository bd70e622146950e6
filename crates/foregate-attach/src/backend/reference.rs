//! References to backends, whoever has them: routes, and listeners by their filters.

use std::sync::Arc;

use foregate_api::envoy_gateway;
use foregate_api::gateway::BackendTarget;
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::experimental::EXPERIMENTAL_GROUP;

use super::{BackendId, Found, Sending, Upstream};
use crate::gateway::ParentId;
use crate::grants::Reference;
use crate::problem::Problem;
use crate::{Attach, Key};

/// A reference to a backend, and where it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub path: String,
    /// What can be said of it without looking it up: the object, and the port of a Service.
    pub named: Result<(Upstream, u16), Problem>,
}

/// The object that has a reference.
#[derive(Clone, Copy)]
pub(crate) struct Referrer<'a> {
    pub group: &'a str,
    pub kind: &'a str,
    pub namespace: &'a str,
}

impl Target {
    pub fn new(target: BackendTarget<'_>, own: &Arc<str>, path: String) -> Self {
        let namespace = if target.namespace == &**own { own.clone() } else { target.namespace.into() };
        let key = Key { namespace, name: target.name.into() };
        let named = match (Upstream::of(target.group, target.kind, key), target.port) {
            (Some(service @ Upstream::Service(_)), Some(port)) => Ok((service, port)),
            (Some(Upstream::Service(_)), None) => {
                Err(Problem::new(reason::BACKEND_NOT_FOUND, "a Service needs a port").at(&path))
            }
            // They have ports of their own.
            (Some(other), _) => Ok((other, 0)),
            (None, _) => {
                let BackendTarget { group, kind, name, .. } = target;
                let message = format!(
                    "{kind} {name:?} of group {group:?} isn't a Service of the core group, a Backend of {} or an \
                     XBackend of {EXPERIMENTAL_GROUP}",
                    envoy_gateway::GROUP
                );
                Err(Problem::new(reason::INVALID_KIND, message).at(&path))
            }
        };
        Self { path, named }
    }

    /// The object, if it is of a kind that can be a backend.
    pub fn upstream(&self) -> Option<&Upstream> {
        self.named.as_ref().ok().map(|(upstream, _)| upstream)
    }
}

impl Attach {
    /// Where a reference leads.
    pub(crate) fn find_backend(&self, from: Referrer<'_>, target: &Target, to: Sending) -> Result<Found, Problem> {
        let (upstream, port) = target.named.clone()?;
        let permitted = self.world.grants.permit(&Reference {
            from_group: from.group,
            from_kind: from.kind,
            from_namespace: from.namespace,
            to_group: upstream.group(),
            to_kind: upstream.kind(),
            to: upstream.key(),
        });
        if !permitted {
            let message = format!(
                "{upstream} is in another namespace, and no ReferenceGrant there lets {}s of {} name it",
                from.kind, from.namespace
            );
            return Err(Problem::new(reason::REF_NOT_PERMITTED, message).at(&target.path));
        }
        let found = match &upstream {
            Upstream::Service(service) => self.find_service(service, port, to),
            Upstream::Backend(backend) => self.find_direct(backend, to),
            Upstream::XBackend(backend) => self.find_xbackend(backend, to),
        };
        found.map_err(|problem| problem.at(&target.path))
    }

    /// What an engine has against a backend that a reference leads to.
    pub(crate) fn backend_refusal(&self, name: Option<&str>, id: &BackendId, path: &str) -> Option<Problem> {
        let refused = self.targets.get(id.target).feedback.backends.get(name?)?;
        Some(Problem::new(reason::UNSUPPORTED_PROTOCOL, format!("{id}: {}", refused.message)).at(path))
    }

    /// Keeps the backends that a Gateway's or ListenerSet's claim names: they are derived as long as it does.
    pub(crate) fn use_claim_backends(&mut self, parent: &ParentId, old: &[BackendId], new: &[BackendId]) {
        if old == new {
            return;
        }
        self.index.backend_parents.replace(parent, old, new);
        let changed: std::collections::BTreeSet<&BackendId> = old.iter().chain(new).collect();
        for id in changed {
            self.follow_use(id);
            self.mark_policies(&id.upstream);
        }
    }

    /// Marks the routes, Gateways and ListenerSets that name an object as a backend.
    pub(crate) fn mark_users(&mut self, upstream: &Upstream) {
        self.dirty.routes.extend(self.index.upstream_routes.of(upstream).cloned());
        let parents: Vec<ParentId> = self.index.upstream_parents.of(upstream).cloned().collect();
        parents.iter().for_each(|parent| self.mark_parent(parent));
        let policies: Vec<Key> = self.index.upstream_telemetry.of(upstream).cloned().collect();
        policies.iter().for_each(|policy| self.mark_telemetry(policy));
    }
}
