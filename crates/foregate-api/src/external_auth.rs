//! External authorization: a service that is asked whether a request may pass (GEP-1494), with every reference resolved.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A service that is asked about every request. Whatever goes wrong, the request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalAuth {
    /// Name of the GatewayBackend that is asked; none: the reference leads nowhere, and every request is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// How it is asked.
    pub protocol: ExternalAuthProtocol,
    /// So many bytes of a request's body are sent along, at most; a longer body is refused with 413. None: no body is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_body_bytes: Option<u32>,
}

/// How an authorization service is asked (Gateway API `HTTPExternalAuthFilter.protocol`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ExternalAuthProtocol {
    /// By gRPC: `envoy.service.auth.v3.Authorization/Check`.
    Grpc {
        /// The request's headers that it is told; empty: all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        allowed_headers: Vec<String>,
    },
    /// By HTTP, with the request's method, path, host, and `authorization`. 200 lets it pass; every other answer goes to
    /// the client.
    Http {
        /// What is put before the request's path.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        path_prefix: String,
        /// More headers of the request that it is told.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        allowed_headers: Vec<String>,
        /// Headers of its answer that the request gets; empty: all but those of the connection, and the host.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        allowed_response_headers: Vec<String>,
    },
}
