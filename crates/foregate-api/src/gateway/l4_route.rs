//! TCPRoute, TLSRoute and UDPRoute: one form of rule for the three.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{BackendRef, ParentReference, RouteStatus};

/// Routes of TCP connections, by port.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "TCPRoute",
    plural = "tcproutes",
    namespaced,
    status = "RouteStatus",
    derive = "PartialEq",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct TcpRouteSpec {
    /// Its parents, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Exactly one.
    #[serde(default)]
    pub rules: Vec<L4RouteRule>,
    /// `All`: it attaches to the default Gateways, too; none or `None`: it doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<String>,
}

/// Routes of TLS connections, by SNI.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "TLSRoute",
    plural = "tlsroutes",
    namespaced,
    status = "RouteStatus",
    derive = "PartialEq",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct TlsRouteSpec {
    /// Its parents, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Server names, 1 to 16.
    #[serde(default)]
    pub hostnames: Vec<String>,
    /// Exactly one.
    #[serde(default)]
    pub rules: Vec<L4RouteRule>,
    /// `All`: it attaches to the default Gateways, too; none or `None`: it doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<String>,
}

/// Routes of UDP datagrams, by port.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "UDPRoute",
    plural = "udproutes",
    namespaced,
    status = "RouteStatus",
    derive = "PartialEq",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct UdpRouteSpec {
    /// Its parents, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Exactly one.
    #[serde(default)]
    pub rules: Vec<L4RouteRule>,
    /// `All`: it attaches to the default Gateways, too; none or `None`: it doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<String>,
}

/// Where a layer 4 route sends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L4RouteRule {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where to, by weight; 1 to 16.
    #[serde(default)]
    pub backend_refs: Vec<BackendRef>,
}
