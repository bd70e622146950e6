//! One GatewayRoute at one attachment.

use std::sync::Arc;

use foregate_api::backend::SessionPersistence;
use foregate_api::route::{Cors, HeaderEdit, PathEdit};
use serde::Serialize;

/// A route as it is served by one listener: matches, actions and clusters, every reference resolved.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Kind, namespace and name of the user's route, joined by `/`.
    pub route: String,
    /// In the user's order.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The user's name for it, or its position.
    pub name: String,
    /// Any of these.
    pub matches: Vec<Match>,
    /// Changes to request headers.
    pub request_headers: Headers,
    /// Changes to response headers.
    pub response_headers: Headers,
    /// Who is asked before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<super::Auth>,
    /// What is done.
    pub action: Action,
}

/// Changes to headers; `Host` is never among them.
pub type Headers = HeaderEdit;

/// All of these must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// The path.
    pub path: Path,
    /// The method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers, one entry per name.
    pub headers: Vec<ValueMatch>,
    /// Query parameters, one entry per name.
    pub query: Vec<ValueMatch>,
}

/// How a path is matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Path {
    /// Every path.
    Any,
    /// Byte for byte.
    Exact(String),
    /// By whole elements; no slash at its end.
    Prefix(String),
    /// RE2, the whole path.
    Regex(String),
}

/// A named value to match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValueMatch {
    /// Its name.
    pub name: String,
    /// With what.
    #[serde(flatten)]
    pub value: TextMatch,
}

/// How a text is matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TextMatch {
    /// Byte for byte.
    Exact(String),
    /// RE2, the whole text.
    Regex(String),
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Sent to a backend.
    Forward(Box<Forward>),
    /// Answered with a redirect.
    Redirect(Redirect),
    /// Answered with this status.
    Respond(u16),
}

/// Sent to a backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forward {
    /// Never empty; every weight is positive.
    pub destinations: Vec<Destination>,
    /// What a share without a cluster answers: 500 or 503.
    pub unresolved_status: u16,
    /// The new `Host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The new path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathEdit>,
    /// Who gets copies.
    pub mirrors: Vec<MirrorTarget>,
    /// The whole request, in milliseconds; 0: none.
    pub timeout_millis: u64,
    /// Further attempts; none: one more where nothing can have reached an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Who may read responses across origins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Keeps a client with the endpoint that answered it first, of each destination: which of several gets a request is
    /// decided before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionPersistence>,
}

/// A share of the requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The cluster; none: this share answers [`Forward::unresolved_status`].
    pub cluster: Option<Arc<str>>,
    /// Its share of the sum of all weights.
    pub weight: u32,
    /// The new `Host`, for this destination only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Changes to request headers, for this destination only.
    pub request_headers: Headers,
    /// Changes to response headers, for this destination only.
    pub response_headers: Headers,
    /// The new path, for this destination only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathEdit>,
    /// Who gets copies of what goes to this destination only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<MirrorTarget>,
    /// Who may read this destination's responses across origins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Keeps a client with the endpoint that answered it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionPersistence>,
}

impl Destination {
    /// Whether it asks for what only a whole rule can have.
    pub(crate) const fn is_apart(&self) -> bool {
        self.path.is_some() || !self.mirrors.is_empty() || self.cors.is_some()
    }
}

/// Who gets copies of which share of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MirrorTarget {
    /// The cluster.
    pub cluster: Arc<str>,
    /// Share of requests, at most `denominator`.
    pub numerator: u32,
    /// Of these, at least 1.
    pub denominator: u32,
}

/// Further attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// After the first attempt; 0: there is never another one.
    pub attempts: u32,
    /// Response codes that are tried again, besides failures to connect and resets.
    pub codes: Vec<u16>,
    /// Time before the next attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_millis: Option<u64>,
    /// One attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_timeout_millis: Option<u64>,
}

/// Answered with a redirect; what isn't there stays as in the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    /// `http` or `https`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The port to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathEdit>,
    /// 301, 302, 303, 307 or 308.
    pub status_code: u16,
}
