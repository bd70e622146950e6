//! The order of routes in a virtual host: the Gateway API's precedence, as a total order.

use std::cmp::Reverse;
use std::sync::Arc;

use foregate_api::Origin;

use super::hostname::HostRank;
use crate::ir::{Match, Path};

/// Precedence of a match in itself. Smaller comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MatchRank {
    /// Kind, then longer before shorter.
    path: (u8, Reverse<u32>),
    /// False (there is one) before true.
    no_method: bool,
    headers: Reverse<u32>,
    query: Reverse<u32>,
}

impl MatchRank {
    /// Exact before prefix before regular expression before a match of every path. The Gateway API leaves regular
    /// expressions open; after `/` they could never match.
    pub(crate) fn of(matched: &Match) -> Self {
        let path = match &matched.path {
            Path::Exact(path) => (0, Reverse(count(path.len()))),
            Path::Prefix(path) => (1, Reverse(count(path.len()))),
            Path::Regex(pattern) => (2, Reverse(count(pattern.len()))),
            Path::Any => (3, Reverse(0)),
        };
        Self {
            path,
            no_method: matched.method.is_none(),
            headers: Reverse(count(matched.headers.len())),
            query: Reverse(count(matched.query.len())),
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// What decides between routes with equal matches: the oldest, then namespace and name. The rest makes it total.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seniority {
    /// Seconds since 1970; a route without one is the youngest.
    created: i64,
    namespace: String,
    name: String,
    kind: String,
    cluster: String,
    uid: String,
}

impl Seniority {
    pub(crate) fn of(origin: &Origin) -> Self {
        Self {
            created: origin.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second()),
            namespace: origin.namespace.clone(),
            name: origin.name.clone(),
            kind: origin.kind.clone(),
            cluster: origin.cluster.clone(),
            uid: origin.uid.clone(),
        }
    }
}

/// Place of one Envoy route in its virtual host. Total: no two routes of a virtual host have an equal one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order {
    /// Of the route's own host name (feature GatewayRouteHostnameIntersectionPrecedence).
    pub hostname: HostRank,
    pub matched: MatchRank,
    pub seniority: Arc<Seniority>,
    /// Position of the rule in the route, then of the match in the rule.
    pub position: (u32, u32),
}
