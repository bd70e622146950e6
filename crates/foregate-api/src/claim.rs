//! GatewayClaim: the listeners that one Gateway (or ListenerSet) of one workload cluster wants.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Origin;
use crate::route::RouteFilter;
use crate::tracing::Tracing;

/// A set of listeners wanted by one Gateway. The platform binds it to a GatewayProxy, as a volume claim binds to a
/// volume; claims with an equal `sharingKey` share one proxy.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "GatewayClaim",
    namespaced,
    status = "GatewayClaimStatus",
    derive = "PartialEq",
    shortname = "gwclaim",
    category = "foregate",
    printcolumn = r#"{"name":"Origin","type":"string","jsonPath":".spec.origin.name"}"#,
    printcolumn = r#"{"name":"Proxy","type":"string","jsonPath":".status.proxy"}"#,
    printcolumn = r#"{"name":"Address","type":"string","jsonPath":".status.addresses[0]"}"#,
    printcolumn = r#"{"name":"Programmed","type":"string","jsonPath":".status.conditions[?(@.type==\"Programmed\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClaimSpec {
    /// The Gateway.
    pub origin: Origin,
    /// The GatewayTemplate, in this namespace, that a new proxy is made from.
    pub template: String,
    /// Claims with an equal key share a proxy; without one, the claim has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing_key: Option<String>,
    /// Addresses asked for; empty: any one of the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Name of a Secret of this namespace (`kubernetes.io/tls`): what the gateway shows to backends that it speaks TLS
    /// with (Gateway `spec.tls.backend.clientCertificateRef`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_client_certificate: Option<String>,
    /// What is handed on to what is made for the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<ClaimInfrastructure>,
    /// How requests are traced; none: they aren't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// The accepted listeners, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ClaimListener>,
    /// The other listeners, which the workload cluster can't have served; nothing follows from them but that they are
    /// shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedListener>,
}

/// A listener that isn't served, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedListener {
    /// Its name, unique in the claim.
    pub name: String,
    /// Its port, 1 to 65535.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// In one word, as the conditions of the user's object say it.
    pub reason: String,
    /// For a person.
    pub message: String,
}

/// Labels and annotations for what is made for a gateway (Gateway `spec.infrastructure`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimInfrastructure {
    /// Labels, at most 8.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, at most 8.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// One listener, with every reference resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimListener {
    /// Its name, unique in the claim.
    pub name: String,
    /// Its port, 1 to 65535.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// What it speaks.
    pub protocol: ListenerProtocol,
    /// Host name, possibly `*.example.com`; none matches all, last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// TLS, for HTTPS and TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// What is done to every request before it is routed, in order (feature GatewayListenerFilters).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<RouteFilter>,
}

/// What a listener speaks (Gateway API `ProtocolType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ListenerProtocol {
    /// Plain HTTP.
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP over TLS that ends here.
    #[serde(rename = "HTTPS")]
    Https,
    /// TLS, ended here or passed through.
    #[serde(rename = "TLS")]
    Tls,
    /// Plain TCP.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// Ended here, or passed through by SNI.
    pub mode: TlsMode,
    /// Names of Secrets of this namespace (`kubernetes.io/tls`), copies of the user's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// Whether clients need certificates; none: they don't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_validation: Option<ClientValidation>,
}

/// Which certificates clients must show (Gateway `spec.tls.frontend`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientValidation {
    /// Trusted certificates, as PEM.
    pub ca_certificates: String,
    /// What happens to clients without a valid one.
    #[serde(default)]
    pub mode: ClientValidationMode,
}

/// What happens to clients without a valid certificate (Gateway API `FrontendValidationModeType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ClientValidationMode {
    /// They are refused.
    #[default]
    AllowValidOnly,
    /// They are let in.
    AllowInsecureFallback,
}

/// Where TLS ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// At the gateway.
    Terminate,
    /// At the backend.
    Passthrough,
}

/// How many backends a claim's status names at most, so that the object stays small enough to be stored.
pub const MAX_WANTED_BACKENDS: usize = 4096;

/// What the platform says of a claim.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClaimStatus {
    /// Generation of the claim that this describes.
    #[serde(default)]
    pub observed_generation: i64,
    /// `origin.generation` of the claim that this describes.
    #[serde(default)]
    pub origin_generation: i64,
    /// The GatewayProxy, in this namespace, that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// The gateway's addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// `Bound`, `Programmed`, with the Gateway API's reasons where it has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// One entry per listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ClaimListenerStatus>,
    /// Names of GatewayBackends of the claim's cluster that the revision needs that the gateway is held at, or is about
    /// to be: whoever derives them keeps them, though no route may name them. Sorted, at most
    /// [`MAX_WANTED_BACKENDS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted_backends: Vec<String>,
    /// Ready and connected instances.
    #[serde(default)]
    pub instances: InstanceCounts,
}

/// What the platform says of one listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimListenerStatus {
    /// The listener's name.
    pub name: String,
    /// `Programmed` and, where it conflicts with another claim's, `Conflicted`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// How many instances a gateway has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceCounts {
    /// Wanted by the template.
    #[serde(default)]
    pub desired: u32,
    /// With an open xDS stream.
    #[serde(default)]
    pub connected: u32,
    /// Serving.
    #[serde(default)]
    pub ready: u32,
}
