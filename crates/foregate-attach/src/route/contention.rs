//! What only one route can have of a listener: the oldest gets it.
//!
//! A TCPRoute or UDPRoute has a listener alone. Host names are contended for by routes of different kinds:
//! The standard lets an implementation reject one of an HTTPRoute and a GRPCRoute that have hosts in common; the older
//! is accepted then (or the first by namespace and name). Here they clash where they have a host name in common: rules of
//! both would be mixed in one virtual host. An HTTPRoute for every host and a GRPCRoute for one of them get along: the
//! more specific name takes its requests. A route that lost against an older one takes no host name from a younger one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use super::kind::{RouteId, RouteKind};
use crate::gateway::ParentId;

/// A listener of a Gateway or ListenerSet.
pub(crate) type Place = (ParentId, Arc<str>);

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

/// Before everybody.
static FIRST: LazyLock<Seniority> =
    LazyLock::new(|| Seniority { created: i64::MIN, id: RouteId::first_of(&"".into()) });

/// Who wants which host, with whether they have it.
type Hosts = BTreeMap<(Arc<str>, Seniority), bool>;

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

    /// The oldest rival that is older and has one of the hosts.
    pub fn winner(&self, who: &Seniority, place: &Place, hosts: &[Arc<str>]) -> Option<&RouteId> {
        let mut found: Option<&Seniority> = None;
        self.others(who, place, hosts, |other, has| {
            if has && other < who {
                found = Some(found.map_or(other, |found| found.min(other)));
            }
        });
        found.map(|found| &found.id)
    }

    /// The younger rivals that want one of the hosts.
    pub fn younger(&self, who: &Seniority, want: &Want) -> Vec<RouteId> {
        let mut found = Vec::new();
        self.others(who, &want.place, &want.hosts, |other, _| {
            if other > who {
                found.push(other.id.clone());
            }
        });
        found
    }

    /// Visits the rivals that want one of these host names: the routes of other kinds; all routes where one has a
    /// listener alone.
    fn others<'a>(
        &'a self,
        who: &Seniority,
        place: &Place,
        hosts: &[Arc<str>],
        mut visit: impl FnMut(&'a Seniority, bool),
    ) {
        let kinds = self.places.get(place).into_iter().flatten();
        for (_, theirs) in kinds.filter(|(kind, _)| kind.is_alone() || **kind != who.id.kind) {
            for host in hosts {
                let first = (host.clone(), FIRST.clone());
                let same = theirs.range(first..).take_while(|((name, _), _)| name == host);
                // It may be there itself, with the age of an earlier version.
                let rivals = same.filter(|((_, other), _)| other.id != who.id);
                rivals.for_each(|((_, other), has)| visit(other, *has));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::Key;

    fn route(name: &str, kind: RouteKind, created: i64) -> Seniority {
        Seniority { created, id: RouteId { key: Key::new("n", name), kind } }
    }

    fn place() -> Place {
        (ParentId::gateway(Key::new("n", "g")), "l".into())
    }

    fn want(hosts: &[&str], has: bool) -> Want {
        Want { place: place(), hosts: hosts.iter().map(|&h| h.into()).collect(), has }
    }

    #[test]
    fn the_older_of_another_kind_wins_if_it_has_the_host() {
        let mut contention = Contention::default();
        let old = route("old", RouteKind::Http, 1);
        contention.add(&old, &want(&["a.test"], true));
        let hosts = vec![Arc::<str>::from("a.test")];
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

    #[test]
    fn a_tcp_route_has_a_listener_alone() {
        let mut contention = Contention::default();
        let (old, young) = (route("old", RouteKind::Tcp, 1), route("young", RouteKind::Tcp, 2));
        contention.add(&old, &want(&["*"], true));
        contention.add(&young, &want(&["*"], false));
        let winner = |who: &Seniority| contention.winner(who, &place(), &["*".into()]).cloned();
        assert_eq!(winner(&young), Some(old.id.clone()));
        assert_eq!(winner(&old), None);
        assert_eq!(contention.younger(&old, &want(&["*"], true)), std::slice::from_ref(&young.id));
    }

    #[test]
    fn only_equal_names_clash() {
        let mut contention = Contention::default();
        let (old, young) = (route("old", RouteKind::Http, 1), route("young", RouteKind::Grpc, 2));
        contention.add(&old, &want(&["*", "*.a.test", "b.test"], true));
        for (host, clashes) in
            [("*", true), ("*.a.test", true), ("b.test", true), ("x.a.test", false), ("a.test", false)]
        {
            assert_eq!(contention.winner(&young, &place(), &[host.into()]).is_some(), clashes, "{host}");
            let mut both = Contention::default();
            both.add(&young, &want(&[host], false));
            let told = both.younger(&old, &want(&["*", "*.a.test", "b.test"], true));
            assert_eq!(told.len(), usize::from(clashes), "{host}");
        }
    }
}
