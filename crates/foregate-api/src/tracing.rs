//! Distributed tracing of a gateway's requests, with every reference resolved (XTelemetryPolicy, GEP-4768).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Shares are counted in millionths.
pub const MILLION: u32 = 1_000_000;

/// How requests are traced: spans go to a collector over OTLP (gRPC), with W3C trace context.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// Name of the GatewayBackend that gets the spans.
    pub backend: String,
    /// So many of a million new traces are recorded.
    #[schemars(range(max = 1_000_000))]
    pub sampling: u32,
    /// Of the traces that a request's parent has recorded, so many of a million are recorded here, and none that it has
    /// not; not less than [`Self::sampling`]. None: what parents have decided doesn't count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000))]
    pub parent_sampling: Option<u32>,
    /// `service.name` of the spans' resource.
    pub service_name: String,
    /// What the span of a request is called; none: as the engine calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_name: Option<String>,
    /// What spans say besides what they always say; names are unique.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<TracingAttribute>,
}

/// An attribute of spans.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracingAttribute {
    /// What it is called.
    pub name: String,
    /// What it says.
    pub value: TracingValue,
}

/// What an attribute says. Without a value there is no attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TracingValue {
    /// This.
    Literal(String),
    /// A header of the request.
    Header(String),
    /// What OpenTelemetry means by a name.
    Standard(StandardAttribute),
}

/// Attributes of OpenTelemetry's semantic conventions that gateways know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StandardAttribute {
    /// The client's address, as far as proxies before the gateway are trusted.
    #[serde(rename = "client.address")]
    ClientAddress,
    /// The method.
    #[serde(rename = "http.request.method")]
    RequestMethod,
    /// Bytes of the request's body.
    #[serde(rename = "http.request.body.size")]
    RequestBodySize,
    /// The status; 0 without a response.
    #[serde(rename = "http.response.status_code")]
    ResponseStatusCode,
    /// The gateway's own address of the connection.
    #[serde(rename = "network.local.address")]
    LocalAddress,
    /// And its port.
    #[serde(rename = "network.local.port")]
    LocalPort,
    /// The address of the connection's other end.
    #[serde(rename = "network.peer.address")]
    PeerAddress,
    /// And its port.
    #[serde(rename = "network.peer.port")]
    PeerPort,
    /// The name that a client of TLS asks for.
    #[serde(rename = "tls.client.server_name")]
    TlsServerName,
    /// The path, without the query.
    #[serde(rename = "url.path")]
    UrlPath,
    /// `http` or `https`.
    #[serde(rename = "url.scheme")]
    UrlScheme,
    /// What the client says that it is.
    #[serde(rename = "user_agent.original")]
    UserAgent,
}

impl StandardAttribute {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 12] = [
        ("client.address", Self::ClientAddress),
        ("http.request.method", Self::RequestMethod),
        ("http.request.body.size", Self::RequestBodySize),
        ("http.response.status_code", Self::ResponseStatusCode),
        ("network.local.address", Self::LocalAddress),
        ("network.local.port", Self::LocalPort),
        ("network.peer.address", Self::PeerAddress),
        ("network.peer.port", Self::PeerPort),
        ("tls.client.server_name", Self::TlsServerName),
        ("url.path", Self::UrlPath),
        ("url.scheme", Self::UrlScheme),
        ("user_agent.original", Self::UserAgent),
    ];

    /// The one of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(own, _)| *own == name).map(|(_, attribute)| attribute)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_are_those_that_are_written() {
        for (name, attribute) in StandardAttribute::ALL {
            assert_eq!(serde_json::to_value(attribute).unwrap(), name);
            assert_eq!(StandardAttribute::of(name), Some(attribute));
        }
        assert_eq!(StandardAttribute::of("gen_ai.tool.name"), None);
    }
}
