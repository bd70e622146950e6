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
    /// supported take no part.
    pub fn place(&mut self, listeners: &mut [ListenerVerdict]) {
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
