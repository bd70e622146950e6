//! What `explain` answers.

use std::fmt;

use serde::Serialize;

use super::Request;

/// What happens to a request, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What was asked.
    pub request: Request,
    /// The request as routes see it; none: it doesn't come so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// Who takes the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<ListenerChoice>,
    /// Who takes the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_host: Option<VirtualHostChoice>,
    /// Who takes the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteChoice>,
    /// What happens.
    pub outcome: Outcome,
    /// Routes that don't take it, and why not: first those that come nearest, of equals in the order in which they are
    /// looked at.
    pub near_misses: Vec<NearMiss>,
    /// What this answer can't know, e.g. shares of requests that are drawn by lot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caveats: Vec<String>,
}

impl Explanation {
    pub(super) fn new(request: &Request) -> Self {
        Self {
            request: request.clone(),
            seen: None,
            listener: None,
            virtual_host: None,
            route: None,
            outcome: Outcome::NoListener { reason: String::new() },
            near_misses: Vec::new(),
            caveats: Vec::new(),
        }
    }

    /// The status that the gateway itself answers with; none: a backend answers, or nobody does.
    pub fn status(&self) -> Option<u16> {
        match &self.outcome {
            Outcome::NoListener { .. } | Outcome::NoFilterChain { .. } | Outcome::Carry { .. } => None,
            Outcome::Refused { status, .. } | Outcome::Redirect { status, .. } | Outcome::Respond { status, .. } => {
                Some(*status)
            }
            Outcome::NotFound { .. } => Some(404),
            Outcome::Forward(forward) => match forward.backends.as_slice() {
                [] => Some(503),
                [first, rest @ ..] => first.status.filter(|status| rest.iter().all(|it| it.status == Some(*status))),
            },
        }
    }
}

/// A request in its normal form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The host by which a virtual host is chosen: in lower case, without a port where ports are ignored.
    pub host: String,
    /// The path, without the query.
    pub path: String,
    /// The query, without `?`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// The listener that takes a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerChoice {
    /// Its name, e.g. `https-443`.
    pub name: String,
    /// Where it is bound, e.g. `127.100.0.1:8443`.
    pub addresses: Vec<String>,
    /// Names in the TLS handshake that the filter chain is for; empty: all others.
    pub server_names: Vec<String>,
    /// The route configuration; empty: there are no requests.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route_configuration: String,
}

/// The virtual host that takes a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualHostChoice {
    /// Its name, e.g. `http-80/*.example.com`.
    pub name: String,
    /// The domain that matched.
    pub domain: String,
    /// Other domains that match as well, and are less specific.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

/// The route that takes a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteChoice {
    /// Its name in Envoy's configuration, logs and metrics.
    pub name: String,
    /// The user's route; none: it isn't one's, but a patch's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<RouteOrigin>,
    /// What it asks of a request.
    pub matches: String,
}

/// A match of a rule of a user's route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteOrigin {
    /// E.g. `HTTPRoute`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The rule's name, or its position from 0.
    pub rule: String,
    /// The match's position in its rule, from 0.
    pub match_index: u32,
}

impl RouteOrigin {
    /// Reads the name that translation gives to an Envoy route.
    pub fn parse(route_name: &str) -> Option<Self> {
        let mut parts = route_name.splitn(4, '/');
        let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        let (rule, index) = parts.next()?.rsplit_once('/')?;
        Some(Self {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            rule: rule.to_owned(),
            match_index: index.parse().ok()?,
        })
    }
}

impl fmt::Display for RouteOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, rule, match_index } = self;
        write!(f, "{kind} {namespace}/{name}, rule {rule}, match {match_index}")
    }
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// Nobody listens there: the connection is refused.
    NoListener {
        /// Why, and who listens.
        reason: String,
    },
    /// The listener has nothing for it, and ends the connection.
    NoFilterChain {
        /// Why.
        reason: String,
    },
    /// Answered before a route sees it.
    Refused {
        /// With what.
        status: u16,
        /// Why.
        reason: String,
    },
    /// Answered with 404: no virtual host or no route takes it.
    NotFound {
        /// Which of them.
        reason: String,
    },
    /// The client is sent elsewhere.
    Redirect {
        /// With what.
        status: u16,
        /// Where to.
        location: String,
    },
    /// Answered by the gateway.
    Respond {
        /// With what.
        status: u16,
        /// Why, where that is known.
        reason: String,
    },
    /// Sent to a backend.
    Forward(Box<Forward>),
    /// A connection, or datagrams, carried to a backend as they are. A share without endpoints is closed or dropped.
    Carry {
        /// Who may get it.
        backends: Vec<Share>,
        /// TLS ends at the gateway.
        ends_tls: bool,
    },
}

/// A request on its way to a backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forward {
    /// Who may get it.
    pub backends: Vec<Share>,
    /// `Host` as a backend sees it, unless its share has one of its own.
    pub host: String,
    /// Path and query as a backend sees them.
    pub path: String,
    /// Changes to headers, in the order in which they are made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_headers: Vec<HeaderChange>,
    /// Changes to the response's headers, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<HeaderChange>,
    /// Clusters that get a copy, with their percentage.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<(String, f64)>,
    /// For the whole request; 0: for ever.
    pub timeout_millis: u64,
    /// Further attempts at most.
    pub retries: u32,
}

/// A backend's share.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The cluster: the GatewayBackend's name and a fingerprint of how connections are made.
    pub cluster: String,
    /// Of 100.
    pub percent: f64,
    /// Its endpoints, e.g. `10.0.0.1:8080`.
    pub endpoints: Vec<String>,
    /// `Host` for this one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What is answered instead of a backend: 500 where the reference can't be resolved, 503 where nobody is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Changes to headers of requests to this one alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_headers: Vec<HeaderChange>,
    /// Changes to headers of its responses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<HeaderChange>,
}

impl Share {
    /// Name of its GatewayBackend.
    pub fn backend(&self) -> &str {
        self.cluster.rsplit_once('/').map_or(&self.cluster, |(backend, _)| backend)
    }
}

/// A change to a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HeaderChange {
    /// Removed.
    Remove(String),
    /// Overwritten: name and value.
    Set(String, String),
    /// Appended: name and value.
    Add(String, String),
    /// Written if there is none: name and value.
    Default(String, String),
}

impl fmt::Display for HeaderChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remove(name) => write!(f, "remove {name}"),
            Self::Set(name, value) => write!(f, "set {name}: {value}"),
            Self::Add(name, value) => write!(f, "add {name}: {value}"),
            Self::Default(name, value) => write!(f, "add if missing {name}: {value}"),
        }
    }
}

/// A route that doesn't take the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NearMiss {
    /// Which.
    #[serde(flatten)]
    pub route: RouteChoice,
    /// Its virtual host's name.
    pub virtual_host: String,
    /// Why not; never empty.
    pub reasons: Vec<Reason>,
}

/// Why a route doesn't take a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// What is to blame.
    pub part: Part,
    /// In words.
    pub text: String,
    /// Little is missing.
    #[serde(skip)]
    pub(super) near: bool,
}

impl Reason {
    pub(super) fn new(part: Part, text: impl Into<String>) -> Self {
        Self { part, text: text.into(), near: false }
    }
}

/// What a route looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// It matches; another comes first.
    Precedence,
    /// A query parameter.
    Query,
    /// A header.
    Header,
    /// The method.
    Method,
    /// The path.
    Path,
    /// The host: another virtual host has it.
    Host,
    /// Anything else.
    Other,
}

#[cfg(test)]
mod tests {
    use super::RouteOrigin;

    #[test]
    fn names_of_routes_lead_to_rules() {
        let origin = |name| RouteOrigin::parse(name).map(|origin| origin.to_string());
        assert_eq!(origin("HTTPRoute/shop/web/0/2").as_deref(), Some("HTTPRoute shop/web, rule 0, match 2"));
        assert_eq!(
            origin("GRPCRoute/shop/web/by-name/0").as_deref(),
            Some("GRPCRoute shop/web, rule by-name, match 0")
        );
        for other in ["", "mine", "a/b/c", "a/b/c/d", "a/b/c/d/e"] {
            assert_eq!(origin(other), None, "{other}");
        }
    }
}
