//! GatewayBackend and GatewayEndpointSlice: where requests go.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Origin;

/// One port of one Service of one workload cluster, with its upstream policy.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "GatewayBackend",
    namespaced,
    status = "GatewayBackendStatus",
    derive = "PartialEq",
    shortname = "gwbackend",
    category = "foregate",
    printcolumn = r#"{"name":"Service","type":"string","jsonPath":".spec.origin.name"}"#,
    printcolumn = r#"{"name":"Port","type":"integer","jsonPath":".spec.port"}"#,
    printcolumn = r#"{"name":"Protocol","type":"string","jsonPath":".spec.protocol"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayBackendSpec {
    /// The Service.
    pub origin: Origin,
    /// The Service's port, 1 to 65535.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Name of that port, which selects the port of the endpoint slices; empty for an unnamed one.
    #[serde(default)]
    pub port_name: String,
    /// Names of the GatewayEndpointSlices of its Service, sorted: a route is sent to the backend only once all of them
    /// are known, so that it never meets a backend whose endpoints are still on their way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoint_slices: Vec<String>,
    /// What it speaks.
    #[serde(default)]
    pub protocol: BackendProtocol,
    /// How connections to it are made.
    #[serde(default)]
    pub policy: UpstreamPolicy,
}

/// What a backend speaks (Service `appProtocol`, GEP-1911).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BackendProtocol {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP/2 without TLS.
    #[serde(rename = "H2C")]
    H2c,
    /// Bytes.
    #[serde(rename = "TCP")]
    Tcp,
    /// Datagrams.
    #[serde(rename = "UDP")]
    Udp,
}

/// The effective upstream policy of a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamPolicy {
    /// Time to connect, in milliseconds.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout_millis: u64,
}

const fn default_connect_timeout() -> u64 {
    5_000
}

impl Default for UpstreamPolicy {
    fn default() -> Self {
        Self { connect_timeout_millis: default_connect_timeout() }
    }
}

/// What the platform says of a backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayBackendStatus {
    /// By exception: `Accepted` False when an engine refused it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// One EndpointSlice of one workload cluster.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "GatewayEndpointSlice",
    namespaced,
    derive = "PartialEq",
    shortname = "gwslice",
    category = "foregate",
    printcolumn = r#"{"name":"Service","type":"string","jsonPath":".spec.serviceUid"}"#,
    printcolumn = r#"{"name":"Endpoints","type":"string","jsonPath":".spec.endpoints[*].addresses[0]"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayEndpointSliceSpec {
    /// The EndpointSlice.
    pub origin: Origin,
    /// UID of its Service: `origin.uid` of the GatewayBackends that it feeds.
    pub service_uid: String,
    /// Its ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<SlicePort>,
    /// Its endpoints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<SliceEndpoint>,
}

/// A port that all endpoints of a slice have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlicePort {
    /// The Service port's name; empty for an unnamed one.
    #[serde(default)]
    pub name: String,
    /// The number at the endpoint, 1 to 65535.
    #[schemars(range(min = 1))]
    pub port: u16,
}

/// One endpoint, with all its addresses of the slice's family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SliceEndpoint {
    /// IP addresses.
    pub addresses: Vec<String>,
    /// Takes new requests.
    #[serde(default = "yes")]
    pub ready: bool,
    /// Answers, though it may be terminating.
    #[serde(default = "yes")]
    pub serving: bool,
    /// Going away.
    #[serde(default)]
    pub terminating: bool,
    /// The node that it runs on; WorkloadNode has its addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

const fn yes() -> bool {
    true
}
