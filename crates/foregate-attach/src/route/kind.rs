//! Kinds of routes: what each of them says, in a form that the rest of this crate is written for once.

use std::any::Any;
use std::fmt;

use foregate_api::gateway::{
    BackendRef, BackendTarget, HttpRouteRetry, HttpRouteTimeouts, NoFilter, ParentReference, RouteFilter, RouteStatus,
    SessionPersistence,
};
use foregate_api::route::{RouteMatch, RouteProtocol};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::object::{HasSpec, HasStatus};

use crate::Key;
use crate::output::StatusKind;
use crate::problem::Problem;

/// The kinds of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RouteKind {
    Grpc,
    Http,
    Tcp,
    Tls,
    Udp,
}

impl RouteKind {
    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "GRPCRoute",
            Self::Http => "HTTPRoute",
            Self::Tcp => "TCPRoute",
            Self::Tls => "TLSRoute",
            Self::Udp => "UDPRoute",
        }
    }

    /// What requests whose backend can't be resolved are answered; none: 500. For gRPC the standard wants UNAVAILABLE.
    pub const fn unresolved_status(self) -> Option<u16> {
        match self {
            Self::Grpc => Some(503),
            Self::Http | Self::Tcp | Self::Tls | Self::Udp => None,
        }
    }

    /// What it routes.
    pub const fn protocol(self) -> RouteProtocol {
        match self {
            Self::Grpc | Self::Http => RouteProtocol::Http,
            Self::Tcp => RouteProtocol::Tcp,
            Self::Tls => RouteProtocol::Tls,
            Self::Udp => RouteProtocol::Udp,
        }
    }

    /// Whether a listener has room for one route only: nothing tells the connections of two apart.
    pub const fn is_alone(self) -> bool {
        matches!(self, Self::Tcp | Self::Udp)
    }

    pub const fn status_kind(self) -> StatusKind {
        match self {
            Self::Grpc => StatusKind::GrpcRoute,
            Self::Http => StatusKind::HttpRoute,
            Self::Tcp => StatusKind::TcpRoute,
            Self::Tls => StatusKind::TlsRoute,
            Self::Udp => StatusKind::UdpRoute,
        }
    }
}

/// The scope of default Gateways that all routes which ask for them attach to.
pub(crate) const DEFAULT_SCOPE: &str = "All";

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

/// What a kind of route has to say of its spec. An implementation translates; it decides nothing.
pub(crate) trait RouteSpec: PartialEq {
    fn parent_refs(&self) -> &[ParentReference];
    /// `useDefaultGateways`.
    fn use_default_gateways(&self) -> Option<&str>;
    /// None for kinds that have none.
    fn hostnames(&self) -> &[String];
    /// Its rules, with the defaults of its kind; `own` is its namespace.
    fn rules<'a>(&'a self, own: &'a str) -> Vec<Rule<'a>>;
}

/// A route, whatever its kind.
pub(crate) trait Route: Any + fmt::Debug + Send + Sync {
    fn metadata(&self) -> &ObjectMeta;
    fn parent_refs(&self) -> &[ParentReference];
    /// Whether it attaches to the default Gateways, too.
    fn wants_defaults(&self) -> bool;
    fn hostnames(&self) -> &[String];
    fn status(&self) -> Option<&RouteStatus>;
    fn rules(&self) -> Vec<Rule<'_>>;
    /// Whether another object of this kind has the same spec.
    fn has_spec_of(&self, other: &dyn Route) -> bool;
}

impl<K> Route for K
where
    K: Resource + HasSpec<Spec: RouteSpec> + HasStatus<Status = RouteStatus> + Any + fmt::Debug + Send + Sync,
{
    fn metadata(&self) -> &ObjectMeta {
        self.meta()
    }

    fn parent_refs(&self) -> &[ParentReference] {
        self.spec().parent_refs()
    }

    fn wants_defaults(&self) -> bool {
        self.spec().use_default_gateways() == Some(DEFAULT_SCOPE)
    }

    fn hostnames(&self) -> &[String] {
        self.spec().hostnames()
    }

    fn status(&self) -> Option<&RouteStatus> {
        HasStatus::status(self)
    }

    fn rules(&self) -> Vec<Rule<'_>> {
        self.spec().rules(self.meta().namespace.as_deref().unwrap_or_default())
    }

    fn has_spec_of(&self, other: &dyn Route) -> bool {
        (other as &dyn Any).downcast_ref::<Self>().is_some_and(|other| self.spec() == other.spec())
    }
}

/// One rule.
pub(crate) struct Rule<'a> {
    /// Where it is written.
    pub path: String,
    pub name: Option<&'a str>,
    /// Never empty for HTTP, always for all else.
    pub matches: Result<Vec<RouteMatch>, Problem>,
    pub filters: &'a [RouteFilter],
    pub backends: Vec<RuleBackend<'a>>,
    pub timeouts: Option<&'a HttpRouteTimeouts>,
    pub retry: Option<&'a HttpRouteRetry>,
    pub session: Option<&'a SessionPersistence>,
}

/// A backend of a rule.
pub(crate) struct RuleBackend<'a> {
    pub target: BackendTarget<'a>,
    pub weight: Option<u32>,
    pub filters: &'a [RouteFilter],
}

impl<'a> RuleBackend<'a> {
    /// One with filters of its own.
    pub fn http(given: &'a BackendRef<RouteFilter>, own: &'a str) -> Self {
        Self { target: given.target(own), weight: given.weight, filters: &given.filters }
    }

    /// One of a kind without filters.
    pub fn plain(given: &'a BackendRef<NoFilter>, own: &'a str) -> Self {
        Self { target: given.target(own), weight: given.weight, filters: &[] }
    }
}
