//! The listeners of a gateway: its claims' listeners, merged by port.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foregate_api::claim::{ClaimListener, ClientValidation, ListenerProtocol, TlsMode};
use foregate_api::external_auth::ExternalAuth;
use foregate_api::proxy::ProxyListener;
use foregate_api::route::{RouteFilter, RouteProtocol};
use foregate_api::tracing::Tracing;

use super::hostname::{self, ANY};
use crate::Key;

/// What is spoken on a port. Listeners of one class share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// HTTP without TLS.
    Http,
    /// TLS: HTTPS, and TLS that carries anything. The server name tells them apart.
    Https,
    /// Bytes.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Class {
    /// Its name in listeners' names; of the first two it is the scheme of requests as well.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Whether two classes can't have one port: TCP and UDP have ports of their own.
    fn collides(self, other: Self) -> bool {
        self != other && (self == Self::Udp) == (other == Self::Udp)
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

/// What is done with connections to one host name of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedChain {
    /// SNI; `*` for any.
    pub hostname: Arc<str>,
    /// Where its requests are routed; none: it carries bytes or datagrams.
    pub route_configuration: Option<Arc<str>>,
    /// TLS ends here.
    pub ends_tls: bool,
    /// Secrets with its certificates.
    pub secrets: BTreeSet<Key>,
    /// Which certificates clients have to show.
    pub client_validation: Option<ClientValidation>,
}

/// Where a route lands that is attached to a claim's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttachPoint {
    /// Name of the port's listener.
    pub listener: Arc<str>,
    /// Where requests are routed; none: routes are for connections or datagrams.
    pub route_configuration: Option<Arc<str>>,
    pub class: Class,
    /// The port that clients use.
    pub port: u16,
    /// What was added to the user's port for it.
    pub port_offset: u16,
    /// The listener's host name; `*` for none.
    pub hostname: Arc<str>,
}

impl AttachPoint {
    /// Whether routes of a protocol can be here. Attachment has decided so; a claim may have changed since.
    pub(crate) fn takes(&self, protocol: RouteProtocol) -> bool {
        match protocol {
            RouteProtocol::Http => self.route_configuration.is_some(),
            RouteProtocol::Tls => self.class == Class::Https && self.route_configuration.is_none(),
            RouteProtocol::Tcp => self.class != Class::Udp && self.route_configuration.is_none(),
            RouteProtocol::Udp => self.class == Class::Udp,
        }
    }
}

/// A route configuration, and the host name of a listener in it.
type HostOfConfiguration = (Arc<str>, Arc<str>);

/// All listeners of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// By name, e.g. `http-8080`.
    pub listeners: BTreeMap<Arc<str>, PlannedListener>,
    /// Per claim: its listeners by name.
    pub claims: HashMap<Arc<str>, BTreeMap<Arc<str>, AttachPoint>>,
    /// Per port: the host names of its listeners.
    pub hostnames: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Per route configuration: the host names of its listeners.
    pub route_configurations: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Per route configuration of an HTTPS port: what of the host names of the port's other listeners says for which
    /// hosts a request is on the wrong connection (GEP-3567): a certificate may be good for names of several listeners.
    pub neighbours: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Who is asked about requests before they are routed, in order.
    pub filters: BTreeMap<HostOfConfiguration, Arc<[ExternalAuth]>>,
    /// How requests are traced, by route configuration.
    pub tracing: BTreeMap<Arc<str>, Tracing>,
    /// The Secret with what the gateway shows to backends over TLS.
    pub client_certificate: Option<Key>,
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
                let ProxyListener { claim, listener, .. } = listener;
                plan.problems.push(format!("listener {} of claim {claim}: {reason}", listener.name));
            }
        }
        plan.find_neighbours();
        plan
    }

    fn find_neighbours(&mut self) {
        for listener in self.listeners.values().filter(|listener| listener.class == Class::Https) {
            for chain in &listener.chains {
                let Some(configuration) = &chain.route_configuration else { continue };
                let others: Vec<&Arc<str>> = listener
                    .chains
                    .iter()
                    .map(|other| &other.hostname)
                    .filter(|other| **other != chain.hostname)
                    .collect();
                let needed = others.iter().filter(|other| !is_implied(other, &chain.hostname, &others));
                let needed: Vec<Arc<str>> = needed.map(|other| Arc::clone(other)).collect();
                if !needed.is_empty() {
                    self.neighbours.insert(configuration.clone(), needed);
                }
            }
        }
    }

    /// Whether a listener serves a domain: no other of its port has a more specific host name for it.
    pub(crate) fn owns(&self, point: &AttachPoint, domain: &str) -> bool {
        let all = self.hostnames.get(&point.listener).into_iter().flatten();
        hostname::owner(all.map(|name| &**name), domain) == Some(&*point.hostname)
    }

    fn add(&mut self, proxy: &Key, listener: &ProxyListener, port_offset: u16) -> Result<(), String> {
        let ProxyListener { claim, listener, tracing } = listener;
        let class = class_of(listener)?;
        let filters = filters_of(listener)?;
        let port = listener.port;
        let bound = port
            .checked_add(port_offset)
            .ok_or_else(|| format!("port {port} with the port offset {port_offset} is above 65535"))?;
        if let Some(other) = self.listeners.values().find(|other| other.port == port && other.class.collides(class)) {
            let name = other.class.name();
            return Err(format!("port {port} is taken by a listener for {name}; choose another port"));
        }
        let name: Arc<str> = format!("{}-{port}", class.name()).into();
        let hostname: Arc<str> = match class {
            Class::Http | Class::Https => {
                listener.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(ANY).into()
            }
            Class::Tcp | Class::Udp => ANY.into(),
        };
        let route_configuration: Option<Arc<str>> = match listener.protocol {
            ListenerProtocol::Http => Some(name.clone()),
            ListenerProtocol::Https => Some(format!("{name}/{hostname}").into()),
            ListenerProtocol::Tls | ListenerProtocol::Tcp | ListenerProtocol::Udp => None,
        };
        let filtered = route_configuration.clone().map(|configuration| (configuration, hostname.clone()));
        self.check_filters(filtered.as_ref(), &filters)?;
        let chain = PlannedChain {
            hostname: if class == Class::Https { hostname.clone() } else { ANY.into() },
            route_configuration: route_configuration.clone(),
            ends_tls: listener.tls.as_ref().is_some_and(|tls| tls.mode == TlsMode::Terminate) && class == Class::Https,
            secrets: certificates(listener).map(|secret| proxy.sibling(secret)).collect(),
            client_validation: listener.tls.as_ref().and_then(|tls| tls.client_validation.clone()),
        };
        let planned = self.listeners.entry(name.clone());
        planned.or_insert(PlannedListener { class, port, bound, chains: Vec::new() }).add(chain)?;
        self.hostnames.entry(name.clone()).or_default().insert(hostname.clone());
        if let Some(configuration) = &route_configuration {
            self.route_configurations.entry(configuration.clone()).or_default().insert(hostname.clone());
        }
        if let Some(place) = filtered.filter(|_| !filters.is_empty()) {
            self.filters.insert(place, filters.into());
        }
        self.add_tracing(claim, route_configuration.as_ref(), tracing.as_ref());
        let point = AttachPoint { listener: name, route_configuration, class, port: bound, port_offset, hostname };
        self.claims.entry(claim.as_str().into()).or_default().insert(listener.name.as_str().into(), point);
        Ok(())
    }

    /// Listeners of several claims may share what takes requests in: the first one's wish holds.
    fn add_tracing(&mut self, claim: &str, configuration: Option<&Arc<str>>, tracing: Option<&Tracing>) {
        let (Some(configuration), Some(tracing)) = (configuration, tracing) else { return };
        let first = self.tracing.entry(configuration.clone()).or_insert_with(|| tracing.clone());
        if first != tracing {
            self.problems.push(format!(
                "claim {claim}: requests of {configuration} are traced as another claim of this gateway wants it"
            ));
        }
    }

    /// Listeners of several claims that are one have the same filters.
    fn check_filters(&self, place: Option<&(Arc<str>, Arc<str>)>, filters: &[ExternalAuth]) -> Result<(), String> {
        let Some(place) = place else {
            return if filters.is_empty() { Ok(()) } else { Err("only requests have filters".to_owned()) };
        };
        let known = self.route_configurations.get(&place.0).is_some_and(|hostnames| hostnames.contains(&place.1));
        let same = self.filters.get(place).map_or(&[][..], |filters| &**filters) == filters;
        if known && !same {
            return Err(format!("host name {} is taken by a listener with other filters; choose another one", place.1));
        }
        Ok(())
    }

    /// The filters of the listener that serves a domain of a route configuration, and that listener's host name.
    pub(crate) fn filters_of(&self, configuration: &str, domain: &str) -> Option<(&Arc<str>, &Arc<[ExternalAuth]>)> {
        if self.filters.is_empty() {
            return None;
        }
        let hostnames = self.route_configurations.get(configuration)?;
        let owner = hostname::owner(hostnames.iter().map(|name| &**name), domain)?;
        let mut all = self.filters.iter();
        let found = all.find(|((of, hostname), _)| **of == *configuration && **hostname == *owner);
        found.map(|((_, hostname), filters)| (hostname, filters))
    }

    /// The backends that its claims name, in the gateway's namespace.
    pub(crate) fn backends(&self, proxy: &Key) -> BTreeSet<Key> {
        let named = self.filters.values().flat_map(|filters| filters.iter()).filter_map(|auth| auth.backend.as_deref());
        let collectors = self.tracing.values().map(|tracing| tracing.backend.as_str());
        named.chain(collectors).map(|name| proxy.sibling(name)).collect()
    }

    /// Secrets that it names.
    pub(crate) fn secrets(&self) -> BTreeSet<Key> {
        let chains = self.listeners.values().flat_map(|listener| &listener.chains);
        chains.flat_map(|chain| &chain.secrets).chain(&self.client_certificate).cloned().collect()
    }
}

/// Whether another host name says the same of a host name: it covers it, and the listener's own doesn't lie between.
fn is_implied(hostname: &str, own: &str, others: &[&Arc<str>]) -> bool {
    others.iter().any(|other| {
        ***other != *hostname
            && hostname::covers(other, hostname)
            && !(hostname::covers(own, hostname) && hostname::covers(other, own))
    })
}

impl PlannedListener {
    /// Adds a chain; one with the same host name, of another claim, becomes one with it.
    fn add(&mut self, chain: PlannedChain) -> Result<(), String> {
        match self.chains.binary_search_by(|known| known.hostname.cmp(&chain.hostname)) {
            Ok(index) => {
                let known = &mut self.chains[index];
                if known.route_configuration != chain.route_configuration
                    || known.ends_tls != chain.ends_tls
                    || known.client_validation != chain.client_validation
                {
                    let (hostname, port) = (&chain.hostname, self.port);
                    return Err(format!(
                        "host name {hostname} of port {port} is taken by a listener of another protocol, TLS mode or \
                         client validation; choose another one"
                    ));
                }
                known.secrets.extend(chain.secrets);
            }
            Err(index) => self.chains.insert(index, chain),
        }
        Ok(())
    }
}

fn certificates(listener: &ClaimListener) -> impl Iterator<Item = &str> {
    let ending = listener.tls.iter().filter(|tls| tls.mode == TlsMode::Terminate);
    ending.flat_map(|tls| &tls.certificates).map(String::as_str)
}

/// A listener's filters; what can't be done before routing is nothing to pass over.
fn filters_of(listener: &ClaimListener) -> Result<Vec<ExternalAuth>, String> {
    let each = listener.filters.iter().map(|filter| match filter {
        RouteFilter::ExternalAuth(auth) => Ok(auth.clone()),
        _ => Err("filters: before a request is routed, only a service can be asked about it".to_owned()),
    });
    each.collect()
}

/// The name of a listener's filter.
pub(crate) fn filter_name(hostname: &str, index: usize) -> String {
    format!("foregate.listener/{hostname}/{index}")
}

fn class_of(listener: &ClaimListener) -> Result<Class, String> {
    let protocol = match listener.protocol {
        ListenerProtocol::Http => return Ok(Class::Http),
        ListenerProtocol::Tcp => return Ok(Class::Tcp),
        ListenerProtocol::Udp => return Ok(Class::Udp),
        ListenerProtocol::Https => "HTTPS",
        ListenerProtocol::Tls => "TLS",
    };
    match &listener.tls {
        Some(tls) if tls.mode == TlsMode::Passthrough && listener.protocol == ListenerProtocol::Https => {
            Err("HTTPS ends TLS at the gateway; set tls.mode to Terminate".to_owned())
        }
        Some(tls) if tls.mode == TlsMode::Passthrough || !tls.certificates.is_empty() => Ok(Class::Https),
        _ => Err(format!("{protocol} needs a certificate; set tls.certificateRefs")),
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
            (serde_json::json!({ "port": 1, "protocol": "TLS" }), "needs a certificate"),
            (
                serde_json::json!({ "port": 1, "protocol": "HTTP", "filters": [{ "rewrite": {} }] }),
                "only a service can be asked",
            ),
            (
                serde_json::json!({ "port": 1, "protocol": "TLS", "tls": { "mode": "Terminate" } }),
                "needs a certificate",
            ),
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
        assert_eq!(neighbours("https-443/*"), Some(vec!["*.a.com"]));
        assert_eq!(neighbours("https-443/*.a.com"), Some(vec!["*", "b.a.com"]));
        assert_eq!(neighbours("https-443/b.a.com"), Some(vec!["*"]), "what any listener has is said once");
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

    proptest::proptest! {
        /// What is said for which hosts a connection is wrong is short, and says all the same.
        #[test]
        fn neighbours_say_for_every_host_whose_it_is(
            names in proptest::collection::btree_set("\\*|(\\*\\.)?([ab]\\.){0,3}[ab]", 1..12),
            host in "([ab]\\.){0,4}[ab]",
        ) {
            let listener = |name: &String| {
                serde_json::json!({ "claim": "c", "name": name, "port": 443, "hostname": name, "protocol": "HTTPS",
                                    "tls": { "mode": "Terminate", "certificates": ["one"] } })
            };
            let plan = plan(names.iter().map(listener).collect(), 0);
            let owner = hostname::owner(names.iter().map(String::as_str), &host);
            for own in &names {
                let others = plan.neighbours.get(&*format!("https-443/{own}"));
                let said = others.into_iter().flatten().map(|name| &**name).chain([own.as_str()]);
                let said = hostname::owner(said, &host);
                proptest::prop_assert_eq!(said.is_some(), owner.is_some());
                proptest::prop_assert_eq!(said == Some(own), owner == Some(own));
            }
        }
    }
}
