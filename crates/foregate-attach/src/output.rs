//! What attachment says.

use std::collections::BTreeMap;
use std::sync::Arc;

use foregate_api::{GatewayBackend, GatewayClaim, GatewayEndpointSlice, GatewayRoute};
use k8s_openapi::api::core::v1::{Secret, Service};
use serde_json::Value;

use crate::Key;
use crate::need::NeedChange;
use crate::target::{TargetChange, TargetId};

/// What changed, each object at most once, in an order that depends on nothing but the objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Objects to write or delete, by target; all in the target's namespace.
    pub derived: BTreeMap<TargetId, Vec<DerivedChange>>,
    /// Statuses of users' objects to write.
    pub statuses: Vec<StatusChange>,
    /// What stands for Gateways in the workload cluster.
    pub services: Vec<ServiceChange>,
    /// Finalizers of GatewayClasses to write.
    pub finalizers: Vec<FinalizerChange>,
    /// What is to be done about targets themselves, before what is written to them.
    pub targets: Vec<TargetChange>,
    /// What is to be followed, or isn't any more, where [`crate::Attach::ask_for_needs`] was called.
    pub needs: Vec<NeedChange>,
}

/// The finalizers that a GatewayClass should have, whole: with the standard's one while Gateways use the class, so that
/// it can't go from under them. To be written for `resource_version` only, as a [`StatusChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalizerChange {
    /// Name of the GatewayClass.
    pub class: Arc<str>,
    /// The version that this was made from.
    pub resource_version: String,
    /// `.metadata.finalizers`.
    pub finalizers: Vec<String>,
}

/// A change to a Service of the workload cluster that carries labels and annotations of a Gateway's
/// `spec.infrastructure`.
#[derive(Clone, Debug, PartialEq)]
pub enum ServiceChange {
    /// To be created or replaced.
    Set(Arc<Service>),
    /// To be deleted.
    Delete(Key),
}

impl ServiceChange {
    /// The Service.
    pub fn key(&self) -> Key {
        match self {
            Self::Set(service) => Key::of(&service.metadata),
            Self::Delete(key) => key.clone(),
        }
    }
}

impl Output {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.derived.is_empty()
            && self.statuses.is_empty()
            && self.services.is_empty()
            && self.finalizers.is_empty()
            && self.targets.is_empty()
            && self.needs.is_empty()
    }
}

/// The kinds of derived objects, in the order in which they are written: what is named before what names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DerivedKind {
    /// A copy of a Secret.
    Secret,
    /// A GatewayEndpointSlice.
    Slice,
    /// A GatewayBackend.
    Backend,
    /// A GatewayClaim.
    Claim,
    /// A GatewayRoute.
    Route,
}

/// An object of the platform, whole but for what its API server fills in.
#[derive(Clone, Debug, PartialEq)]
pub enum Derived {
    /// A copy of a Secret: `kubernetes.io/tls`, certificate and key only.
    Secret(Arc<Secret>),
    /// A GatewayEndpointSlice.
    Slice(Arc<GatewayEndpointSlice>),
    /// A GatewayBackend.
    Backend(Arc<GatewayBackend>),
    /// A GatewayClaim.
    Claim(Arc<GatewayClaim>),
    /// A GatewayRoute.
    Route(Arc<GatewayRoute>),
}

impl Derived {
    /// Its kind.
    pub const fn kind(&self) -> DerivedKind {
        match self {
            Self::Secret(_) => DerivedKind::Secret,
            Self::Slice(_) => DerivedKind::Slice,
            Self::Backend(_) => DerivedKind::Backend,
            Self::Claim(_) => DerivedKind::Claim,
            Self::Route(_) => DerivedKind::Route,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        let metadata = match self {
            Self::Secret(o) => &o.metadata,
            Self::Slice(o) => &o.metadata,
            Self::Backend(o) => &o.metadata,
            Self::Claim(o) => &o.metadata,
            Self::Route(o) => &o.metadata,
        };
        metadata.name.as_deref().unwrap_or_default()
    }
}

/// A change to a derived object.
#[derive(Clone, Debug, PartialEq)]
pub enum DerivedChange {
    /// To be created or replaced.
    Set(Derived),
    /// To be deleted.
    Delete(DerivedKind, Arc<str>),
}

impl DerivedChange {
    /// The kind of the object.
    pub const fn kind(&self) -> DerivedKind {
        match self {
            Self::Set(derived) => derived.kind(),
            Self::Delete(kind, _) => *kind,
        }
    }

    /// The name of the object.
    pub fn name(&self) -> &str {
        match self {
            Self::Set(derived) => derived.name(),
            Self::Delete(_, name) => name,
        }
    }
}

/// The kinds of users' objects that get a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatusKind {
    /// A GatewayClass.
    GatewayClass,
    /// A Gateway.
    Gateway,
    /// An HTTPRoute.
    HttpRoute,
    /// A GRPCRoute.
    GrpcRoute,
    /// A TCPRoute.
    TcpRoute,
    /// A TLSRoute.
    TlsRoute,
    /// A UDPRoute.
    UdpRoute,
    /// A ListenerSet.
    ListenerSet,
    /// A Backend of Envoy Gateway's group.
    Backend,
    /// A BackendTLSPolicy.
    BackendTlsPolicy,
    /// An XBackend.
    XBackend,
    /// An XBackendTrafficPolicy.
    XBackendTrafficPolicy,
    /// An XTelemetryPolicy.
    XTelemetryPolicy,
}

impl StatusKind {
    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::TcpRoute => "TCPRoute",
            Self::TlsRoute => "TLSRoute",
            Self::UdpRoute => "UDPRoute",
            Self::ListenerSet => "ListenerSet",
            Self::Backend => "Backend",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::XBackend => "XBackend",
            Self::XBackendTrafficPolicy => "XBackendTrafficPolicy",
            Self::XTelemetryPolicy => "XTelemetryPolicy",
        }
    }
}

/// A status to write, whole.
///
/// It holds what others wrote as it was in `resource_version`: write it for that version only (optimistic locking).
/// After a conflict nothing needs to be tried again: the newer version, once it arrives, leads to a new one.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusChange {
    /// Kind of the object.
    pub kind: StatusKind,
    /// The object.
    pub key: Key,
    /// The version that this was made from; empty when the source has none.
    pub resource_version: String,
    /// `.status`.
    pub status: Value,
}
