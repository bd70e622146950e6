//! The merge of the listeners of all claims of a gateway.
//!
//! Claims come in order of precedence; what they ask for first is theirs. A later listener that can't stand beside an
//! earlier one is left out, and its claim is told.

use std::collections::{HashMap, HashSet};

use foregate_api::GatewayClaim;
use foregate_api::claim::{ClaimListener, ListenerProtocol};
use foregate_api::proxy::ProxyListener;
use kube::ResourceExt as _;

/// Why a listener was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The port is taken by another protocol.
    Protocol { port: u16, wanted: &'static str, held: &'static str, by: String },
    /// Port and host name are taken.
    Hostname { port: u16, hostname: String, by: String },
}

impl Conflict {
    /// The Gateway API's reason for `Conflicted`.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Protocol { .. } => "ProtocolConflict",
            Self::Hostname { .. } => "HostnameConflict",
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::Protocol { port, wanted, held, by } => {
                format!("port {port} can't speak {wanted}: {by} was first and speaks {held} there; use another port")
            }
            Self::Hostname { port, hostname, by } => {
                format!("{hostname} on port {port} belongs to {by}, which was first; use another host name or port")
            }
        }
    }
}

/// What came of a claim's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Name of the claim.
    pub claim: String,
    /// Name of the listener.
    pub listener: String,
    /// None: it is served.
    pub conflict: Option<Conflict>,
}

/// The listeners that a gateway serves, and what came of each that was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Merge {
    pub listeners: Vec<ProxyListener>,
    pub verdicts: Vec<Verdict>,
}

/// What shares a port: TLS and HTTPS are told apart by server name, plain HTTP by host name, the rest by nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Http,
    Tls,
    Tcp,
    Udp,
}

impl Class {
    const fn of(protocol: ListenerProtocol) -> Self {
        match protocol {
            ListenerProtocol::Http => Self::Http,
            ListenerProtocol::Https | ListenerProtocol::Tls => Self::Tls,
            ListenerProtocol::Tcp => Self::Tcp,
            ListenerProtocol::Udp => Self::Udp,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tls => "HTTPS or TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

#[derive(Default)]
struct Held {
    /// Per port and transport: the class, and who brought it.
    ports: HashMap<(u16, bool), (Class, String)>,
    names: HashMap<(u16, bool, String), String>,
}

impl Held {
    fn admit(&mut self, claim: &GatewayClaim, listener: &ClaimListener) -> Option<Conflict> {
        let class = Class::of(listener.protocol);
        let (port, datagrams) = (listener.port, class == Class::Udp);
        let by = || format!("listener {} of {}", listener.name, claim.spec.origin.display());
        let (held, owner) = self.ports.entry((port, datagrams)).or_insert_with(|| (class, by()));
        if *held != class {
            let (wanted, held) = (class.name(), held.name());
            return Some(Conflict::Protocol { port, wanted, held, by: owner.clone() });
        }
        let named = matches!(class, Class::Http | Class::Tls);
        let hostname = listener.hostname.as_deref().filter(|_| named).unwrap_or("*").to_ascii_lowercase();
        if let Some(owner) = self.names.get(&(port, datagrams, hostname.clone())) {
            let hostname = if hostname == "*" { "every host name".to_owned() } else { hostname };
            return Some(Conflict::Hostname { port, hostname, by: owner.clone() });
        }
        self.names.insert((port, datagrams, hostname), by());
        None
    }
}

/// Merges claims, which come in order of precedence.
pub(crate) fn merge<'a>(claims: impl IntoIterator<Item = &'a GatewayClaim>) -> Merge {
    let mut held = Held::default();
    let mut merged = Merge::default();
    for claim in claims {
        let mut seen = HashSet::new();
        for listener in claim.spec.listeners.iter().filter(|listener| seen.insert(listener.name.as_str())) {
            let conflict = held.admit(claim, listener);
            if conflict.is_none() {
                let tracing = claim.spec.tracing.clone();
                merged.listeners.push(ProxyListener { claim: claim.name_any(), listener: listener.clone(), tracing });
            }
            merged.verdicts.push(Verdict { claim: claim.name_any(), listener: listener.name.clone(), conflict });
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;
    use crate::testing::{claim, listener};

    /// Listeners of an elder and a younger claim → reasons of the younger's conflicts.
    #[test]
    fn conflicts() {
        use ListenerProtocol::{Http, Https, Tcp, Tls, Udp};
        for (elder, younger, reason) in [
            ((80, Http, None), (80, Http, Some("a.example")), None),
            ((80, Http, Some("a.example")), (80, Http, Some("A.example")), Some("HostnameConflict")),
            ((80, Http, None), (80, Http, None), Some("HostnameConflict")),
            ((80, Http, None), (80, Https, None), Some("ProtocolConflict")),
            ((80, Http, None), (81, Https, None), None),
            ((443, Https, Some("a.example")), (443, Tls, Some("b.example")), None),
            ((443, Https, Some("a.example")), (443, Tls, Some("a.example")), Some("HostnameConflict")),
            ((53, Tcp, None), (53, Udp, None), None),
            ((53, Tcp, None), (53, Tcp, Some("ignored.example")), Some("HostnameConflict")),
            ((53, Udp, None), (53, Udp, None), Some("HostnameConflict")),
            ((53, Tcp, None), (53, Http, None), Some("ProtocolConflict")),
        ] {
            let mut a = claim("a", "2026-01-01T00:00:00Z");
            let mut b = claim("b", "2026-01-02T00:00:00Z");
            a.spec.listeners = vec![listener("one", elder.0, elder.1, elder.2)];
            b.spec.listeners = vec![listener("one", younger.0, younger.1, younger.2)];
            let merged = merge([&a, &b]);
            assert_eq!(merged.verdicts[0].conflict, None);
            let got = merged.verdicts[1].conflict.as_ref();
            assert_eq!(got.map(Conflict::reason), reason, "{elder:?} {younger:?}");
            assert_eq!(merged.listeners.len(), if reason.is_some() { 1 } else { 2 });
            if let Some(conflict) = got {
                assert!(conflict.message().contains("listener one of Gateway default/a"), "{}", conflict.message());
            }
        }
    }

    #[test]
    fn the_rest_of_a_claim_is_served() {
        let mut a = claim("a", "2026-01-01T00:00:00Z");
        let mut b = claim("b", "2026-01-02T00:00:00Z");
        a.spec.listeners = vec![listener("web", 80, ListenerProtocol::Http, None)];
        b.spec.listeners =
            vec![listener("bad", 80, ListenerProtocol::Http, None), listener("good", 81, ListenerProtocol::Http, None)];
        let names: Vec<_> =
            merge([&a, &b]).listeners.iter().map(|entry| (entry.claim.clone(), entry.listener.name.clone())).collect();
        assert_eq!(names, [("a".into(), "web".into()), ("b".into(), "good".into())]);
    }
}
