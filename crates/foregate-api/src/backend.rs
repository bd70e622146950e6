//! GatewayBackend and GatewayEndpointSlice: where requests go.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Origin;

/// One port of one Service, or one `Backend`, of one workload cluster, with its upstream policy.
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
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.origin.kind"}"#,
    printcolumn = r#"{"name":"Name","type":"string","jsonPath":".spec.origin.name"}"#,
    printcolumn = r#"{"name":"Port","type":"integer","jsonPath":".spec.port"}"#,
    printcolumn = r#"{"name":"Protocol","type":"string","jsonPath":".spec.protocol"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayBackendSpec {
    /// The Service or `Backend`.
    pub origin: Origin,
    /// The Service's port, 1 to 65535; 0 for a `Backend`, whose endpoints have ports of their own.
    #[serde(default)]
    pub port: u16,
    /// Name of that port, which selects the port of the endpoint slices; empty for an unnamed one.
    #[serde(default)]
    pub port_name: String,
    /// Names of the GatewayEndpointSlices of its Service, sorted: a route is sent to the backend only once all of them
    /// are known, so that it never meets a backend whose endpoints are still on their way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoint_slices: Vec<String>,
    /// Where it is, for a `Backend`; empty: the endpoint slices say it. Host names don't mix with the other kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<DirectEndpoint>,
    /// What it speaks.
    #[serde(default)]
    pub protocol: BackendProtocol,
    /// TLS to it; none: plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
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
    /// HTTP/2: with prior knowledge, or over TLS where the backend has it.
    #[serde(rename = "H2C")]
    H2c,
    /// Bytes.
    #[serde(rename = "TCP")]
    Tcp,
    /// Datagrams.
    #[serde(rename = "UDP")]
    Udp,
}

/// An endpoint that a `Backend` names itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DirectEndpoint {
    /// Where it is.
    pub address: DirectAddress,
    /// Its host name: the name that TLS sends when `tls.sni` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DirectAddress {
    /// By a host name, which the engine's host looks up.
    Fqdn {
        /// The name.
        hostname: String,
        /// The port, 1 to 65535.
        port: u16,
    },
    /// By an IP address.
    Ip {
        /// The address.
        address: String,
        /// The port, 1 to 65535.
        port: u16,
    },
    /// By the path of a Unix socket on the engine's host.
    Unix {
        /// The path, at most 108 bytes.
        path: String,
    },
}

/// TLS to a backend: every reference is resolved. One of `caCertificates`, `systemCertificates` and
/// `insecureSkipVerify` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamTls {
    /// The name that is sent, and that the certificate must have when `subjectAltNames` is empty; none: the endpoint's
    /// host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Trusted certificates, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
    /// The host's certificates are trusted.
    #[serde(default, skip_serializing_if = "is_no")]
    pub system_certificates: bool,
    /// The certificate isn't looked at.
    #[serde(default, skip_serializing_if = "is_no")]
    pub insecure_skip_verify: bool,
    /// Names of which the certificate must have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<CertificateName>,
    /// ALPN protocols to offer, of `h2` and `http/1.1`; both: the backend chooses; empty: that of `protocol`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
}

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CertificateName {
    /// A DNS name, possibly `*.example.com`.
    Dns(String),
    /// A URI.
    Uri(String),
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_no(value: &bool) -> bool {
    !*value
}

/// The effective upstream policy of a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamPolicy {
    /// Time to connect, in milliseconds.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout_millis: u64,
    /// Keeps a client with the endpoint that answered it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
    /// Bounds retries by the number of requests; none: unbounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_budget: Option<RetryBudget>,
}

/// How a client is kept with an endpoint (GEP-1619).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SessionPersistence {
    /// By a cookie that the gateway sets.
    Cookie {
        /// Its name.
        name: String,
        /// Its path; none: `/`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// Its lifetime in seconds; none: until the browser is closed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_seconds: Option<u64>,
    },
    /// By a header that the gateway sets in responses, and that the client sends again.
    Header {
        /// Its name.
        name: String,
    },
}

/// How many retries there may be (GEP-3388).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudget {
    /// At most this share of the active requests, in percent, 0 to 100.
    pub percent: u32,
    /// But always as many as these at once.
    pub min_concurrent: u32,
}

const fn default_connect_timeout() -> u64 {
    5_000
}

impl Default for UpstreamPolicy {
    fn default() -> Self {
        Self { connect_timeout_millis: default_connect_timeout(), session_persistence: None, retry_budget: None }
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
