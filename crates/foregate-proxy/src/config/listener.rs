//! `Listener`: addresses and filter chains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::config::listener::v3 as listener;
use foregate_envoy::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use foregate_envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use foregate_envoy::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use foregate_envoy::pb::google::protobuf::Any;
use prost::Name;

use super::hcm::{self, RouteSource};
use super::parts::{boolean, number, socket_address, timeout};
use super::refusal::{At, Refusal, nothing_left, unpack};
use super::route_config::RouteConfig;
use super::upstream_tls::TlsContext;
use super::{tcp_proxy, tls, udp_proxy};
use crate::slots::{Interner, Numbers, Slot};
use crate::snapshot::{FilterChain, Listener, NetworkFilter};
use crate::tls::{Secrets, TlsShared};
use crate::upstream_tls::SystemRoots;

/// What compiling needs from its surroundings.
pub(crate) struct Context<'a> {
    /// Numbers of what route configurations name.
    pub(crate) numbers: &'a mut Numbers,
    /// Numbers of route configurations.
    pub(crate) routes: &'a mut Interner,
    /// Certificates by name.
    pub(crate) secrets: &'a mut Secrets,
    /// Keys of sessions.
    pub(crate) tls: &'a TlsShared,
    /// What the system trusts.
    pub(crate) roots: &'a SystemRoots,
}

/// A compiled listener, and what else it needs.
pub(crate) struct CompiledListener {
    /// What the workers run.
    pub(crate) listener: Arc<Listener>,
    /// Route configurations to ask for.
    pub(crate) rds: Vec<String>,
    /// Route configurations that it holds itself.
    pub(crate) inline: Vec<(Arc<Slot>, RouteConfig)>,
    /// Secrets to ask for.
    pub(crate) secrets: Vec<String>,
}

/// Compiles a listener.
pub(crate) fn compile(mut message: listener::Listener, context: &mut Context<'_>) -> Result<CompiledListener, Refusal> {
    let name: Arc<str> = std::mem::take(&mut message.name).into();
    let (addresses, datagrams) = addresses(&mut message)?;
    if datagrams {
        return udp(name, addresses, message, context);
    }
    listener_filters(std::mem::take(&mut message.listener_filters))?;
    let mut needs = Needs { listener: Arc::clone(&name), rds: Vec::new(), inline: Vec::new(), secrets: Vec::new() };
    let mut chains = Vec::new();
    for (index, chain) in std::mem::take(&mut message.filter_chains).into_iter().enumerate() {
        chains.push(filter_chain(chain, index, &mut needs, context).at(format_args!("filter_chains[{index}]"))?);
    }
    let default = message.default_filter_chain.take();
    let default = default.map(|chain| filter_chain(chain, usize::MAX, &mut needs, context)).transpose();
    chains.extend(default.at("default_filter_chain")?);
    if chains.is_empty() {
        return Err(Refusal::field("filter_chains", "must not be empty"));
    }
    distinct(&chains)?;
    let handshake_timeout =
        timeout(message.listener_filters_timeout.take(), Some(Duration::from_secs(15)), "listener_filters_timeout")?;
    let compiled = Listener {
        name,
        addresses,
        udp: None,
        backlog: i32::try_from(number(&mut message.tcp_backlog_size).unwrap_or(4096)).unwrap_or(i32::MAX),
        chains: chains.into_iter().map(Arc::new).collect(),
        handshake_timeout: handshake_timeout.unwrap_or(Duration::from_secs(3600)),
    };
    harmless(&mut message)?;
    nothing_left(&message)?;
    let Needs { rds, inline, secrets, .. } = needs;
    Ok(CompiledListener { listener: Arc::new(compiled), rds, inline, secrets })
}

/// A listener for datagrams: all that it does is done by its one filter.
fn udp(
    name: Arc<str>,
    addresses: Vec<SocketAddr>,
    mut message: listener::Listener,
    context: &mut Context<'_>,
) -> Result<CompiledListener, Refusal> {
    use listener::listener_filter::ConfigType;
    let mut socket = message.udp_listener_config.take().unwrap_or_default();
    let downstream = socket.downstream_socket_config.take();
    nothing_left(&socket).at("udp_listener_config")?;
    let [filter] = <[listener::ListenerFilter; 1]>::try_from(std::mem::take(&mut message.listener_filters))
        .map_err(|_| Refusal::field("listener_filters", "must be one UDP proxy"))?;
    let options = match filter.config_type {
        Some(ConfigType::TypedConfig(any)) => unpack(&any)
            .and_then(|proxy| udp_proxy::compile(proxy, downstream, &mut context.numbers.clusters))
            .at("listener_filters[0].typed_config")?,
        _ => return Err(Refusal::unsupported("listener_filters[0].config_discovery")),
    };
    if filter.filter_disabled.is_some() {
        return Err(Refusal::unsupported("listener_filters[0].filter_disabled"));
    }
    let compiled = Listener {
        name,
        addresses,
        udp: Some(Arc::new(options)),
        backlog: 0,
        chains: Vec::new(),
        handshake_timeout: Duration::ZERO,
    };
    // There is no handshake to wait for.
    message.listener_filters_timeout = None;
    message.tcp_backlog_size = None;
    harmless(&mut message)?;
    nothing_left(&message)?;
    Ok(CompiledListener { listener: Arc::new(compiled), rds: Vec::new(), inline: Vec::new(), secrets: Vec::new() })
}

/// Fields that say nothing here, or what is so anyway.
fn harmless(message: &mut listener::Listener) -> Result<(), Refusal> {
    message.stat_prefix.clear();
    message.metadata = None;
    message.traffic_direction = 0;
    // A wish that the fixed buffers here keep anyway.
    message.per_connection_buffer_limit_bytes = None;
    message.ignore_global_conn_limit = false;
    // Changed listeners are always drained; the choice is about health checks that fail, which aren't there.
    message.drain_type = 0;
    if boolean(&mut message.enable_reuse_port) == Some(false) {
        return Err(Refusal::unsupported("enable_reuse_port"));
    }
    Ok(())
}

struct Needs {
    listener: Arc<str>,
    rds: Vec<String>,
    inline: Vec<(Arc<Slot>, RouteConfig)>,
    secrets: Vec<String>,
}

/// Its addresses, and whether they are for datagrams.
fn addresses(message: &mut listener::Listener) -> Result<(Vec<SocketAddr>, bool), Refusal> {
    let datagrams = takes_datagrams(&mut message.address);
    let mut addresses = vec![socket_address(message.address.take()).at("address")?];
    for (index, mut more) in std::mem::take(&mut message.additional_addresses).into_iter().enumerate() {
        let field = format!("additional_addresses[{index}]");
        if takes_datagrams(&mut more.address) != datagrams {
            return Err(Refusal::field(field, "must have the protocol of the first address"));
        }
        let address = socket_address(more.address.take()).at("address").at(&field)?;
        nothing_left(&more).at(&field)?;
        addresses.push(address);
    }
    Ok((addresses, datagrams))
}

/// Takes the protocol out of an address: whether it is UDP.
fn takes_datagrams(address: &mut Option<core::Address>) -> bool {
    match address.as_mut().and_then(|address| address.address.as_mut()) {
        Some(core::address::Address::SocketAddress(socket))
            if socket.protocol == core::socket_address::Protocol::Udp as i32 =>
        {
            socket.protocol = core::socket_address::Protocol::Tcp as i32;
            true
        }
        _ => false,
    }
}

/// Looking into TLS is done by itself where a filter chain wants it, so the inspector is welcome and does nothing.
fn listener_filters(filters: Vec<listener::ListenerFilter>) -> Result<(), Refusal> {
    use listener::listener_filter::ConfigType;
    for (index, filter) in filters.into_iter().enumerate() {
        let inspector: Result<TlsInspector, Refusal> = match filter.config_type {
            Some(ConfigType::TypedConfig(any)) => unpack(&any).at("typed_config"),
            _ => Err(Refusal::unsupported("config_discovery")),
        };
        let field = format!("listener_filters[{index}]");
        inspector.and_then(|inspector| nothing_left(&inspector).at("typed_config")).at(&field)?;
        if filter.filter_disabled.is_some() {
            return Err(Refusal::unsupported("filter_disabled")).at(field);
        }
    }
    Ok(())
}

fn filter_chain(
    mut message: listener::FilterChain,
    index: usize,
    needs: &mut Needs,
    context: &mut Context<'_>,
) -> Result<FilterChain, Refusal> {
    let (server_names, wants_tls) = match message.filter_chain_match.take() {
        Some(matcher) => chain_match(matcher).at("filter_chain_match")?,
        None => (Vec::new(), None),
    };
    let mut name = std::mem::take(&mut message.name);
    if name.is_empty() {
        name = format!("{wants_tls:?} {server_names:?} {}", if index == usize::MAX { "default" } else { "" });
    }
    let tls = match message.transport_socket.take() {
        Some(socket) => {
            let Context { secrets, tls, roots, .. } = context;
            let mut context = TlsContext { secrets, tls, roots, wanted: Vec::new() };
            let chain = tls::transport_socket(socket, &mut context).at("transport_socket")?;
            needs.secrets.append(&mut context.wanted);
            Some(chain)
        }
        None => None,
    };
    let filter = network_filters(std::mem::take(&mut message.filters), &name, needs, context)?;
    message.metadata = None;
    let handshake_timeout =
        timeout(message.transport_socket_connect_timeout.take(), None, "transport_socket_connect_timeout")?;
    nothing_left(&message)?;
    Ok(FilterChain { key: name, server_names, wants_tls, tls, handshake_timeout, filter })
}

fn chain_match(mut message: listener::FilterChainMatch) -> Result<(Vec<String>, Option<bool>), Refusal> {
    let names = std::mem::take(&mut message.server_names);
    for (index, name) in names.iter().enumerate() {
        let inner = name.strip_prefix("*.").unwrap_or(name);
        if inner.is_empty() || inner.contains('*') {
            return Err(Refusal::field(format!("server_names[{index}]"), "must be a name or *. and a name"));
        }
    }
    let wants_tls = match &*std::mem::take(&mut message.transport_protocol) {
        "" => None,
        "tls" => Some(true),
        "raw_buffer" => Some(false),
        other => return Err(Refusal::field("transport_protocol", format!("{other} isn't known"))),
    };
    nothing_left(&message)?;
    Ok((names.into_iter().map(|name| name.to_ascii_lowercase()).collect(), wants_tls))
}

fn network_filters(
    filters: Vec<listener::Filter>,
    chain: &str,
    needs: &mut Needs,
    context: &mut Context<'_>,
) -> Result<NetworkFilter, Refusal> {
    use listener::filter::ConfigType;
    let [filter] = <[listener::Filter; 1]>::try_from(filters)
        .map_err(|_| Refusal::field("filters", "must be one HTTP connection manager or TCP proxy"))?;
    let any = match filter.config_type {
        Some(ConfigType::TypedConfig(any)) => any,
        Some(ConfigType::ConfigDiscovery(_)) => return Err(Refusal::unsupported("filters[0].config_discovery")),
        None => return Err(Refusal::field("filters[0].typed_config", "must be set")),
    };
    let filter = match any.type_url == TcpProxy::type_url() {
        true => unpack(&any)
            .and_then(|proxy| tcp_proxy::compile(proxy, &mut context.numbers.clusters))
            .map(|options| NetworkFilter::Tcp(Arc::new(options))),
        false => connection_manager(&any, chain, needs, context),
    };
    filter.at("filters[0].typed_config")
}

fn connection_manager(
    any: &Any,
    chain: &str,
    needs: &mut Needs,
    context: &mut Context<'_>,
) -> Result<NetworkFilter, Refusal> {
    let manager: HttpConnectionManager = unpack(any)?;
    let Context { numbers, routes, .. } = context;
    let listener = Arc::clone(&needs.listener);
    let mut slot = |source: &RouteSource| match source {
        RouteSource::Rds(name) => routes.slot(name),
        // Names that come from outside never hold a NUL.
        RouteSource::Inline(_) => routes.slot(&format!("\0{listener}\0{chain}")),
    };
    let (options, source) = hcm::compile(manager, numbers, &mut slot)?;
    match source {
        RouteSource::Rds(name) => needs.rds.push(name),
        RouteSource::Inline(config) => needs.inline.push((Arc::clone(&options.routes), *config)),
    }
    Ok(NetworkFilter::Http(Arc::new(options)))
}

/// Two chains with the same match can't be told apart.
fn distinct(chains: &[FilterChain]) -> Result<(), Refusal> {
    for (index, chain) in chains.iter().enumerate() {
        for other in &chains[..index] {
            let same = |a: &FilterChain, b: &FilterChain| {
                a.wants_tls == b.wants_tls && a.server_names.iter().any(|name| b.server_names.contains(name))
            };
            if same(chain, other) || chain.key == other.key {
                return Err(Refusal::field(
                    format!("filter_chains[{index}]"),
                    format!("has the same name or match as filter chain {:?}", other.key),
                ));
            }
        }
    }
    Ok(())
}
