//! Hosts that routes of different kinds want on one listener: the oldest route gets them.
//!
//! The standard lets a listener have routes of one kind only for any host: of an HTTPRoute and a GRPCRoute whose host
//! names have hosts in common, the older is accepted (then the first by namespace and name). A route that lost against
//! an older one takes no host from a younger one.

use std::collections::{BTreeMap, HashMap};
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
    pub hosts: Vec<Host>,
    pub has: bool,
}

/// A host name with its labels reversed, so that names under one are next to each other: `com.example.*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Host(Arc<str>);

impl Host {
    pub fn new(name: &str) -> Self {
        Self(name.rsplit('.').collect::<Vec<_>>().join(".").into())
    }
}

/// Who wants which host, with whether they have it.
type Hosts = BTreeMap<(Host, Seniority), bool>;

/// What all routes want.
#[derive(Debug, Default)]
pub(crate) struct Contention {
    places: HashMap<Place, BTreeMap<RouteKind, Hosts>>,
}

impl Contention {
    pub fn add(&mut self, who: &Seniority, want: &Want) {
        let hosts = self.places.entry(want.place.clone()).or_default().entry(who.id.kind).or_default();
        hosts.extend(want.hosts.iter().map(|host| ((host.clone(), who.clone()), want.has)));
    }

    pub fn remove(&mut self, who: &Seniority, want: &Want) {
        let Some(kinds) = self.places.get_mut(&want.place) else { return };
        let Some(hosts) = kinds.get_mut(&who.id.kind) else { return };
        for host in &want.hosts {
            hosts.remove(&(host.clone(), who.clone()));
        }
        if hosts.is_empty() {
            kinds.remove(&who.id.kind);
        }
        if kinds.is_empty() {
            self.places.remove(&want.place);
        }
    }

    /// The oldest route of another kind that is older and has one of the hosts.
    pub fn winner(&self, who: &Seniority, place: &Place, hosts: &[Host]) -> Option<&RouteId> {
        let mut found: Option<&Seniority> = None;
        self.others(who, place, hosts, |other, has| {
            if has && other < who {
                found = Some(found.map_or(other, |found| found.min(other)));
            }
        });
        found.map(|found| &found.id)
    }

    /// The younger routes of other kinds that want one of the hosts.
    pub fn younger(&self, who: &Seniority, want: &Want) -> Vec<RouteId> {
        let mut found = Vec::new();
        self.others(who, &want.place, &want.hosts, |other, _| {
            if other > who {
                found.push(other.id.clone());
            }
        });
        found
    }

    /// Visits the routes of other kinds that want a host name which has a host in common with one of these.
    fn others<'a>(
        &'a self,
        who: &Seniority,
        place: &Place,
        hosts: &[Host],
        mut visit: impl FnMut(&'a Seniority, bool),
    ) {
        let kinds = self.places.get(place).into_iter().flatten();
        for (_, theirs) in kinds.filter(|(kind, _)| **kind != who.id.kind) {
            for host in hosts {
                overlapping(theirs, host, &mut visit);
            }
        }
    }
}

/// Visits what a host name has hosts in common with.
fn overlapping<'a>(hosts: &'a Hosts, host: &Host, visit: &mut impl FnMut(&'a Seniority, bool)) {
    if let Some(under) = host.0.strip_suffix(ANY) {
        // All names below, itself among them.
        let below = from(hosts, under).take_while(|((name, _), _)| name.0.starts_with(under));
        below.for_each(|((_, who), has)| visit(who, *has));
    } else {
        of(hosts, &host.0, visit);
    }
    // Wildcards above: of each shorter list of labels that it begins with.
    let own = host.0.trim_end_matches(ANY).trim_end_matches('.');
    if own.is_empty() {
        return;
    }
    of(hosts, ANY, visit);
    for (dot, _) in own.match_indices('.') {
        of(hosts, &format!("{}.{ANY}", &own[..dot]), visit);
    }
}

/// Visits those who want just this name.
fn of<'a>(hosts: &'a Hosts, name: &str, visit: &mut impl FnMut(&'a Seniority, bool)) {
    let all = from(hosts, name).take_while(|((host, _), _)| *host.0 == *name);
    all.for_each(|((_, who), has)| visit(who, *has));
}

/// From a name on.
fn from<'a>(hosts: &'a Hosts, name: &str) -> impl Iterator<Item = (&'a (Host, Seniority), &'a bool)> {
    let first = Seniority { created: i64::MIN, id: RouteId::first_of(&"".into()) };
    hosts.range((Host(name.into()), first)..)
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
        Want { place: place(), hosts: hosts.iter().map(|&h| Host::new(h)).collect(), has }
    }

    #[test]
    fn the_older_of_another_kind_wins_if_it_has_the_host() {
        let mut contention = Contention::default();
        let old = route("old", RouteKind::Http, 1);
        contention.add(&old, &want(&["a.test"], true));
        let hosts = vec![Host::new("a.test")];
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
            let meets = contention.winner(&young, &place(), &[Host::new(&b)]).is_some();
            prop_assert_eq!(meets, !intersect(Some(&a), std::slice::from_ref(&b)).is_empty());
            contention.add(&young, &want(&[&b], false));
            let told = contention.younger(&route("old", RouteKind::Http, 1), &want(&[&a], true));
            prop_assert_eq!(told.is_empty(), !meets);
        }
    }
}
