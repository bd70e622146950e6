//! A gateway as its resources say it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, lb_endpoint};
use foregate_envoy::pb::envoy::config::listener::v3 as listener;
use foregate_envoy::pb::envoy::config::route::v3 as route;
use foregate_envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use foregate_envoy::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use foregate_envoy::pb::envoy::extensions::filters::udp::udp_proxy::v3::UdpProxyConfig;
use foregate_envoy::pb::google::protobuf::Any;
use foregate_envoy::{Resource, ResourceKind};
use prost::Message;
use regex::Regex;

use super::carry::{self, Weight};
use crate::envoy::ext_authz::NOTHING;

/// A resource that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} {name}: {reason}")]
pub struct ReadError {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A gateway: listeners, routes and endpoints, as an engine has them.
#[derive(Debug, Default)]
pub struct Gateway {
    pub(super) listeners: Vec<Listener>,
    pub(super) tables: BTreeMap<String, Table>,
    /// Endpoints of clusters whose endpoints are known.
    pub(super) endpoints: HashMap<String, Vec<String>>,
    /// Names of clusters.
    pub(super) clusters: std::collections::HashSet<String>,
    patterns: Patterns,
}

/// A listener.
#[derive(Debug)]
pub(super) struct Listener {
    pub name: String,
    pub addresses: Vec<(String, u16)>,
    /// It takes datagrams.
    pub datagrams: bool,
    pub chains: Vec<Chain>,
}

/// A filter chain that speaks HTTP, or passes on what comes.
#[derive(Debug)]
pub(super) struct Chain {
    /// It is for TLS.
    pub tls: bool,
    /// TLS ends here.
    pub ends_tls: bool,
    pub server_names: Vec<String>,
    /// Asks for more than a name: what that is.
    pub more: Vec<&'static str>,
    /// Name of the route that it is, where there are no requests.
    pub route: Option<String>,
    pub carries: Carries,
}

/// What is in a chain's connections.
#[derive(Debug)]
pub(super) enum Carries {
    /// Requests.
    Requests(Box<hcm::HttpConnectionManager>),
    /// Anything: it goes to these clusters.
    Elsewhere(Vec<Weight>),
}

/// A route configuration.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub config: route::RouteConfiguration,
    pub hosts: Vec<route::VirtualHost>,
}

/// Compiled expressions, each made once.
#[derive(Debug, Default)]
struct Patterns(Mutex<HashMap<String, Option<Regex>>>);

impl Gateway {
    /// Reads a gateway's resources, e.g. those of [`crate::Translator::resources`]. Kinds that say nothing about where
    /// a request goes are passed over.
    ///
    /// # Errors
    /// When a resource isn't a message of its kind.
    pub fn read<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Result<Self, ReadError> {
        let mut gateway = Self::default();
        let mut hosts = Vec::new();
        for resource in resources {
            let (name, body) = (&*resource.id.name, &*resource.body);
            let fail = |error: prost::DecodeError| ReadError {
                kind: resource.id.kind,
                name: name.to_owned(),
                reason: error.to_string(),
            };
            match resource.id.kind {
                ResourceKind::Listener => {
                    let message = listener::Listener::decode(body).map_err(fail)?;
                    gateway.listeners.push(read_listener(message).map_err(fail)?);
                }
                ResourceKind::RouteConfiguration => {
                    gateway.add_table(route::RouteConfiguration::decode(body).map_err(fail)?);
                }
                ResourceKind::VirtualHost => {
                    hosts.push((name.to_owned(), route::VirtualHost::decode(body).map_err(fail)?));
                }
                ResourceKind::ClusterLoadAssignment => {
                    let message = ClusterLoadAssignment::decode(body).map_err(fail)?;
                    gateway.endpoints.insert(name.to_owned(), endpoints(&message));
                }
                ResourceKind::Cluster => gateway.add_cluster(name, body).map_err(fail)?,
                ResourceKind::Secret | ResourceKind::ExtensionConfig => {}
            }
        }
        for (name, host) in hosts {
            gateway.add_host(&name, host);
        }
        gateway.listeners.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(gateway)
    }

    fn add_table(&mut self, mut config: route::RouteConfiguration) {
        let hosts = std::mem::take(&mut config.virtual_hosts);
        self.tables.insert(config.name.clone(), Table { config, hosts });
    }

    /// A virtual host is named `<route configuration>/<domain>`; the configuration's name may have slashes too.
    fn add_host(&mut self, name: &str, mut host: route::VirtualHost) {
        // It says that there is no route.
        host.routes.retain(|route| route.name != NOTHING);
        let mut end = name.len();
        while let Some(at) = name[..end].rfind('/') {
            if let Some(table) = self.tables.get_mut(&name[..at]) {
                table.hosts.push(host);
                return;
            }
            end = at;
        }
    }

    fn add_cluster(&mut self, name: &str, body: &[u8]) -> Result<(), prost::DecodeError> {
        use foregate_envoy::pb::envoy::config::cluster::v3::Cluster;
        self.clusters.insert(name.to_owned());
        let cluster = Cluster::decode(body)?;
        // Inline endpoints: DNS names, or static ones.
        if let Some(assignment) = &cluster.load_assignment {
            self.endpoints.insert(name.to_owned(), endpoints(assignment));
        }
        Ok(())
    }

    /// The routes of a filter chain.
    pub(super) fn table(&self, chain: &Chain) -> Option<&Table> {
        self.tables.get(chain.routes_name())
    }

    /// Whether an expression matches the whole text. One that doesn't compile matches nothing.
    pub(super) fn full_match(&self, pattern: &str, text: &str) -> bool {
        self.regex(&format!("^(?:{pattern})$")).is_some_and(|regex| regex.is_match(text))
    }

    /// A compiled expression.
    pub(super) fn regex(&self, pattern: &str) -> Option<Regex> {
        let mut known = self.patterns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = known.get(pattern) {
            return regex.clone();
        }
        let regex = Regex::new(pattern).ok();
        known.insert(pattern.to_owned(), regex.clone());
        regex
    }

    /// Names of its listeners with where they are bound, e.g. `http-80 on 127.0.0.1:8080`.
    pub fn listeners(&self) -> Vec<String> {
        let text = |it: &Listener| format!("{} on {}", it.name, it.addresses_text().join(", "));
        self.listeners.iter().map(text).collect()
    }
}

impl Listener {
    pub(super) fn addresses_text(&self) -> Vec<String> {
        let text = |(address, port): &(String, u16)| {
            if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
        };
        self.addresses.iter().map(text).collect()
    }
}

impl Chain {
    /// Name of its route configuration.
    pub(super) fn routes_name(&self) -> &str {
        use hcm::http_connection_manager::RouteSpecifier;
        let Carries::Requests(manager) = &self.carries else { return "" };
        match &manager.route_specifier {
            Some(RouteSpecifier::Rds(rds)) => &rds.route_config_name,
            Some(RouteSpecifier::RouteConfig(config)) => &config.name,
            _ => "",
        }
    }
}

fn read_listener(message: listener::Listener) -> Result<Listener, prost::DecodeError> {
    let more = message.additional_addresses.iter().map(|it| it.address.as_ref());
    let addresses = std::iter::once(message.address.as_ref()).chain(more).flatten().filter_map(socket).collect();
    let mut chains = Vec::new();
    for chain in message.filter_chains.into_iter().chain(message.default_filter_chain) {
        chains.extend(read_chain(chain)?);
    }
    let mut datagrams = false;
    for filter in &message.listener_filters {
        let Some(listener::listener_filter::ConfigType::TypedConfig(any)) = &filter.config_type else { continue };
        if let Some(proxy) = read_as::<UdpProxyConfig>(any)? {
            datagrams = true;
            chains.push(Chain {
                tls: false,
                ends_tls: false,
                server_names: Vec::new(),
                more: Vec::new(),
                route: carry::route(message.metadata.as_ref()),
                carries: Carries::Elsewhere(carry::of_udp(&proxy)),
            });
        }
    }
    Ok(Listener { name: message.name, addresses, datagrams, chains })
}

/// The message in an Any, if it is of that type.
fn read_as<M: Message + prost::Name + Default>(any: &Any) -> Result<Option<M>, prost::DecodeError> {
    let same = any.type_url.rsplit('/').next() == Some(&M::full_name());
    same.then(|| M::decode(&*any.value)).transpose()
}

/// None: it does something else.
fn read_chain(chain: listener::FilterChain) -> Result<Option<Chain>, prost::DecodeError> {
    let configs = chain.filters.iter().filter_map(|filter| match &filter.config_type {
        Some(listener::filter::ConfigType::TypedConfig(any)) => Some(any),
        _ => None,
    });
    let mut carries = None;
    for any in configs {
        if let Some(manager) = read_as::<hcm::HttpConnectionManager>(any)? {
            carries = Some(Carries::Requests(Box::new(manager)));
        } else if let Some(proxy) = read_as::<TcpProxy>(any)? {
            carries = Some(Carries::Elsewhere(carry::of_tcp(proxy)));
        }
    }
    let Some(carries) = carries else { return Ok(None) };
    let asked = chain.filter_chain_match.unwrap_or_default();
    let rules = [
        ("destination_port", asked.destination_port.is_some()),
        ("prefix_ranges", !asked.prefix_ranges.is_empty()),
        ("direct_source_prefix_ranges", !asked.direct_source_prefix_ranges.is_empty()),
        ("source_type", asked.source_type != 0),
        ("source_prefix_ranges", !asked.source_prefix_ranges.is_empty()),
        ("source_ports", !asked.source_ports.is_empty()),
        ("application_protocols", !asked.application_protocols.is_empty()),
    ];
    let more = rules.into_iter().filter(|(_, asked)| *asked).map(|(name, _)| name).collect();
    let ends_tls = chain.transport_socket.is_some();
    Ok(Some(Chain {
        tls: ends_tls || asked.transport_protocol == "tls" || !asked.server_names.is_empty(),
        ends_tls,
        server_names: asked.server_names,
        more,
        route: carry::route(chain.metadata.as_ref()),
        carries,
    }))
}

fn socket(address: &core::Address) -> Option<(String, u16)> {
    match address.address.as_ref()? {
        core::address::Address::SocketAddress(socket) => {
            let port = match socket.port_specifier {
                Some(core::socket_address::PortSpecifier::PortValue(port)) => u16::try_from(port).ok()?,
                _ => return None,
            };
            Some((socket.address.clone(), port))
        }
        _ => None,
    }
}

fn endpoints(assignment: &ClusterLoadAssignment) -> Vec<String> {
    let all = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    let text = |endpoint: &foregate_envoy::pb::envoy::config::endpoint::v3::LbEndpoint| {
        let Some(lb_endpoint::HostIdentifier::Endpoint(target)) = &endpoint.host_identifier else { return None };
        let address = target.address.as_ref()?;
        if let Some(core::address::Address::Pipe(pipe)) = &address.address {
            return Some(format!("unix:{}", pipe.path));
        }
        let (address, port) = socket(address)?;
        Some(if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") })
    };
    all.filter_map(text).collect()
}
