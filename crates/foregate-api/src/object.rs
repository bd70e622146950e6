//! Objects in general: their keys, and their changes as watches tell them.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::address::ProxyRef;

/// Namespace and name of an object; the namespace of a cluster-scoped one is empty.
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
