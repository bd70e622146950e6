//! What routes attach to: Gateways and ListenerSets.

use std::fmt;

use foregate_api::gateway::{GATEWAY_GROUP, ParentReference};

use crate::Key;

/// The kinds of objects that have listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ParentKind {
    Gateway,
    ListenerSet,
}

impl ParentKind {
    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
        }
    }
}

/// A Gateway or a ListenerSet.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ParentId {
    pub kind: ParentKind,
    pub key: Key,
}

impl ParentId {
    pub fn gateway(key: Key) -> Self {
        Self { kind: ParentKind::Gateway, key }
    }

    pub fn listener_set(key: Key) -> Self {
        Self { kind: ParentKind::ListenerSet, key }
    }

    /// What a route of namespace `own` names; none: another kind of parent.
    pub fn of(reference: &ParentReference, own: &str) -> Option<Self> {
        if reference.group.as_deref().unwrap_or(GATEWAY_GROUP) != GATEWAY_GROUP {
            return None;
        }
        let kind = match reference.kind.as_deref() {
            None | Some("Gateway") => ParentKind::Gateway,
            Some("ListenerSet") => ParentKind::ListenerSet,
            Some(_) => return None,
        };
        Some(Self { kind, key: Key::new(reference.namespace_or(own), reference.name.as_str()) })
    }
}

impl fmt::Display for ParentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.key)
    }
}

impl fmt::Debug for ParentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
