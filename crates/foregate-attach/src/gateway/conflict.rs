//! Listeners of one Gateway and its ListenerSets that can't be told apart.
//!
//! Per port and transport (a port may carry TCP and UDP at once) listeners are of one group: HTTP; HTTPS and TLS,
//! which SNI tells apart; TCP; UDP. In a group of the first two each hostname is there once, and one listener may have
//! none: it matches last. The others have a port to themselves.
//!
//! The standard wants no winner among the listeners of one object, and the object of precedence to win among several:
//! the Gateway, then its ListenerSets by age and name.

use std::collections::{HashMap, HashSet};

use foregate_api::claim::ListenerProtocol;
use foregate_api::gateway::conditions::reason;

use super::ListenerVerdict;
use crate::problem::Problem;

/// Listeners that can share a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Http,
    Secure,
    Tcp,
    Udp,
}

impl Group {
    fn of(listener: &ListenerVerdict) -> Option<Self> {
        Some(match listener.protocol?.name {
            ListenerProtocol::Http => Self::Http,
            ListenerProtocol::Https | ListenerProtocol::Tls => Self::Secure,
            ListenerProtocol::Tcp => Self::Tcp,
            ListenerProtocol::Udp => Self::Udp,
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Secure => "HTTPS and TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }

    /// Whether host names tell its listeners apart.
    fn is_shared(self) -> bool {
        matches!(self, Self::Http | Self::Secure)
    }
}

/// A port of TCP (false) or UDP (true).
type Port = (u16, bool);

/// What objects of precedence have.
#[derive(Debug, Default)]
pub(super) struct Taken {
    ports: HashMap<Port, (Group, HashSet<String>)>,
}

impl Taken {
    /// Marks the conflicts of an object's listeners; the others are taken. Listeners of a protocol that isn't
    /// supported take no part. Returns whether anything changed.
    pub fn place(&mut self, listeners: &mut [ListenerVerdict]) -> bool {
        let before: Vec<Option<Problem>> = listeners.iter_mut().map(|listener| listener.conflict.take()).collect();
        let mut ports: HashMap<Port, Vec<usize>> = HashMap::new();
        for (i, listener) in listeners.iter_mut().enumerate() {
            let Some(group) = Group::of(listener) else { continue };
            listener.conflict = self.conflict(group, listener);
            if listener.conflict.is_none() {
                ports.entry(port(group, listener)).or_default().push(i);
            }
        }
        for members in ports.values() {
            mark_among(listeners, members);
        }
        for listener in listeners.iter().filter(|listener| listener.is_valid()) {
            let Some(group) = Group::of(listener) else { continue };
            let (_, hosts) = self.ports.entry(port(group, listener)).or_insert_with(|| (group, HashSet::new()));
            hosts.insert(hostname(listener).to_owned());
        }
        listeners.iter().zip(before).any(|(listener, before)| listener.conflict != before)
    }

    /// Host names that TLS listeners of the same port have in common: a client that reuses a connection for both
    /// meets the settings of one of them only.
    pub fn overlaps(&self) -> Overlaps {
        let mut found = HashSet::new();
        let shared = self.ports.iter().filter(|(_, (group, _))| *group == Group::Secure);
        for ((port, _), (_, hosts)) in shared {
            for host in hosts {
                for wider in wider_names(host).into_iter().filter(|wider| hosts.contains(wider)) {
                    found.insert((*port, host.clone()));
                    found.insert((*port, wider));
                }
            }
        }
        Overlaps(found)
    }

    fn conflict(&self, group: Group, listener: &ListenerVerdict) -> Option<Problem> {
        let (theirs, hosts) = self.ports.get(&port(group, listener))?;
        let who = "the Gateway or an older ListenerSet";
        if *theirs != group {
            let message =
                format!("port {} has listeners of {} of {who}; use another port", listener.port, theirs.as_str());
            return Some(Problem::new(reason::PROTOCOL_CONFLICT, message));
        }
        if !group.is_shared() {
            let message =
                format!("port {} has a listener of {} of {who}; use another port", listener.port, group.as_str());
            return Some(Problem::new(reason::PROTOCOL_CONFLICT, message));
        }
        hosts.contains(hostname(listener)).then(|| {
            let message = format!("port {} has a listener with {} of {who}", listener.port, shown(hostname(listener)));
            Problem::new(reason::HOSTNAME_CONFLICT, message)
        })
    }
}

/// Ports and host names of TLS listeners that overlap with others.
#[derive(Debug, Default)]
pub(super) struct Overlaps(HashSet<(u16, String)>);

impl Overlaps {
    /// Notes it with the listeners that it is true of. Returns whether anything changed.
    pub fn mark(&self, listeners: &mut [ListenerVerdict]) -> bool {
        let mut changed = false;
        for listener in listeners {
            let is_secure = Group::of(listener) == Some(Group::Secure) && listener.is_valid();
            let overlaps = is_secure && self.0.contains(&(listener.port, hostname(listener).to_owned()));
            changed |= listener.overlaps != overlaps;
            listener.overlaps = overlaps;
        }
        changed
    }
}

/// The names of listeners that contain all hosts of a name: none, and wildcards over its domains.
fn wider_names(host: &str) -> Vec<String> {
    if host.is_empty() {
        return Vec::new();
    }
    let domains = host.match_indices('.').filter_map(|(at, _)| host.get(at..));
    let wildcards = domains.map(|domain| format!("*{domain}")).filter(|wildcard| wildcard != host);
    std::iter::once(String::new()).chain(wildcards).collect()
}

/// Marks the conflicts among listeners of one object and one port.
fn mark_among(listeners: &mut [ListenerVerdict], members: &[usize]) {
    let of = |i: usize| listeners.get(i).and_then(|l| Some((Group::of(l)?, hostname(l), l.port)));
    let all: Vec<_> = members.iter().filter_map(|&i| Some((i, of(i)?))).collect();
    let conflicts: Vec<(usize, Problem)> = all
        .iter()
        .filter_map(|(i, (group, host, port))| {
            let mut others = all.iter().filter(|(j, _)| j != i).map(|(_, other)| other);
            if let Some((other, ..)) = others.clone().find(|(other, ..)| other != group) {
                return Some((*i, protocol_conflict(*port, *group, *other)));
            }
            if !group.is_shared() && others.clone().next().is_some() {
                let message = format!("port {port} has several listeners of {}; keep one", group.as_str());
                return Some((*i, Problem::new(reason::PROTOCOL_CONFLICT, message)));
            }
            others.any(|(_, other, _)| other == host).then(|| {
                let message = format!("port {port} has several listeners with {}; keep one", shown(host));
                (*i, Problem::new(reason::HOSTNAME_CONFLICT, message))
            })
        })
        .collect();
    for (i, problem) in conflicts {
        if let Some(listener) = listeners.get_mut(i) {
            listener.conflict = Some(problem);
        }
    }
}

fn port(group: Group, listener: &ListenerVerdict) -> Port {
    (listener.port, group == Group::Udp)
}

fn hostname(listener: &ListenerVerdict) -> &str {
    listener.hostname.as_deref().unwrap_or_default()
}

fn shown(hostname: &str) -> String {
    if hostname.is_empty() { "no hostname".to_owned() } else { format!("hostname {hostname:?}") }
}

fn protocol_conflict(port: u16, one: Group, other: Group) -> Problem {
    // In one order, whoever is told.
    let (first, second) = if (one as u8) < (other as u8) { (one, other) } else { (other, one) };
    let message = format!(
        "port {port} has listeners of {} and of {}; give them ports of their own",
        first.as_str(),
        second.as_str()
    );
    Problem::new(reason::PROTOCOL_CONFLICT, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use foregate_api::gateway::{GatewaySpec, Listener};

    use super::*;
    use crate::Key;
    use crate::gateway::{ParentId, frontend::Frontend, listener};
    use crate::world::World;

    /// Judges listeners of the form `protocol:port:hostname`.
    fn judged(given: &[&str]) -> Vec<ListenerVerdict> {
        let owner = ParentId::gateway(Key::new("default", "gw"));
        let frontend = Frontend::resolve(&World::default(), &owner, &GatewaySpec::default());
        let one = |(i, text): (usize, &&str)| {
            let mut parts = text.splitn(3, ':');
            let protocol = parts.next().unwrap().to_owned();
            let port = parts.next().unwrap().parse().unwrap();
            let hostname = parts.next().map(str::to_owned);
            let listener = Listener { name: i.to_string(), port, protocol, hostname, ..Listener::default() };
            listener::judge(&World::default(), &owner, &frontend, &listener)
        };
        given.iter().enumerate().map(one).collect()
    }

    /// `-`: no conflict; `P` and `H`: of protocols and host names.
    fn letters(listeners: &[ListenerVerdict]) -> String {
        let letter = |l: &ListenerVerdict| match l.conflict.as_ref().map(|problem| problem.reason) {
            None => '-',
            Some(reason::PROTOCOL_CONFLICT) => 'P',
            Some(reason::HOSTNAME_CONFLICT) => 'H',
            Some(other) => unreachable!("{other}"),
        };
        listeners.iter().map(letter).collect()
    }

    #[test]
    fn among_listeners_of_one_object_none_wins() {
        for (given, expected) in [
            (&["HTTP:80", "HTTP:81", "HTTPS:443", "TLS:444", "TCP:1", "UDP:2"][..], "------"),
            (&["HTTP:80", "HTTP:80:a.test", "HTTP:80:*.test", "HTTP:80:*.a.test"], "----"),
            (&["HTTP:80:a.test", "HTTP:80:A.test", "HTTP:80:b.test"], "HH-"),
            (&["HTTP:80", "HTTP:80", "HTTP:80:b.test"], "HH-"),
            (&["HTTP:80", "HTTPS:80:a.test", "TLS:80:b.test"], "PPP"),
            (&["HTTPS:443:a.test", "TLS:443:b.test", "TLS:443"], "---"),
            (&["HTTPS:443:a.test", "TLS:443:a.test", "TLS:443"], "HH-"),
            (&["HTTPS:443", "TLS:443"], "HH"),
            (&["TCP:80", "HTTP:80:a.test", "HTTP:80:b.test"], "PPP"),
            (&["TCP:443", "TLS:443:a.test"], "PP"),
            (&["TCP:53", "UDP:53"], "--"),
            (&["UDP:443", "HTTPS:443", "HTTPS:443:a.test"], "---"),
            (&["TCP:53", "TCP:53", "UDP:53"], "PP-"),
            (&["UDP:53", "UDP:53"], "PP"),
            (&["SCTP:80", "HTTP:80"], "--"),
        ] {
            let mut listeners = judged(given);
            Taken::default().place(&mut listeners);
            assert_eq!(letters(&listeners), expected, "{given:?}");
        }
    }

    #[test]
    fn among_objects_the_earlier_wins() {
        for (first, second, third, expected) in [
            (
                &["HTTP:80:a.test"][..],
                &["HTTP:80:a.test", "HTTP:80:b.test"][..],
                &["HTTP:80:b.test"][..],
                ["-", "H-", "H"],
            ),
            (&["HTTP:80"], &["TCP:80", "HTTP:80:a.test"], &["HTTPS:80", "UDP:80"], ["-", "P-", "P-"]),
            (&["TCP:80"], &["TCP:80", "UDP:80"], &["UDP:80", "HTTP:80"], ["-", "P-", "PP"]),
            // What lost takes nothing from anybody.
            (&["HTTP:80:a.test", "HTTP:80:a.test"], &["HTTP:80:a.test"], &["TCP:80"], ["HH", "-", "P"]),
            (&["HTTP:80"], &["TCP:80", "TCP:81"], &["HTTP:80:a.test", "HTTP:81"], ["-", "P-", "-P"]),
            (&["HTTP:80"], &["HTTP:80:a.test", "HTTP:80:a.test"], &["HTTP:80:a.test"], ["-", "HH", "-"]),
        ] {
            let mut taken = Taken::default();
            let placed = [first, second, third].map(|given| {
                let mut listeners = judged(given);
                taken.place(&mut listeners);
                letters(&listeners)
            });
            assert_eq!(placed, expected, "{first:?} {second:?} {third:?}");
        }
    }

    #[test]
    fn a_gateway_of_64_listeners_with_every_kind_of_conflict() {
        let mut given: Vec<String> = Vec::new();
        let mut expected = String::new();
        for port in 1..=8 {
            let group = match port % 4 {
                0 => (
                    [
                        "HTTP:p:a.test",
                        "HTTP:p:a.test",
                        "HTTP:p:b.test",
                        "HTTP:p",
                        "HTTP:p:*.test",
                        "UDP:p",
                        "NONE:p",
                        "HTTP:p:c.test",
                    ],
                    "HH------",
                ),
                1 => (
                    [
                        "HTTPS:p:a.test",
                        "TLS:p:a.test",
                        "HTTPS:p:b.test",
                        "TLS:p",
                        "TLS:p:*.test",
                        "UDP:p",
                        "UDP:p",
                        "TLS:p:c.test",
                    ],
                    "HH---PP-",
                ),
                2 => (
                    [
                        "HTTP:p:a.test",
                        "HTTPS:p:a.test",
                        "TLS:p:b.test",
                        "TCP:p",
                        "HTTP:p",
                        "UDP:p",
                        "NONE:p",
                        "HTTP:p:a.test",
                    ],
                    "PPPPP--P",
                ),
                _ => (
                    ["TCP:p", "UDP:p", "TCP:p", "UDP:p", "TCP:p", "NONE:p", "HTTP:p:a.test", "HTTP:p:b.test"],
                    "PPPPP-PP",
                ),
            };
            given.extend(group.0.iter().map(|text| text.replace(":p", &format!(":{port}"))));
            expected.push_str(group.1);
        }
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        assert_eq!(given.len(), 64);
        let mut listeners = judged(&given);
        Taken::default().place(&mut listeners);
        assert_eq!(letters(&listeners), expected);
    }

    #[test]
    fn tls_listeners_that_have_hosts_in_common() {
        for (given, expected) in [
            (&["HTTPS:443:foo.test", "HTTPS:443:foo.org", "HTTPS:443:*.test"][..], [true, false, true]),
            (&["HTTPS:443:a.test", "TLS:443", "HTTPS:444:a.test"], [true, true, false]),
            (&["HTTPS:443:a.b.test", "TLS:443:*.b.test", "HTTPS:443:*.test"], [true, true, true]),
            (&["HTTPS:443:*.a.test", "TLS:443:*.b.test", "HTTPS:443:a.test"], [false, false, false]),
            (&["HTTP:80:a.test", "HTTP:80", "HTTP:80:*.test"], [false, false, false]),
        ] {
            let (mut listeners, mut taken) = (judged(given), Taken::default());
            taken.place(&mut listeners);
            taken.overlaps().mark(&mut listeners);
            assert_eq!(listeners.iter().map(|l| l.overlaps).collect::<Vec<_>>(), expected, "{given:?}");
        }
    }
}
