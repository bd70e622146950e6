//! The listeners of a gateway: its claims' listeners, merged by port.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foregate_api::claim::{ListenerProtocol, TlsMode};
use foregate_api::proxy::ProxyListener;

use super::hostname::ANY;
use crate::Key;

/// Whether a listener ends TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Http,
    Https,
}

impl Class {
    /// Its name in listeners' names, and the scheme of its requests.
    pub(crate) const fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// One port of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedListener {
    pub class: Class,
    pub port: u16,
    pub bound: u16,
    pub chains: Vec<PlannedChain>,
}

/// One filter chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedChain {
    /// SNI; `*` for any.
    pub hostname: Arc<str>,
    pub route_configuration: Arc<str>,
    /// Secrets with its certificates.
    pub secrets: BTreeSet<Key>,
}

/// Where a route lands that is attached to a claim's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttachPoint {
    pub route_configuration: Arc<str>,
    pub class: Class,
    /// The port that clients use.
    pub port: u16,
    /// What was added to the user's port for it.
    pub port_offset: u16,
    /// The listener's host name; `*` for none.
    pub hostname: Arc<str>,
}

/// All listeners of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// By name, e.g. `http-8080`.
    pub listeners: BTreeMap<Arc<str>, PlannedListener>,
    /// Per claim: its listeners by name.
    pub claims: HashMap<Arc<str>, BTreeMap<Arc<str>, AttachPoint>>,
    /// Per route configuration: the host names of its listeners.
    pub route_configurations: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Per route configuration of an HTTPS port: the host names of the port's other listeners. A request for one of
    /// them is on the wrong connection (GEP-3567): a certificate may be good for names of several listeners.
    pub neighbours: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Listeners that can't be served, and why.
    pub problems: Vec<String>,
}

impl Plan {
    /// Merges listeners by port. HTTPS gets a filter chain and a route configuration per host name, so that a
    /// certificate's host names don't see each other's routes.
    pub(crate) fn new(proxy: &Key, listeners: &[ProxyListener], port_offset: u16) -> Self {
        let mut plan = Self::default();
        for listener in listeners {
            if let Err(reason) = plan.add(proxy, listener, port_offset) {
                let ProxyListener { claim, listener } = listener;
                plan.problems.push(format!("listener {} of claim {claim}: {reason}", listener.name));
            }
        }
        plan.find_neighbours();
        plan
    }

    fn find_neighbours(&mut self) {
        for listener in self.listeners.values().filter(|listener| listener.class == Class::Https) {
            for chain in &listener.chains {
                let others = listener.chains.iter().filter(|other| other.hostname != chain.hostname);
                let others: BTreeSet<Arc<str>> = others.map(|other| other.hostname.clone()).collect();
                if !others.is_empty() {
                    self.neighbours.insert(chain.route_configuration.clone(), others);
                }
            }
        }
    }

    /// Whether a listener serves a domain: no other of its route configuration, or of its port where that ends TLS, has
    /// a more specific host name for it.
    pub(crate) fn owns(&self, point: &AttachPoint, domain: &str) -> bool {
        let names = |of: &'_ BTreeMap<Arc<str>, BTreeSet<Arc<str>>>| of.get(&point.route_configuration).cloned();
        let own = names(&self.route_configurations).into_iter().flatten();
        let all: Vec<Arc<str>> = own.chain(names(&self.neighbours).into_iter().flatten()).collect();
        super::hostname::owner(all.iter().map(|name| &**name), domain) == Some(&*point.hostname)
    }

    fn add(&mut self, proxy: &Key, listener: &ProxyListener, port_offset: u16) -> Result<(), String> {
        let ProxyListener { claim, listener } = listener;
        let class = class_of(listener)?;
        let port = listener.port;
        let bound = port
            .checked_add(port_offset)
            .ok_or_else(|| format!("port {port} with the port offset {port_offset} is above 65535"))?;
        if let Some(other) = self.listeners.values().find(|other| other.port == port && other.class != class) {
            let scheme = other.class.scheme();
            return Err(format!("port {port} is taken by an {scheme} listener; choose another port"));
        }
        let name: Arc<str> = format!("{}-{port}", class.scheme()).into();
        let hostname: Arc<str> = listener.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(ANY).into();
        let (route_configuration, server): (Arc<str>, Arc<str>) = match class {
            Class::Http => (name.clone(), ANY.into()),
            Class::Https => (format!("{name}/{hostname}").into(), hostname.clone()),
        };
        let secrets = listener.tls.iter().flat_map(|tls| &tls.certificates).map(|secret| proxy.sibling(secret));
        let planned = self.listeners.entry(name).or_insert(PlannedListener { class, port, bound, chains: Vec::new() });
        planned.chain(server, &route_configuration).secrets.extend(secrets);
        self.route_configurations.entry(route_configuration.clone()).or_default().insert(hostname.clone());
        let point = AttachPoint { route_configuration, class, port: bound, port_offset, hostname };
        self.claims.entry(claim.as_str().into()).or_default().insert(listener.name.as_str().into(), point);
        Ok(())
    }
}

impl Plan {
    /// Secrets that its listeners name.
    pub(crate) fn secrets(&self) -> BTreeSet<Key> {
        let chains = self.listeners.values().flat_map(|listener| &listener.chains);
        chains.flat_map(|chain| chain.secrets.iter().cloned()).collect()
    }
}

impl PlannedListener {
    fn chain(&mut self, hostname: Arc<str>, route_configuration: &Arc<str>) -> &mut PlannedChain {
        let index = match self.chains.binary_search_by(|chain| chain.hostname.cmp(&hostname)) {
            Ok(index) => index,
            Err(index) => {
                let route_configuration = route_configuration.clone();
                self.chains.insert(index, PlannedChain { hostname, route_configuration, secrets: BTreeSet::new() });
                index
            }
        };
        &mut self.chains[index]
    }
}

fn class_of(listener: &foregate_api::claim::ClaimListener) -> Result<Class, String> {
    match listener.protocol {
        ListenerProtocol::Http => Ok(Class::Http),
        ListenerProtocol::Https => match &listener.tls {
            Some(tls) if tls.mode == TlsMode::Passthrough => {
                Err("HTTPS ends TLS at the gateway; set tls.mode to Terminate".to_owned())
            }
            Some(tls) if !tls.certificates.is_empty() => Ok(Class::Https),
            _ => Err("HTTPS needs a certificate; set tls.certificateRefs".to_owned()),
        },
        ListenerProtocol::Tls | ListenerProtocol::Tcp | ListenerProtocol::Udp => {
            Err("the protocols TLS, TCP and UDP aren't served yet; use HTTP or HTTPS".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn plan(listeners: serde_json::Value, port_offset: u16) -> Plan {
        let listeners: Vec<ProxyListener> = serde_json::from_value(listeners).unwrap();
        Plan::new(&Key::new("tenant", "web"), &listeners, port_offset)
    }

    #[test]
    fn the_port_offset_is_bound_and_not_named() {
        let plan = plan(serde_json::json!([{ "claim": "c", "name": "l", "port": 80, "protocol": "HTTP" }]), 8000);
        let listener = &plan.listeners["http-80"];
        assert_eq!((listener.port, listener.bound), (80, 8080));
        assert_eq!(plan.claims["c"]["l"].port, 8080, "what redirects name is what clients use");
    }

    #[test]
    fn what_cannot_be_served_is_said() {
        let table = [
            (serde_json::json!({ "port": 65535, "protocol": "HTTP" }), "above 65535"),
            (serde_json::json!({ "port": 1, "protocol": "UDP" }), "aren't served yet"),
            (serde_json::json!({ "port": 1, "protocol": "HTTPS" }), "needs a certificate"),
            (
                serde_json::json!({ "port": 1, "protocol": "HTTPS", "tls": { "mode": "Terminate" } }),
                "needs a certificate",
            ),
            (serde_json::json!({ "port": 1, "protocol": "HTTPS", "tls": { "mode": "Passthrough" } }), "Terminate"),
        ];
        for (mut listener, expected) in table {
            listener["claim"] = "c".into();
            listener["name"] = "l".into();
            let plan = plan(serde_json::json!([listener]), 1);
            assert!(plan.listeners.is_empty() && plan.claims.is_empty());
            assert!(plan.problems[0].starts_with("listener l of claim c: "), "{:?}", plan.problems);
            assert!(plan.problems[0].contains(expected), "{:?}", plan.problems);
        }
    }

    #[test]
    fn neighbours_are_the_other_host_names_of_an_https_port() {
        let listener = |port: u16, hostname: Option<&str>| {
            serde_json::json!({ "claim": "c", "name": format!("{port}{hostname:?}"), "port": port, "hostname": hostname,
                                "protocol": "HTTPS", "tls": { "mode": "Terminate", "certificates": ["one"] } })
        };
        let all = [(443, None), (443, Some("*.a.com")), (443, Some("b.a.com")), (8443, Some("c.com"))];
        let plan = plan(all.iter().map(|(port, hostname)| listener(*port, *hostname)).collect(), 0);
        let neighbours =
            |name: &str| plan.neighbours.get(name).map(|names| names.iter().map(|n| &**n).collect::<Vec<_>>());
        assert_eq!(neighbours("https-443/*"), Some(vec!["*.a.com", "b.a.com"]));
        assert_eq!(neighbours("https-443/*.a.com"), Some(vec!["*", "b.a.com"]));
        assert_eq!(neighbours("https-8443/c.com"), None);
        let point = |name: &str| &plan.claims["c"][name];
        assert!(plan.owns(point("443Some(\"*.a.com\")"), "c.a.com"));
        assert!(!plan.owns(point("443Some(\"*.a.com\")"), "b.a.com"), "another listener's");
        assert!(!plan.owns(point("443None"), "c.a.com"), "another listener's");
        assert!(plan.owns(point("443None"), "a.com"));
    }

    #[test]
    fn claims_with_one_host_name_share_a_chain() {
        let listener = |claim: &str, secret: &str| {
            serde_json::json!({ "claim": claim, "name": "l", "port": 443, "protocol": "HTTPS", "hostname": "a.com",
                                "tls": { "mode": "Terminate", "certificates": [secret] } })
        };
        let plan = plan(serde_json::json!([listener("c", "one"), listener("d", "two")]), 0);
        let chains = &plan.listeners["https-443"].chains;
        assert_eq!(chains.len(), 1);
        assert_eq!(chains[0].secrets.len(), 2);
        assert_eq!(plan.claims["c"], plan.claims["d"]);
    }
}
