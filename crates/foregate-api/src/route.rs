//! GatewayRoute: one route of one workload cluster, with its effective values.
//!
//! One form for every kind of route: a GRPCRoute's method match is a path match here, so that nothing downstream is
//! written once per kind.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Origin;
use crate::backend::SessionPersistence;
use crate::external_auth::ExternalAuth;

/// One route, attached to the listeners of one or more claims.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "GatewayRoute",
    namespaced,
    status = "GatewayRouteStatus",
    derive = "PartialEq",
    shortname = "gwroute",
    category = "foregate",
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.origin.kind"}"#,
    printcolumn = r#"{"name":"Namespace","type":"string","jsonPath":".spec.origin.namespace"}"#,
    printcolumn = r#"{"name":"Name","type":"string","jsonPath":".spec.origin.name"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRouteSpec {
    /// The user's route.
    pub origin: Origin,
    /// What it routes.
    #[serde(default, skip_serializing_if = "RouteProtocol::is_http")]
    pub protocol: RouteProtocol,
    /// Where it is attached; one entry per claim and listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Its rules, in the user's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RouteRule>,
}

/// What a route routes. All but HTTP have exactly one rule, without matches and filters: a connection is routed by its
/// listener's port, for TLS by its server name as well (the host names of the attachment).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RouteProtocol {
    /// Requests: HTTPRoute, GRPCRoute.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// TLS connections: TLSRoute. The listener says whether TLS ends at the gateway.
    #[serde(rename = "TLS")]
    Tls,
    /// TCP connections: TCPRoute.
    #[serde(rename = "TCP")]
    Tcp,
    /// Datagrams: UDPRoute.
    #[serde(rename = "UDP")]
    Udp,
}

impl RouteProtocol {
    /// Whether it is the usual one.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub const fn is_http(&self) -> bool {
        matches!(self, Self::Http)
    }
}

/// One listener that takes a route, with the host names that remain after intersection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Name of the GatewayClaim, in this namespace.
    pub claim: String,
    /// Name of the listener in the claim.
    pub listener: String,
    /// Effective host names; `*` for any.
    pub hostnames: Vec<RouteHostname>,
}

/// A host name that a route serves on a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteHostname {
    /// The intersection of the route's and the listener's: the virtual host's domain.
    pub effective: String,
    /// The route's own, which decides precedence (feature GatewayRouteHostnameIntersectionPrecedence); `*` for none.
    pub original: String,
}

/// One rule: what it matches, what it does, where it sends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteRule {
    /// The user's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Any of these; never empty for HTTP, empty for all else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<RouteMatch>,
    /// In order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<RouteFilter>,
    /// Where to; empty without a redirect answers `unresolvedStatus`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<RouteBackend>,
    /// What the share of a backend that can't be resolved answers: 500 (none), or 503, which gRPC clients read as
    /// UNAVAILABLE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unresolved_status: Option<u16>,
    /// The whole request, in milliseconds; 0: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout_millis: Option<u64>,
    /// One attempt at a backend, in milliseconds; 0: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_timeout_millis: Option<u64>,
    /// Retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Keeps a client with the endpoint that answered it first; goes before that of the backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// All of these must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteMatch {
    /// The path; none matches all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The method, e.g. `GET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<ValueMatch>,
    /// Query parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<ValueMatch>,
}

/// How a path is matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathMatch {
    /// How.
    #[serde(rename = "type")]
    pub kind: PathMatchKind,
    /// What with.
    pub value: String,
}

/// The ways to match a path (Gateway API `PathMatchType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathMatchKind {
    /// Byte for byte.
    Exact,
    /// By whole path elements: `/a` takes `/a` and `/a/b`, not `/ab`.
    PathPrefix,
    /// RE2, the whole path.
    RegularExpression,
}

/// A header or query parameter to match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueMatch {
    /// Its name.
    pub name: String,
    /// How.
    #[serde(rename = "type", default)]
    pub kind: ValueMatchKind,
    /// What with.
    pub value: String,
}

/// The ways to match a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ValueMatchKind {
    /// Byte for byte.
    #[default]
    Exact,
    /// RE2, the whole value.
    RegularExpression,
}

/// What a rule does to a request or its response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RouteFilter {
    /// Changes request headers.
    RequestHeaders(HeaderEdit),
    /// Changes response headers.
    ResponseHeaders(HeaderEdit),
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Changes host or path on the way to the backend.
    Rewrite(Rewrite),
    /// Sends a copy, whose answer is dropped.
    Mirror(Mirror),
    /// Answers browsers that ask whether another site's page may see the response (the Fetch standard's CORS
    /// protocol).
    Cors(Cors),
    /// Asks a service whether the request may pass.
    ExternalAuth(ExternalAuth),
}

/// Who may read responses across origins. Lists hold what the user wrote: `*` stands for all where the standard says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Origins, e.g. `https://example.com`, `https://*.example.com` or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<String>,
    /// Whether credentials may be sent.
    #[serde(default)]
    pub allow_credentials: bool,
    /// Methods, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<String>,
    /// Request headers, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Response headers that pages may read, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// How long the answer may be kept, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u32>,
}

/// Changes to headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderEdit {
    /// Overwrites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<Header>,
    /// Appends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<Header>,
    /// Removes, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A redirect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathEdit>,
    /// Port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status_code: u16,
}

/// A rewrite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rewrite {
    /// Host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathEdit>,
}

/// A new path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PathEdit {
    /// Instead of the whole path.
    ReplaceFullPath(String),
    /// Instead of the prefix that matched.
    ReplacePrefixMatch(String),
}

/// A mirror: `numerator` of `denominator` requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// Name of the GatewayBackend.
    pub backend: String,
    /// Share of requests.
    pub numerator: u32,
    /// Of these.
    pub denominator: u32,
}

/// A backend of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteBackend {
    /// Name of the GatewayBackend; none: the reference can't be resolved, and its share answers `unresolvedStatus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Its share, 0 to 1,000,000.
    pub weight: u32,
    /// Filters for this backend only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<RouteFilter>,
}

/// Retries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// After the first attempt.
    pub attempts: u32,
    /// Response codes that are tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<u16>,
    /// Least time before the next attempt, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_millis: Option<u64>,
}

/// What the platform says of a route: by exception only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRouteStatus {
    /// `origin.generation` that this describes.
    #[serde(default)]
    pub origin_generation: i64,
    /// `Accepted` False with the reason, when translation or an engine refused it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
