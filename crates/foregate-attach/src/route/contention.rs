//! Hosts that routes of different kinds want on one listener: the oldest route gets them.
//!
//! The standard lets a listener have routes of one kind only for any host: of an HTTPRoute and a GRPCRoute whose host
//! names have hosts in common, the older is accepted (then the first by namespace and name). A route that lost against
//! an older one takes no host from a younger one.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::kind::{RouteId, RouteKind};
use crate::Key;
use crate::hostname::ANY;

/// A listener of a Gateway.
pub(crate) type Place = (Key, Arc<str>);

/// Age, then name. Smaller wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seniority {
    /// Seconds since 1970; a route without one is the youngest.
    pub created: i64,
    pub id: RouteId,
}

/// What a route wants on a listener, and whether it has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    pub place: Place,
    /// Sorted, each once.
    pub hosts: Vec<Arc<str>>,
    pub has: bool,
}

/// Routes by the hosts that they want, labels reversed (`com.example.*`), with whether they have them.
type Hosts = BTreeMap<String, BTreeMap<Seniority, bool>>;

/// What all routes want.
#[derive(Debug, Default)]
pub(crate) struct Contention {
    places: HashMap<Place, BTreeMap<RouteKind, Hosts>>,
}

impl Contention {
    pub fn add(&mut self, who: &Seniority, want: &Want) {
        let hosts = self.places.entry(want.place.clone()).or_default().entry(who.id.kind).or_default();
        for host in &want.hosts {
            hosts.entry(reversed(host)).or_default().insert(who.clone(), want.has);
        }
    }

    pub fn remove(&mut self, who: &Seniority, want: &Want) {
        let Some(kinds) = self.places.get_mut(&want.place) else { return };
        let Some(hosts) = kinds.get_mut(&who.id.kind) else { return };
        for host in &want.hosts {
            let host = reversed(host);
            if let Some(routes) = hosts.get_mut(&host) {
                routes.remove(who);
                if routes.is_empty() {
                    hosts.remove(&host);
                }
            }
        }
        if hosts.is_empty() {
            kinds.remove(&who.id.kind);
        }
        if kinds.is_empty() {
            self.places.remove(&want.place);
        }
    }

    /// The oldest route of another kind that is older and has one of the hosts.
    pub fn winner(&self, who: &Seniority, place: &Place, hosts: &[Arc<str>]) -> Option<&RouteId> {
        let mut found: Option<&Seniority> = None;
        self.others(who, place, hosts, |routes| {
            let first = routes.range(..who).find(|(_, has)| **has).map(|(first, _)| first);
            found = found.into_iter().chain(first).min();
        });
        found.map(|found| &found.id)
    }

    /// The younger routes of other kinds that want one of the hosts.
    pub fn younger(&self, who: &Seniority, want: &Want) -> Vec<RouteId> {
        let mut found = Vec::new();
        self.others(who, &want.place, &want.hosts, |routes| {
            let after = (Bound::Excluded(who), Bound::Unbounded);
            found.extend(routes.range::<Seniority, _>(after).map(|(younger, _)| younger.id.clone()));
        });
        found
    }

    /// Visits the routes of other kinds by each of their host names that has a host in common with one of these.
    fn others<'a>(
        &'a self,
        who: &Seniority,
        place: &Place,
        hosts: &[Arc<str>],
        mut visit: impl FnMut(&'a BTreeMap<Seniority, bool>),
    ) {
        let kinds = self.places.get(place).into_iter().flatten();
        for (_, theirs) in kinds.filter(|(kind, _)| **kind != who.id.kind) {
            for host in hosts {
                overlapping(theirs, &reversed(host), &mut visit);
            }
        }
    }
}

/// Visits what a host name, labels reversed, has hosts in common with.
fn overlapping<'a>(hosts: &'a Hosts, host: &str, visit: &mut impl FnMut(&'a BTreeMap<Seniority, bool>)) {
    if let Some(under) = host.strip_suffix(ANY) {
        // All names below, itself among them.
        let below = hosts.range::<str, _>((Bound::Included(under), Bound::Unbounded));
        below.take_while(|(name, _)| name.starts_with(under)).for_each(|(_, routes)| visit(routes));
    } else if let Some(routes) = hosts.get(host) {
        visit(routes);
    }
    // Wildcards above: of each longer list of labels that it begins with.
    let own = host.trim_end_matches(ANY).trim_end_matches('.');
    if own.is_empty() {
        return;
    }
    if let Some(routes) = hosts.get(ANY) {
        visit(routes);
    }
    for (dot, _) in own.match_indices('.') {
        if let Some(routes) = hosts.get(&format!("{}.{ANY}", &own[..dot])) {
            visit(routes);
        }
    }
}

/// `*.example.com` → `com.example.*`.
fn reversed(host: &str) -> String {
    host.rsplit('.').collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;
    use crate::hostname::intersect;

    fn route(name: &str, kind: RouteKind, created: i64) -> Seniority {
        Seniority { created, id: RouteId { key: Key::new("n", name), kind } }
    }

    fn place() -> Place {
        (Key::new("n", "g"), "l".into())
    }

    fn want(hosts: &[&str], has: bool) -> Want {
        Want { place: place(), hosts: hosts.iter().map(|&h| h.into()).collect(), has }
    }

    #[test]
    fn the_older_of_another_kind_wins_if_it_has_the_host() {
        let mut contention = Contention::default();
        let old = route("old", RouteKind::Http, 1);
        contention.add(&old, &want(&["a.test"], true));
        let hosts: Vec<Arc<str>> = vec!["a.test".into()];
        let winner = |contention: &Contention, who: &Seniority| contention.winner(who, &place(), &hosts).cloned();
        assert_eq!(winner(&contention, &route("young", RouteKind::Grpc, 2)), Some(old.id.clone()));
        assert_eq!(winner(&contention, &route("older", RouteKind::Grpc, 0)), None);
        assert_eq!(winner(&contention, &route("same", RouteKind::Http, 2)), None);
        assert_eq!(winner(&contention, &route("a", RouteKind::Grpc, 1)), None, "equal age: the first by name");
        contention.remove(&old, &want(&["a.test"], true));
        contention.add(&old, &want(&["a.test"], false));
        assert_eq!(winner(&contention, &route("young", RouteKind::Grpc, 2)), None, "it lost itself");
        contention.remove(&old, &want(&["a.test"], false));
        assert!(contention.places.is_empty());
    }

    proptest! {
        #[test]
        fn names_overlap_where_they_have_an_intersection(
            a in "(\\*\\.)?[ab](\\.[ab]){0,2}|\\*",
            b in "(\\*\\.)?[ab](\\.[ab]){0,2}|\\*",
        ) {
            let mut contention = Contention::default();
            contention.add(&route("old", RouteKind::Http, 1), &want(&[&a], true));
            let young = route("young", RouteKind::Grpc, 2);
            let meets = contention.winner(&young, &place(), &[b.as_str().into()]).is_some();
            prop_assert_eq!(meets, !intersect(Some(&a), std::slice::from_ref(&b)).is_empty());
            contention.add(&young, &want(&[&b], false));
            let told = contention.younger(&route("old", RouteKind::Http, 1), &want(&[&a], true));
            prop_assert_eq!(told.is_empty(), !meets);
        }
    }
}
