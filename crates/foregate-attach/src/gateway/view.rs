//! What routes see of Gateways and ListenerSets.

use std::sync::Arc;

use foregate_api::claim::TlsMode;
use foregate_api::gateway::{FromNamespaces, Listener};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{ListenerVerdict, ParentId, ParentKind};
use crate::route::RouteKind;
use crate::target::TargetId;
use crate::{Attach, Key};

/// What routes depend on in a Gateway or ListenerSet. As long as it stays equal, no route is looked at.
#[derive(Debug, PartialEq)]
pub(crate) struct ParentView {
    pub controller: Arc<str>,
    /// Where it runs.
    pub target: TargetId,
    /// Name of its claim; none while it isn't accepted.
    pub claim: Option<Arc<str>>,
    pub listeners: Vec<ListenerView>,
}

/// What routes depend on in a listener.
#[derive(Debug, PartialEq)]
pub(crate) struct ListenerView {
    pub name: Arc<str>,
    pub port: u16,
    /// Kinds of routes that it takes.
    pub kinds: Vec<RouteKind>,
    pub hostname: Option<String>,
    /// Whether TLS ends at the backends.
    pub passes_through: bool,
    pub namespaces: Namespaces,
}

/// Namespaces that a listener takes routes from.
#[derive(Debug, PartialEq)]
pub(crate) enum Namespaces {
    All,
    /// That of the object that has the listener.
    Own,
    Selected(LabelSelector),
    None,
}

impl Namespaces {
    fn of(listener: &Listener) -> Self {
        let Some(namespaces) = listener.allowed_routes.as_ref().and_then(|a| a.namespaces.as_ref()) else {
            return Self::Own;
        };
        match namespaces.from.unwrap_or_default() {
            FromNamespaces::All => Self::All,
            FromNamespaces::Same => Self::Own,
            FromNamespaces::Selector => namespaces.selector.clone().map_or(Self::None, Self::Selected),
            FromNamespaces::None | FromNamespaces::Unknown => Self::None,
        }
    }
}

/// Whether a listener selects namespaces by their labels.
pub(super) fn selects(listener: &Listener) -> bool {
    matches!(Namespaces::of(listener), Namespaces::Selected(_))
}

/// What routes see of the listeners of an object.
pub(super) fn listeners(listeners: &[Listener], verdicts: &[ListenerVerdict]) -> Vec<ListenerView> {
    let pairs = listeners.iter().zip(verdicts);
    pairs
        .map(|(listener, verdict)| ListenerView {
            name: verdict.name.clone(),
            port: verdict.port,
            kinds: verdict.kinds.clone(),
            hostname: verdict.hostname.clone(),
            passes_through: verdict.protocol.is_some_and(|p| p.tls == Some(TlsMode::Passthrough)),
            namespaces: Namespaces::of(listener),
        })
        .collect()
}

impl Attach {
    /// What routes see of a parent; none: it isn't there, or isn't ours.
    pub(crate) fn parent_view(&self, parent: &ParentId) -> Option<&Arc<ParentView>> {
        match parent.kind {
            ParentKind::Gateway => self.gateways.get(&parent.key)?.view.as_ref(),
            ParentKind::ListenerSet => self.listener_sets.get(&parent.key)?.view.as_ref(),
        }
    }

    /// The Gateway that a parent's listeners belong to.
    pub(crate) fn gateway_of(&self, parent: &ParentId) -> Option<Key> {
        match parent.kind {
            ParentKind::Gateway => Some(parent.key.clone()),
            ParentKind::ListenerSet => self.listener_sets.get(&parent.key)?.gateway().cloned(),
        }
    }

    /// Has a parent looked at again: something that it names changed.
    pub(crate) fn mark_parent(&mut self, parent: &ParentId) {
        match parent.kind {
            ParentKind::Gateway => {
                self.dirty.gateways.insert(parent.key.clone());
            }
            ParentKind::ListenerSet => self.mark_listener_set(&parent.key),
        }
    }

    /// Has the status of a parent made again.
    pub(crate) fn mark_parent_status(&mut self, parent: &ParentId) {
        match parent.kind {
            ParentKind::Gateway => self.dirty.gateway_statuses.insert(parent.key.clone()),
            ParentKind::ListenerSet => self.dirty.listener_set_statuses.insert(parent.key.clone()),
        };
    }

    /// Has the routes of a parent looked at again.
    pub(super) fn mark_routes_of(&mut self, parent: &ParentId) {
        self.dirty.routes.extend(self.index.parent_routes.of(parent).cloned());
        if parent.kind == ParentKind::Gateway && self.index.default_gateways.contains(&parent.key) {
            self.dirty.routes.extend(self.index.default_routes.iter().cloned());
        }
    }

    /// Keeps the Secrets whose copies the platform needs for a parent, where its claim is.
    pub(super) fn use_secrets(&mut self, parent: &ParentId, old: &[Key], new: &[Key]) {
        self.index.secret_users.replace(parent, old, new);
        self.dirty.secrets.extend(old.iter().chain(new).cloned());
    }
}
