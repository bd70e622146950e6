//! References between objects.

use serde::{Deserialize, Serialize};

use super::GATEWAY_GROUP;

/// A route's wish to attach to a Gateway (or to another parent).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// Its group; none: the Gateway API's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its kind; none: `Gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its namespace; none: the route's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Only this section, e.g. a listener's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Only listeners of this port, 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl ParentReference {
    /// Whether it names a Gateway.
    pub fn is_gateway(&self) -> bool {
        self.group.as_deref().unwrap_or(GATEWAY_GROUP) == GATEWAY_GROUP
            && self.kind.as_deref().unwrap_or("Gateway") == "Gateway"
    }

    /// The namespace it names, for a route of namespace `own`.
    pub fn namespace_or<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(own)
    }
}

/// A backend of a route's rule, with its share and with filters of its own (`F`; [`NoFilter`] for kinds without).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendRef<F = NoFilter> {
    /// Its group; none: the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its kind; none: `Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
    /// Its namespace; none: the route's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its port, 1 to 65535; needed for a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its share, 0 to 1,000,000; none: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// What is done to requests to this backend only.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<F>,
}

/// The filter of kinds that have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoFilter {}

/// Names a backend, with no share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BackendObjectReference {
    /// Its group; none: the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its kind; none: `Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
    /// Its namespace; none: the route's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its port, 1 to 65535; needed for a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A backend with every default filled in: what [`BackendRef`] and [`BackendObjectReference`] have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendTarget<'a> {
    /// Its group; empty for the core group.
    pub group: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its port.
    pub port: Option<u16>,
}

impl<F> BackendRef<F> {
    /// What it names, from a route of namespace `own`.
    pub fn target<'a>(&'a self, own: &'a str) -> BackendTarget<'a> {
        BackendTarget {
            group: self.group.as_deref().unwrap_or_default(),
            kind: self.kind.as_deref().unwrap_or("Service"),
            namespace: self.namespace.as_deref().unwrap_or(own),
            name: &self.name,
            port: self.port,
        }
    }
}

impl BackendObjectReference {
    /// What it names, from a route of namespace `own`.
    pub fn target<'a>(&'a self, own: &'a str) -> BackendTarget<'a> {
        BackendTarget {
            group: self.group.as_deref().unwrap_or_default(),
            kind: self.kind.as_deref().unwrap_or("Service"),
            namespace: self.namespace.as_deref().unwrap_or(own),
            name: &self.name,
            port: self.port,
        }
    }
}

/// Names a Secret (or another kind that holds a certificate and its key).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SecretObjectReference {
    /// Its group; none: the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its kind; none: `Secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
    /// Its namespace; none: the referring object's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl SecretObjectReference {
    /// Whether it names a core Secret.
    pub fn is_secret(&self) -> bool {
        self.group.as_deref().unwrap_or_default().is_empty() && self.kind.as_deref().unwrap_or("Secret") == "Secret"
    }
}

/// Names an object of the referring object's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LocalObjectReference {
    /// Its group; empty for the core group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Names an object, of any namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectReference {
    /// Its group; empty for the core group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; none: the referring object's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}
