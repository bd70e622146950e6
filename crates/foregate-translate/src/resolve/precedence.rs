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

impl Seniority {
    /// The route's name where it is for connections: as those of requests, whose rule and match follow.
    pub(crate) fn route(&self) -> String {
        format!("{}/{}/{}/0/0", self.kind, self.namespace, self.name)
    }
}

/// Place of one Envoy route in its virtual host. Total: no two routes of a virtual host have an equal one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order {
    /// Of the route's own host name (feature GatewayRouteHostnameIntersectionPrecedence).
    pub hostname: HostRank,
    pub matched: MatchRank,
    pub seniority: Arc<Seniority>,
    /// Position of the rule in the route, then of the match in the rule, then of the share in the match.
    pub position: (u32, u32, u32),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;
    use crate::ir::{TextMatch, ValueMatch};

    /// A route as a test sees it: its own host name, its match, its age and name, its position.
    #[derive(Clone, Debug, PartialEq)]
    struct Candidate {
        hostname: String,
        matched: Match,
        created: i64,
        name: String,
        position: (u32, u32, u32),
    }

    impl Candidate {
        fn order(&self) -> Order {
            let (created, name) = (self.created, self.name.clone());
            let empty = String::new;
            let seniority =
                Seniority { created, namespace: empty(), name, kind: empty(), cluster: empty(), uid: empty() };
            Order {
                hostname: HostRank::of(&self.hostname),
                matched: MatchRank::of(&self.matched),
                seniority: Arc::new(seniority),
                position: self.position,
            }
        }
    }

    fn values(count: usize) -> Vec<ValueMatch> {
        let value = |n: usize| ValueMatch { name: n.to_string(), value: TextMatch::Exact(String::new()) };
        (0..count).map(value).collect()
    }

    fn path() -> impl Strategy<Value = Path> {
        prop_oneof![
            Just(Path::Any),
            "/[a-c]{1,2}".prop_map(Path::Exact),
            "/[a-c]{1,3}".prop_map(Path::Prefix),
            "/[a-c]{1,3}".prop_map(Path::Regex),
        ]
    }

    fn matched() -> impl Strategy<Value = Match> {
        (path(), prop::option::of(Just("GET".to_owned())), 0..3usize, 0..3usize).prop_map(
            |(path, method, headers, query)| Match { path, method, headers: values(headers), query: values(query) },
        )
    }

    fn candidate() -> impl Strategy<Value = Candidate> {
        let hostname = prop::sample::select(vec!["*", "*.a.com", "*.b.a.com", "x.a.com", "x.b.a.com"]);
        (hostname, matched(), 0..3i64, "[a-c]", (0..3u32, 0..3u32, 0..3u32)).prop_map(
            |(hostname, matched, created, name, position)| Candidate {
                hostname: hostname.to_owned(),
                matched,
                created,
                name,
                position,
            },
        )
    }

    /// The Gateway API's words, one after the other. True: `a` surely comes first.
    fn precedes(a: &Candidate, b: &Candidate) -> Option<bool> {
        let exact_host = |it: &Candidate| if it.hostname.starts_with('*') { 0 } else { it.hostname.len() };
        let exact_path = |it: &Candidate| matches!(it.matched.path, Path::Exact(_));
        let prefix = |it: &Candidate| if let Path::Prefix(path) = &it.matched.path { path.len() } else { 0 };
        let more = |a: usize, b: usize| (a != b).then_some(a > b);
        more(exact_host(a), exact_host(b))
            .or_else(|| more(a.hostname.len(), b.hostname.len()))
            .or_else(|| more(exact_path(a).into(), exact_path(b).into()))
            .or_else(|| more(prefix(a), prefix(b)))
    }

    proptest! {
        #[test]
        fn total_whatever_the_order_of_input(
            candidates in prop::collection::vec(candidate(), 2..12).prop_shuffle(),
        ) {
            let mut sorted = candidates.clone();
            sorted.sort_by_key(Candidate::order);
            let mut reversed: Vec<Candidate> = candidates.into_iter().rev().collect();
            reversed.sort_by_key(Candidate::order);
            let orders = |list: &[Candidate]| list.iter().map(Candidate::order).collect::<Vec<_>>();
            prop_assert_eq!(orders(&sorted), orders(&reversed));
            for (at, a) in sorted.iter().enumerate() {
                for b in &sorted[at + 1..] {
                    prop_assert_ne!(precedes(a, b), Some(false), "{:?} came before {:?}", a, b);
                }
            }
        }

        #[test]
        fn of_equal_paths_method_headers_query_age_name_position_decide(a in candidate(), b in candidate()) {
            let mut b = b;
            b.hostname.clone_from(&a.hostname);
            b.matched.path = a.matched.path.clone();
            let key = |it: &Candidate| {
                let Match { method, headers, query, .. } = &it.matched;
                (method.is_none(), Reverse(headers.len()), Reverse(query.len()), it.created, it.name.clone(), it.position)
            };
            prop_assert_eq!(a.order().cmp(&b.order()), key(&a).cmp(&key(&b)));
        }
    }
}
