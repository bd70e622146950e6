//! XBackend (GEP-4894).

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::gateway::{BackendTlsPolicyValidation, PolicyStatus, SecretObjectReference, SessionPersistence};

/// A destination of routes: a host outside the cluster, or Pods by their labels.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.x-k8s.io",
    version = "v1alpha1",
    kind = "XBackend",
    plural = "xbackends",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    schema = "disabled",
    shortname = "xbackend"
)]
#[serde(rename_all = "camelCase")]
pub struct XBackendSpec {
    /// Which of the two.
    #[serde(rename = "type")]
    pub kind: XBackendType,
    /// The port, at the host or at the Pods.
    pub port: XBackendPort,
    /// For [`XBackendType::ExternalHostname`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_hostname: Option<ExternalHostname>,
    /// For [`XBackendType::EndpointSelector`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_selector: Option<EndpointSelector>,
    /// Keeps clients with their endpoints; for [`XBackendType::EndpointSelector`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
    /// What it speaks; none: what the route says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<XBackendProtocol>,
    /// TLS to it; none: plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<XBackendTls>,
}

/// The types of backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum XBackendType {
    /// [`XBackendSpec::external_hostname`].
    ExternalHostname,
    /// [`XBackendSpec::endpoint_selector`].
    EndpointSelector,
    /// A value of a newer API.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XBackendPort {
    /// Its number, 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u16>,
}

/// A host outside the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalHostname {
    /// Its name.
    pub hostname: String,
}

/// Pods of the backend's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSelector {
    /// Labels that they have, 1 to 64.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}

/// What backends speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum XBackendProtocol {
    /// Bytes.
    #[serde(rename = "TCP")]
    Tcp,
    /// HTTP of any version.
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP/2 over TLS.
    #[serde(rename = "HTTP2")]
    Http2,
    /// HTTP/1.1.
    #[serde(rename = "HTTP11")]
    Http11,
    /// HTTP/2 without TLS.
    #[serde(rename = "H2C")]
    H2c,
    /// The Model Context Protocol.
    #[serde(rename = "MCP")]
    Mcp,
    /// gRPC.
    #[serde(rename = "GRPC")]
    Grpc,
    /// WebSocket over TLS.
    #[serde(rename = "WSS")]
    Wss,
    /// A value of a newer API.
    #[default]
    #[serde(other)]
    Unknown,
}

/// TLS to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackendTls {
    /// Whether, and who shows a certificate.
    pub mode: XBackendTlsMode,
    /// The gateway's, for [`XBackendTlsMode::ClientAndServer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
    /// How the backend's is verified; set unless the mode is [`XBackendTlsMode::None`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<BackendTlsPolicyValidation>,
}

/// The modes of TLS to a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum XBackendTlsMode {
    /// None.
    None,
    /// The backend shows a certificate.
    ServerOnly,
    /// Both sides do.
    ClientAndServer,
    /// A value of a newer API.
    #[default]
    #[serde(other)]
    Unknown,
}
