//! Resources: encoded messages with name, version, needs and owners.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// The kinds of xDS resources that Foregate serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// `envoy.config.cluster.v3.Cluster` (CDS).
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment` (EDS).
    ClusterLoadAssignment,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret` (SDS).
    Secret,
    /// `envoy.config.listener.v3.Listener` (LDS).
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration` (RDS).
    RouteConfiguration,
    /// `envoy.config.route.v3.VirtualHost` (VHDS), named `<route configuration>/<domain>`.
    VirtualHost,
    /// `envoy.config.core.v3.TypedExtensionConfig` (ECDS).
    ExtensionConfig,
}

impl ResourceKind {
    /// Every kind, in make-before-break order.
    pub const ALL: [Self; 7] = [
        Self::Cluster,
        Self::ClusterLoadAssignment,
        Self::Secret,
        Self::ExtensionConfig,
        Self::Listener,
        Self::RouteConfiguration,
        Self::VirtualHost,
    ];

    /// The type URL that names it in discovery requests and in `Any`.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::ClusterLoadAssignment => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::RouteConfiguration => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
            Self::ExtensionConfig => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        }
    }

    /// The kind that a type URL names.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }
}

/// Kind and name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name, unique in its kind and gateway.
    pub name: Arc<str>,
}

impl ResourceId {
    /// An id.
    pub fn new(kind: ResourceKind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

/// The object of the platform that a resource, or a part of it, was made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// UID of the user's object (`origin.uid`), or of the GatewayProxy for what its template makes.
    pub uid: Arc<str>,
    /// Its generation.
    pub generation: i64,
}

/// One encoded resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Kind and name.
    pub id: ResourceId,
    /// Hash of the body, in hex: equal content has an equal version on every replica.
    pub version: Arc<str>,
    /// The encoded message, without its `Any`.
    pub body: Bytes,
    /// What must have been acknowledged before this may be sent: what it names.
    pub needs: Arc<[ResourceId]>,
    /// Whose it is: who is told of a refusal.
    pub owners: Arc<[Owner]>,
}

impl Resource {
    /// Encodes a message canonically, and hashes it. The message must be of the kind that `id` says.
    pub fn new(
        id: ResourceId,
        message: &impl prost::Message,
        needs: impl Into<Arc<[ResourceId]>>,
        owners: impl Into<Arc<[Owner]>>,
    ) -> Self {
        let mut body = message.encode_to_vec();
        crate::canonical::sort(id.kind.type_url(), &mut body);
        let body = Bytes::from(body);
        let version = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&body)).into();
        Self { id, version, body, needs: needs.into(), owners: owners.into() }
    }
}

/// A change to a gateway's resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// New or changed.
    pub set: Vec<Resource>,
    /// Gone.
    pub remove: Vec<ResourceId>,
}

impl Delta {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}
