//! What attachment is told.

use foregate_api::envoy_gateway::{Backend, EnvoyProxy};
use foregate_api::gateway::experimental::{XBackend, XBackendTrafficPolicy, XTelemetryPolicy};
use foregate_api::gateway::{
    BackendTLSPolicy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, ReferenceGrant, TCPRoute, TLSRoute,
    UDPRoute,
};
use foregate_api::{Change, GatewayBackend, GatewayClaim, GatewayClassParameters, GatewayEndpointSlice, GatewayRoute};
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::glimpse::Fetched;
use crate::need::Need;
use crate::target::{TargetEvent, TargetId};

/// What a cluster has of the Gateway API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// As the CRDs say, e.g. `v1.7.0`; none: they don't.
    pub version: Option<String>,
    /// Plurals of kinds of the standard channel that it doesn't serve.
    pub missing: Vec<String>,
}

/// One change. The first call of [`crate::Attach::apply`] must be given all that exists, so that nothing is taken for
/// missing that hasn't been read yet.
#[derive(Clone, Debug)]
pub enum Input {
    /// A GatewayClass, of any controller.
    GatewayClass(Change<GatewayClass>),
    /// The Gateway API's release that the cluster has, and the kinds of it that it lacks.
    Release(Release),
    /// A GatewayClassParameters.
    Parameters(Change<GatewayClassParameters>),
    /// An EnvoyProxy of Envoy Gateway's group.
    EnvoyProxy(Change<EnvoyProxy>),
    /// News of a target.
    Target(TargetId, TargetEvent),
    /// A Gateway, of any class.
    Gateway(Change<Gateway>),
    /// A ListenerSet, of any Gateway.
    ListenerSet(Change<ListenerSet>),
    /// An HTTPRoute.
    HttpRoute(Change<HTTPRoute>),
    /// A GRPCRoute.
    GrpcRoute(Change<GRPCRoute>),
    /// A TLSRoute.
    TlsRoute(Change<TLSRoute>),
    /// A TCPRoute.
    TcpRoute(Change<TCPRoute>),
    /// A UDPRoute.
    UdpRoute(Change<UDPRoute>),
    /// A Backend of Envoy Gateway's group.
    DirectBackend(Change<Backend>),
    /// A BackendTLSPolicy.
    BackendTlsPolicy(Change<BackendTLSPolicy>),
    /// An XBackend.
    XBackend(Change<XBackend>),
    /// An XBackendTrafficPolicy.
    XBackendTrafficPolicy(Change<XBackendTrafficPolicy>),
    /// An XTelemetryPolicy.
    XTelemetryPolicy(Change<XTelemetryPolicy>),
    /// A Pod; none are needed until [`crate::Attach::wants_pods`].
    Pod(Change<Pod>),
    /// A ClusterTrustBundle.
    ClusterTrustBundle(Change<ClusterTrustBundle>),
    /// A ConfigMap: its `ca.crt`.
    ConfigMap(Change<ConfigMap>),
    /// A Service; with [`crate::Attach::ask_for_needs`] those that [`crate::Attach::glimpse`] says.
    Service(Change<Service>),
    /// An EndpointSlice; as a Service.
    EndpointSlice(Change<EndpointSlice>),
    /// The answer to what was asked for: all that there is of a needed Service was said.
    Fetched(Fetched),
    /// All that there is of a needed object was said; with the number that [`crate::NeedChange::Follow`] has.
    Known(Need, u64),
    /// A Secret; those of [`crate::Attach::wants_secret`] are enough. One of the tenant's namespace with an origin of
    /// this cluster is a copy that was made before.
    Secret(Change<Secret>),
    /// A ReferenceGrant.
    ReferenceGrant(Change<ReferenceGrant>),
    /// A Namespace: its labels.
    Namespace(Change<Namespace>),
    /// A derived object as the platform has it; its status.
    Claim(TargetId, Change<GatewayClaim>),
    /// A derived object as the platform has it; its status.
    Route(TargetId, Change<GatewayRoute>),
    /// A derived object as the platform has it.
    Backend(TargetId, Change<GatewayBackend>),
    /// A derived object as the platform has it.
    Slice(TargetId, Change<GatewayEndpointSlice>),
}
