//! `Cluster`: how its endpoints are found, chosen and connected to.

use std::time::Duration;

use foregate_envoy::pb::envoy::config::cluster::v3 as cluster;
use foregate_envoy::pb::envoy::config::core::v3 as core;
use prost::Message;
use xxhash_rust::xxh3::xxh3_128;

use super::dns::{self, Dns};
use super::endpoints::{self, DEFAULT_PANIC_PERCENT, LoadAssignment, Names};
use super::outlier::{self, Outlier};
use super::parts::{ads, number, timeout};
use super::protocol::{self, HttpOptions, Protocol};
use super::refusal::{At, Refusal, nothing_left};
use super::upstream_tls::{self, TlsContext};
use crate::hashing::Hashing;
use crate::upstream_tls::UpstreamTls;

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Balance {
    /// In turns, by weight.
    #[default]
    RoundRobin,
    /// The one of some by chance with the fewest requests under way.
    LeastRequest {
        /// Of how many.
        of: u32,
    },
    /// By chance.
    Random,
    /// By what the route's hash policies say; by chance if they say nothing.
    Hash {
        /// How.
        hashing: Hashing,
        /// Endpoints are told apart by their names, not by their addresses.
        by_name: bool,
    },
}

/// Upper bounds, as `circuit_breakers` of the default priority; each worker has them for itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Connections.
    pub(crate) connections: u32,
    /// Requests that wait for a connection.
    pub(crate) pending: u32,
    /// Requests under way.
    pub(crate) requests: u32,
    /// Retries under way.
    pub(crate) retries: Retries,
}

/// How many retries there may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Retries {
    /// So many.
    Most(u32),
    /// A share of the requests under way, but at least so many.
    Share {
        /// Percent.
        percent: f64,
        /// At least.
        least: u32,
    },
}

impl Retries {
    /// Whether there may be one more, with so many requests under way.
    pub(crate) fn may_grow(self, retrying: u32, requests: u32) -> bool {
        match self {
            Self::Most(most) => retrying < most,
            Self::Share { percent, least } => {
                retrying < least || f64::from(retrying) < (f64::from(requests) * percent / 100.0).floor()
            }
        }
    }
}

/// A compiled cluster, without its endpoints.
#[derive(Debug)]
pub(crate) struct ClusterConfig {
    /// Its name.
    pub(crate) name: String,
    /// The name that its endpoints are asked for by; `None` if they are part of it.
    pub(crate) service_name: Option<String>,
    /// For connecting.
    pub(crate) connect_timeout: Duration,
    /// How an endpoint is chosen.
    pub(crate) balance: Balance,
    /// Below this share of healthy endpoints all are used.
    pub(crate) panic_percent: f64,
    /// What is spoken, and how long connections live.
    pub(crate) http: HttpOptions,
    /// How its endpoints' names are resolved, if they have any.
    pub(crate) dns: Option<Dns>,
    /// TLS, if it is spoken.
    pub(crate) tls: Option<UpstreamTls>,
    /// Connections of versions of the cluster that say the same here can be used for each other.
    pub(crate) transport: u128,
    /// Bounds.
    pub(crate) limits: Limits,
    /// When endpoints are left out.
    pub(crate) outlier: Option<Outlier>,
}

/// A compiled cluster, and what else it needs.
#[derive(Debug)]
pub(crate) struct CompiledCluster {
    /// What doesn't change with the endpoints.
    pub(crate) config: ClusterConfig,
    /// The endpoints, if they are part of it.
    pub(crate) assignment: Option<LoadAssignment>,
    /// Secrets to ask for.
    pub(crate) secrets: Vec<String>,
}

/// Compiles a cluster.
pub(crate) fn compile(mut message: cluster::Cluster, context: &mut TlsContext<'_>) -> Result<CompiledCluster, Refusal> {
    let name = std::mem::take(&mut message.name);
    if name.is_empty() {
        return Err(Refusal::field("name", "must be set"));
    }
    let Discovery { service_name, assignment, dns } = discovery(&mut message, &name)?;
    let transport = fingerprint(&message);
    let socket = message.transport_socket.take();
    let tls = match socket {
        Some(socket) => upstream_tls::transport_socket(socket, context).at("transport_socket")?,
        None => None,
    };
    let (panic_percent, by_name) = common_lb(message.common_lb_config.take()).at("common_lb_config")?;
    let config = ClusterConfig {
        tls,
        transport,
        dns,
        connect_timeout: timeout(message.connect_timeout.take(), None, "connect_timeout")?
            .unwrap_or(Duration::from_secs(5)),
        balance: balance(&mut message, by_name)?,
        panic_percent,
        limits: limits(message.circuit_breakers.take()).at("circuit_breakers")?,
        outlier: message.outlier_detection.take().map(outlier::compile).transpose().at("outlier_detection")?,
        http: protocol::take(&mut message)?,
        name,
        service_name,
    };
    if config.http.protocol == Protocol::Negotiated && config.tls.is_none() {
        return Err(Refusal::field(protocol::AUTO_CONFIG, "needs a transport_socket with TLS"));
    }
    // Names and metadata for logs and statistics elsewhere; `dns_lookup_family` without DNS says nothing; a buffer
    // limit is a wish that the fixed buffers here keep anyway.
    message.alt_stat_name.clear();
    message.metadata = None;
    message.dns_lookup_family = 0;
    message.per_connection_buffer_limit_bytes = None;
    // Endpoints that are gone are always drained at once here, whatever health checks would say.
    message.ignore_health_on_host_removal = false;
    nothing_left(&message)?;
    Ok(CompiledCluster { config, assignment, secrets: std::mem::take(&mut context.wanted) })
}

/// How a cluster's endpoints are found.
struct Discovery {
    service_name: Option<String>,
    assignment: Option<LoadAssignment>,
    dns: Option<Dns>,
}

fn discovery(message: &mut cluster::Cluster, name: &str) -> Result<Discovery, Refusal> {
    use cluster::cluster::{ClusterDiscoveryType, DiscoveryType};
    let kind = match message.cluster_discovery_type.take() {
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(kind).ok(),
        Some(ClusterDiscoveryType::ClusterType(_)) => return Err(Refusal::unsupported("cluster_type")),
        None => Some(DiscoveryType::Static),
    };
    let mut dns = None;
    let (service_name, assignment) = match kind {
        Some(DiscoveryType::Eds) => (Some(eds(message, name).at("eds_cluster_config")?), None),
        Some(DiscoveryType::Static) => {
            let load = message.load_assignment.take().map(|load| endpoints::compile(load, Names::Refused)).transpose();
            let load = load.at("load_assignment")?;
            (None, Some(load.unwrap_or_default()))
        }
        Some(kind @ (DiscoveryType::StrictDns | DiscoveryType::LogicalDns)) => {
            let (how, load) = dns::take(message, kind == DiscoveryType::LogicalDns)?;
            dns = Some(how);
            (None, Some(load))
        }
        Some(other) => {
            return Err(Refusal::field("type", format!("{} is {}", other.as_str_name(), super::refusal::UNSUPPORTED)));
        }
        None => return Err(Refusal::field("type", "isn't a known value")),
    };
    Ok(Discovery { service_name, assignment, dns })
}

/// A fingerprint of how connections are made and what is spoken on them.
fn fingerprint(message: &cluster::Cluster) -> u128 {
    let transport = cluster::Cluster {
        transport_socket: message.transport_socket.clone(),
        typed_extension_protocol_options: message.typed_extension_protocol_options.clone(),
        ..Default::default()
    };
    xxh3_128(&transport.encode_to_vec())
}

fn eds(message: &mut cluster::Cluster, name: &str) -> Result<String, Refusal> {
    let mut eds = message.eds_cluster_config.take().ok_or_else(|| Refusal::new("must be set"))?;
    ads(eds.eds_config.take()).at("eds_config")?;
    let service = std::mem::take(&mut eds.service_name);
    nothing_left(&eds)?;
    Ok(if service.is_empty() { name.to_owned() } else { service })
}

fn balance(message: &mut cluster::Cluster, by_name: bool) -> Result<Balance, Refusal> {
    use cluster::cluster::{LbConfig, LbPolicy};
    let policy = LbPolicy::try_from(std::mem::take(&mut message.lb_policy));
    let balance = match (policy, message.lb_config.take()) {
        (Ok(LbPolicy::RoundRobin), None) => Balance::RoundRobin,
        (Ok(LbPolicy::RoundRobin), Some(LbConfig::RoundRobinLbConfig(config))) => {
            nothing_left(&config).at("round_robin_lb_config")?;
            Balance::RoundRobin
        }
        (Ok(LbPolicy::LeastRequest), None) => Balance::LeastRequest { of: 2 },
        (Ok(LbPolicy::LeastRequest), Some(LbConfig::LeastRequestLbConfig(mut config))) => {
            let of = number(&mut config.choice_count).unwrap_or(2).clamp(2, 64);
            nothing_left(&config).at("least_request_lb_config")?;
            Balance::LeastRequest { of }
        }
        (Ok(LbPolicy::Random), None) => Balance::Random,
        (Ok(LbPolicy::RingHash), None) => hashed(ring(None)?, by_name),
        (Ok(LbPolicy::RingHash), Some(LbConfig::RingHashLbConfig(config))) => {
            hashed(ring(Some(config)).at("ring_hash_lb_config")?, by_name)
        }
        (Ok(LbPolicy::Maglev), None) => hashed(Hashing::Maglev { places: MAGLEV_PLACES }, by_name),
        (Ok(LbPolicy::Maglev), Some(LbConfig::MaglevLbConfig(config))) => {
            hashed(maglev(config).at("maglev_lb_config")?, by_name)
        }
        (
            Ok(
                policy @ (LbPolicy::RoundRobin
                | LbPolicy::LeastRequest
                | LbPolicy::Random
                | LbPolicy::RingHash
                | LbPolicy::Maglev),
            ),
            Some(_),
        ) => return Err(Refusal::field("lb_config", format!("is another policy's than {}", policy.as_str_name()))),
        (Ok(other), _) => {
            let problem = format!("{} is {}", other.as_str_name(), super::refusal::UNSUPPORTED);
            return Err(Refusal::field("lb_policy", problem));
        }
        (Err(_), _) => return Err(Refusal::field("lb_policy", "isn't a known value")),
    };
    Ok(balance)
}

fn hashed(hashing: Hashing, by_name: bool) -> Balance {
    Balance::Hash { hashing, by_name }
}

/// Places of Envoy's table, if nothing is said.
const MAGLEV_PLACES: u64 = 65_537;
/// Points of Envoy's ring, if nothing is said; the second is also the most that can be asked for.
const RING: (u64, u64) = (1024, 8 << 20);

fn ring(config: Option<cluster::cluster::RingHashLbConfig>) -> Result<Hashing, Refusal> {
    let mut config = config.unwrap_or_default();
    let smallest = config.minimum_ring_size.take().map_or(RING.0, |size| size.value);
    let largest = config.maximum_ring_size.take().map_or(RING.1, |size| size.value);
    // xxHash is the default, the other one is for who moves over from older systems.
    nothing_left(&config)?;
    if largest > RING.1 || smallest > largest || smallest == 0 {
        return Err(Refusal::new(format!("sizes must be from 1 to {}, the minimum below the maximum", RING.1)));
    }
    Ok(Hashing::Ring { smallest, largest })
}

fn maglev(mut config: cluster::cluster::MaglevLbConfig) -> Result<Hashing, Refusal> {
    let places = config.table_size.take().map_or(MAGLEV_PLACES, |size| size.value);
    nothing_left(&config)?;
    if !(2..=5_000_011).contains(&places) || (2..).take_while(|n| n * n <= places).any(|n| places.is_multiple_of(n)) {
        return Err(Refusal::field("table_size", "must be a prime of at most 5000011"));
    }
    Ok(Hashing::Maglev { places })
}

/// The panic threshold, and whether hashing is by name.
fn common_lb(message: Option<cluster::cluster::CommonLbConfig>) -> Result<(f64, bool), Refusal> {
    let Some(mut message) = message else { return Ok((DEFAULT_PANIC_PERCENT, false)) };
    let percent = message.healthy_panic_threshold.take().map_or(DEFAULT_PANIC_PERCENT, |percent| percent.value);
    let by_name = match message.consistent_hashing_lb_config.take() {
        Some(mut config) => {
            let by_name = std::mem::take(&mut config.use_hostname_for_hashing);
            nothing_left(&config).at("consistent_hashing_lb_config")?;
            by_name
        }
        None => false,
    };
    nothing_left(&message)?;
    Ok((percent, by_name))
}

impl Default for Limits {
    /// Envoy's defaults.
    fn default() -> Self {
        Self { connections: 1024, pending: 1024, requests: 1024, retries: Retries::Most(3) }
    }
}

/// A budget counts, where there is one, and the number doesn't.
fn retries(threshold: &mut cluster::circuit_breakers::Thresholds, default: Retries) -> Result<Retries, Refusal> {
    let most = number(&mut threshold.max_retries).map_or(default, Retries::Most);
    let Some(mut budget) = threshold.retry_budget.take() else { return Ok(most) };
    let percent = budget.budget_percent.take().map_or(20.0, |percent| percent.value);
    let least = number(&mut budget.min_retry_concurrency).unwrap_or(3);
    nothing_left(&budget).at("retry_budget")?;
    if !(0.0..=100.0).contains(&percent) {
        return Err(Refusal::field("retry_budget.budget_percent", "must be in 0..100"));
    }
    Ok(Retries::Share { percent, least })
}

fn limits(message: Option<cluster::CircuitBreakers>) -> Result<Limits, Refusal> {
    let mut limits = Limits::default();
    let Some(mut message) = message else { return Ok(limits) };
    for (index, mut threshold) in std::mem::take(&mut message.thresholds).into_iter().enumerate() {
        let high = std::mem::take(&mut threshold.priority) == core::RoutingPriority::High as i32;
        let set = Limits {
            connections: number(&mut threshold.max_connections).unwrap_or(limits.connections),
            pending: number(&mut threshold.max_pending_requests).unwrap_or(limits.pending),
            requests: number(&mut threshold.max_requests).unwrap_or(limits.requests),
            retries: retries(&mut threshold, limits.retries).at(format_args!("thresholds[{index}]"))?,
        };
        // Only a statistic of Envoy's.
        threshold.track_remaining = false;
        nothing_left(&threshold).at(format_args!("thresholds[{index}]"))?;
        if !high {
            limits = set;
        }
    }
    nothing_left(&message)?;
    Ok(limits)
}
