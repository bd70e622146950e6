//! What attachment is told.

use std::fmt;
use std::sync::Arc;

use foregate_api::gateway::{Gateway, GatewayClass, HTTPRoute, ReferenceGrant};
use foregate_api::{GatewayBackend, GatewayClaim, GatewayEndpointSlice, GatewayRoute};
use k8s_openapi::api::core::v1::{Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

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

/// An object as it is now, or the key of one that is no more.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// New or changed.
    Set(Arc<K>),
    /// Gone.
    Gone(Key),
}

/// One change. The first call of [`crate::Attach::apply`] must be given all that exists, so that nothing is taken for
/// missing that hasn't been read yet.
#[derive(Clone, Debug)]
pub enum Input {
    /// A GatewayClass, of any controller.
    GatewayClass(Change<GatewayClass>),
    /// A Gateway, of any class.
    Gateway(Change<Gateway>),
    /// An HTTPRoute.
    HttpRoute(Change<HTTPRoute>),
    /// A Service.
    Service(Change<Service>),
    /// An EndpointSlice.
    EndpointSlice(Change<EndpointSlice>),
    /// A Secret; those of [`crate::Attach::wants_secret`] are enough. One of the tenant's namespace with an origin of
    /// this cluster is a copy that was made before.
    Secret(Change<Secret>),
    /// A ReferenceGrant.
    ReferenceGrant(Change<ReferenceGrant>),
    /// A Namespace: its labels.
    Namespace(Change<Namespace>),
    /// A derived object as the platform has it; its status.
    Claim(Change<GatewayClaim>),
    /// A derived object as the platform has it; its status.
    Route(Change<GatewayRoute>),
    /// A derived object as the platform has it.
    Backend(Change<GatewayBackend>),
    /// A derived object as the platform has it.
    Slice(Change<GatewayEndpointSlice>),
}
