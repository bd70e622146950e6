//! Backend: where requests go when that isn't a Service.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::gateway::{LocalObjectReference, SecretObjectReference};

/// Endpoints by host name, IP address or Unix socket, that a route names in the place of a Service.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.envoyproxy.io",
    version = "v1alpha1",
    kind = "Backend",
    plural = "backends",
    namespaced,
    status = "BackendStatus",
    derive = "PartialEq",
    schema = "disabled",
    shortname = "be"
)]
#[serde(rename_all = "camelCase")]
pub struct BackendSpec {
    /// Where its endpoints come from; none: `Endpoints`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<BackendType>,
    /// The endpoints, 1 to 64; host names don't mix with the other kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<BackendEndpoint>,
    /// What it speaks; empty: HTTP/1.1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub app_protocols: Vec<AppProtocol>,
    /// Whether it takes requests only when the other backends of a rule can't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<bool>,
    /// TLS to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTlsSettings>,
}

/// Where a backend's endpoints come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackendType {
    /// From `endpoints`.
    #[default]
    Endpoints,
    /// From each request's host.
    DynamicResolver,
    /// A value of a newer API.
    #[serde(other)]
    Unknown,
}

/// One endpoint: one of `fqdn`, `ip` and `unix` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendEndpoint {
    /// The endpoint's own host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// By host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<FqdnEndpoint>,
    /// By IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpEndpoint>,
    /// By Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix: Option<UnixSocket>,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// An endpoint by host name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FqdnEndpoint {
    /// The name.
    pub hostname: String,
    /// The port, 0 to 65535.
    pub port: u16,
}

/// An endpoint by IP address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpEndpoint {
    /// The address, of either family.
    pub address: String,
    /// The port, 0 to 65535.
    pub port: u16,
}

/// An endpoint by Unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixSocket {
    /// The path, at most 108 bytes.
    pub path: String,
}

/// What a backend speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppProtocol {
    /// HTTP/2 without TLS.
    #[serde(rename = "gateway.envoyproxy.io/h2c")]
    H2c,
    /// WebSocket over HTTP/1.1.
    #[serde(rename = "gateway.envoyproxy.io/ws")]
    Ws,
    /// WebSocket over HTTP/1.1 over TLS.
    #[serde(rename = "gateway.envoyproxy.io/wss")]
    Wss,
    /// A value of a newer API.
    #[default]
    #[serde(other)]
    Unknown,
}

/// TLS to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsSettings {
    /// ConfigMaps and Secrets whose `ca.crt` is trusted, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// `System`: the host's certificates are trusted.
    #[serde(rename = "wellKnownCACertificates", default, skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<String>,
    /// Whether the certificate isn't looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
    /// The server name to send; none: that of its host names, else the request's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// The certificate that the gateway shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
    /// Lowest version of TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
    /// Highest version of TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_version: Option<String>,
    /// Ciphers of TLS 1.2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ciphers: Vec<String>,
    /// Curves.
    #[serde(rename = "ecdhCurves", default, skip_serializing_if = "Vec::is_empty")]
    pub ecdh_curves: Vec<String>,
    /// Signature algorithms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signature_algorithms: Vec<String>,
    /// ALPN protocols to offer: `http/1.1`, `h2`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn_protocols: Vec<String>,
}

/// What the controller says of a Backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// `Accepted`, with the reasons `Accepted` and `Invalid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
