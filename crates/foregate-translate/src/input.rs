//! What the translator is told.

use std::fmt;
use std::sync::Arc;

use foregate_api::address::ProxyRef;
use foregate_api::{GatewayBackend, GatewayEndpointSlice, GatewayProxy, GatewayRoute};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Settings of a translator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Added to every listener's port when it is bound, where ports below 1024 may not be.
    pub port_offset: u16,
}

/// Namespace and name of an object.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Key {
    /// A key.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object; absent parts are empty.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self::new(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
    }

    /// Another object of the same namespace.
    pub fn sibling(&self, name: &str) -> Self {
        Self { namespace: self.namespace.clone(), name: name.into() }
    }

    /// As a reference to a GatewayProxy.
    pub fn proxy_ref(&self) -> ProxyRef {
        ProxyRef { namespace: self.namespace.to_string(), name: self.name.to_string() }
    }
}

impl From<&ProxyRef> for Key {
    fn from(proxy: &ProxyRef) -> Self {
        Self::new(proxy.namespace.as_str(), proxy.name.as_str())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An object as it is now, or the name of one that is no more.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// New or changed.
    Set(Arc<K>),
    /// Gone.
    Gone(Key),
}

/// One change that the translator is told of.
#[derive(Clone, Debug)]
pub enum Input {
    /// A gateway: its spec holds the template, its status the listeners, their claims and the addresses.
    Proxy(Change<GatewayProxy>),
    /// A route.
    Route(Change<GatewayRoute>),
    /// A backend. One that is gone serves on until no route names it any more, so that the order in which watches
    /// deliver a route's change and the removal of its old backend doesn't matter.
    Backend(Change<GatewayBackend>),
    /// A slice of endpoints.
    Slice(Change<GatewayEndpointSlice>),
    /// A Secret; only those that listeners name are used.
    Secret(Change<Secret>),
    /// An engine refused what was made from this generation of this object ([`foregate_envoy::Owner`]): its last good
    /// form serves on. Ends with the object's next generation; ignored when that is here already.
    Quarantine {
        /// UID of the owner, as in the refused resource.
        uid: Arc<str>,
        /// Its generation, as in the refused resource.
        generation: i64,
        /// The engine's words.
        message: String,
    },
}
