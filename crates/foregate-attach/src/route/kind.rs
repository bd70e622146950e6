//! Kinds of routes: what each of them says, in a form that the rest of this crate is written for once.

use std::any::Any;
use std::fmt;

use foregate_api::gateway::{BackendRef, HttpRouteRetry, HttpRouteTimeouts, ParentReference, RouteFilter, RouteStatus};
use foregate_api::route::RouteMatch;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Key;
use crate::output::StatusKind;
use crate::problem::Problem;

/// The kinds of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RouteKind {
    Grpc,
    Http,
}

impl RouteKind {
    /// Those that a listener of protocol HTTP or HTTPS takes, in the order in which they are listed.
    pub const HTTP_LISTENERS: [Self; 2] = [Self::Http, Self::Grpc];

    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "GRPCRoute",
            Self::Http => "HTTPRoute",
        }
    }

    /// What requests whose backend can't be resolved are answered; none: 500. For gRPC the standard wants UNAVAILABLE.
    pub const fn unresolved_status(self) -> Option<u16> {
        match self {
            Self::Grpc => Some(503),
            Self::Http => None,
        }
    }

    pub const fn status_kind(self) -> StatusKind {
        match self {
            Self::Grpc => StatusKind::GrpcRoute,
            Self::Http => StatusKind::HttpRoute,
        }
    }
}

/// A route, of any kind. Ordered by namespace first.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RouteId {
    pub key: Key,
    pub kind: RouteKind,
}

impl RouteId {
    /// What comes before all routes of a namespace.
    pub fn first_of(namespace: &std::sync::Arc<str>) -> Self {
        Self { key: Key { namespace: namespace.clone(), name: "".into() }, kind: RouteKind::Grpc }
    }
}

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.key)
    }
}

impl fmt::Debug for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a kind of route has to say of its objects. An implementation translates; it decides nothing.
pub(crate) trait Route: Any + fmt::Debug + Send + Sync {
    fn metadata(&self) -> &ObjectMeta;
    fn parent_refs(&self) -> &[ParentReference];
    fn hostnames(&self) -> &[String];
    fn status(&self) -> Option<&RouteStatus>;
    /// Its rules, with the defaults of its kind.
    fn rules(&self) -> Vec<Rule<'_>>;
    /// Whether another object of this kind has the same spec.
    fn has_spec_of(&self, other: &dyn Route) -> bool;
}

/// One rule.
pub(crate) struct Rule<'a> {
    /// Where it is written.
    pub path: String,
    pub name: Option<&'a str>,
    /// Never empty.
    pub matches: Result<Vec<RouteMatch>, Problem>,
    pub filters: &'a [RouteFilter],
    pub backends: &'a [BackendRef<RouteFilter>],
    pub timeouts: Option<&'a HttpRouteTimeouts>,
    pub retry: Option<&'a HttpRouteRetry>,
}
