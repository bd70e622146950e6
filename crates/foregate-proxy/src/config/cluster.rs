//! `Cluster`: how its endpoints are found, chosen and connected to.

use std::time::Duration;

use foregate_envoy::pb::envoy::config::cluster::v3 as cluster;
use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::extensions::upstreams::http::v3 as upstream;

use super::endpoints::{self, DEFAULT_PANIC_PERCENT, LoadAssignment};
use super::parts::{ads, number, optional_duration, timeout};
use super::refusal::{At, Refusal, nothing_left, unpack};

/// Where protocol options of clusters are found.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Balance {
    /// In turns, by weight.
    #[default]
    RoundRobin,
    /// The one of two with fewer requests under way.
    LeastRequest,
    /// By chance.
    Random,
}

/// Upper bounds per worker, as `circuit_breakers` of the default priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Connections.
    pub(crate) connections: u32,
    /// Requests under way.
    pub(crate) requests: u32,
    /// Retries under way.
    pub(crate) retries: u32,
}

/// A compiled cluster, without its endpoints.
#[derive(Debug, PartialEq)]
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
    /// How long an idle connection is kept.
    pub(crate) idle_timeout: Option<Duration>,
    /// After so many requests a connection is closed.
    pub(crate) max_requests_per_connection: Option<u32>,
    /// Bounds.
    pub(crate) limits: Limits,
}

/// Compiles a cluster; the endpoints, if they are part of it.
pub(crate) fn compile(mut message: cluster::Cluster) -> Result<(ClusterConfig, Option<LoadAssignment>), Refusal> {
    use cluster::cluster::{ClusterDiscoveryType, DiscoveryType};
    let name = std::mem::take(&mut message.name);
    if name.is_empty() {
        return Err(Refusal::field("name", "must be set"));
    }
    let kind = match message.cluster_discovery_type.take() {
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(kind).ok(),
        Some(ClusterDiscoveryType::ClusterType(_)) => return Err(Refusal::unsupported("cluster_type")),
        None => Some(DiscoveryType::Static),
    };
    let (service_name, assignment) = match kind {
        Some(DiscoveryType::Eds) => (Some(eds(&mut message, &name).at("eds_cluster_config")?), None),
        Some(DiscoveryType::Static) => {
            let load = message.load_assignment.take().map(endpoints::compile).transpose().at("load_assignment")?;
            (None, Some(load.unwrap_or_default()))
        }
        Some(other) => {
            return Err(Refusal::field("type", format!("{} is {}", other.as_str_name(), super::refusal::UNSUPPORTED)));
        }
        None => return Err(Refusal::field("type", "isn't a known value")),
    };
    let config = ClusterConfig {
        connect_timeout: timeout(message.connect_timeout.take(), None, "connect_timeout")?
            .unwrap_or(Duration::from_secs(5)),
        balance: balance(&mut message)?,
        panic_percent: panic_percent(message.common_lb_config.take()).at("common_lb_config")?,
        limits: limits(message.circuit_breakers.take()).at("circuit_breakers")?,
        ..http_options(&mut message)?
    };
    // Names and metadata for logs and statistics elsewhere; `dns_lookup_family` without DNS says nothing; a buffer
    // limit is a wish that the fixed buffers here keep anyway.
    message.alt_stat_name.clear();
    message.metadata = None;
    message.dns_lookup_family = 0;
    message.per_connection_buffer_limit_bytes = None;
    // Endpoints that are gone are always drained at once here, whatever health checks would say.
    message.ignore_health_on_host_removal = false;
    nothing_left(&message)?;
    Ok((ClusterConfig { name, service_name, ..config }, assignment))
}

fn eds(message: &mut cluster::Cluster, name: &str) -> Result<String, Refusal> {
    let mut eds = message.eds_cluster_config.take().ok_or_else(|| Refusal::new("must be set"))?;
    ads(eds.eds_config.take()).at("eds_config")?;
    let service = std::mem::take(&mut eds.service_name);
    nothing_left(&eds)?;
    Ok(if service.is_empty() { name.to_owned() } else { service })
}

fn balance(message: &mut cluster::Cluster) -> Result<Balance, Refusal> {
    use cluster::cluster::LbPolicy;
    match LbPolicy::try_from(std::mem::take(&mut message.lb_policy)) {
        Ok(LbPolicy::RoundRobin) => Ok(Balance::RoundRobin),
        Ok(LbPolicy::LeastRequest) => Ok(Balance::LeastRequest),
        Ok(LbPolicy::Random) => Ok(Balance::Random),
        Ok(other) => {
            Err(Refusal::field("lb_policy", format!("{} is {}", other.as_str_name(), super::refusal::UNSUPPORTED)))
        }
        Err(_) => Err(Refusal::field("lb_policy", "isn't a known value")),
    }
}

fn panic_percent(message: Option<cluster::cluster::CommonLbConfig>) -> Result<f64, Refusal> {
    let Some(mut message) = message else { return Ok(DEFAULT_PANIC_PERCENT) };
    let percent = message.healthy_panic_threshold.take().map_or(DEFAULT_PANIC_PERCENT, |percent| percent.value);
    nothing_left(&message)?;
    Ok(percent)
}

fn limits(message: Option<cluster::CircuitBreakers>) -> Result<Limits, Refusal> {
    // Envoy's defaults.
    let mut limits = Limits { connections: 1024, requests: 1024, retries: 3 };
    let Some(mut message) = message else {
        return Ok(Limits { connections: u32::MAX, requests: u32::MAX, retries: u32::MAX });
    };
    for (index, mut threshold) in std::mem::take(&mut message.thresholds).into_iter().enumerate() {
        let high = std::mem::take(&mut threshold.priority) == core::RoutingPriority::High as i32;
        let set = Limits {
            connections: number(&mut threshold.max_connections).unwrap_or(limits.connections),
            requests: number(&mut threshold.max_requests).unwrap_or(limits.requests),
            retries: number(&mut threshold.max_retries).unwrap_or(limits.retries),
        };
        // Nothing waits for a connection here: a request gets one at once or fails.
        threshold.max_pending_requests = None;
        threshold.track_remaining = false;
        nothing_left(&threshold).at(format_args!("thresholds[{index}]"))?;
        if !high {
            limits = set;
        }
    }
    nothing_left(&message)?;
    Ok(limits)
}

fn http_options(message: &mut cluster::Cluster) -> Result<ClusterConfig, Refusal> {
    let mut config = ClusterConfig {
        name: String::new(),
        service_name: None,
        connect_timeout: Duration::ZERO,
        balance: Balance::RoundRobin,
        panic_percent: DEFAULT_PANIC_PERCENT,
        idle_timeout: Some(Duration::from_secs(3600)),
        max_requests_per_connection: None,
        limits: Limits { connections: u32::MAX, requests: u32::MAX, retries: u32::MAX },
    };
    if let Some(any) = message.typed_extension_protocol_options.remove(HTTP_OPTIONS) {
        unpack(&any)
            .and_then(|options| typed_options(&mut config, options))
            .at(format_args!("typed_extension_protocol_options[{HTTP_OPTIONS:?}]"))?;
    }
    Ok(config)
}

fn typed_options(config: &mut ClusterConfig, mut message: upstream::HttpProtocolOptions) -> Result<(), Refusal> {
    use upstream::http_protocol_options::UpstreamProtocolOptions as Protocol;
    use upstream::http_protocol_options::explicit_http_config::ProtocolConfig;
    if let Some(common) = message.common_http_protocol_options.take() {
        common_options(config, common).at("common_http_protocol_options")?;
    }
    match message.upstream_protocol_options.take() {
        None => {}
        Some(Protocol::ExplicitHttpConfig(explicit)) => match explicit.protocol_config {
            Some(ProtocolConfig::HttpProtocolOptions(http1)) => {
                nothing_left(&http1).at("explicit_http_config.http_protocol_options")?;
            }
            None => {}
            Some(ProtocolConfig::Http2ProtocolOptions(_)) => {
                return Err(Refusal::unsupported("explicit_http_config.http2_protocol_options"));
            }
            Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                return Err(Refusal::unsupported("explicit_http_config.http3_protocol_options"));
            }
        },
        Some(Protocol::UseDownstreamProtocolConfig(_)) => {
            return Err(Refusal::unsupported("use_downstream_protocol_config"));
        }
        Some(Protocol::AutoConfig(_)) => return Err(Refusal::unsupported("auto_config")),
    }
    nothing_left(&message)
}

fn common_options(config: &mut ClusterConfig, mut message: core::HttpProtocolOptions) -> Result<(), Refusal> {
    if message.idle_timeout.is_some() {
        config.idle_timeout =
            optional_duration(message.idle_timeout.take(), "idle_timeout")?.filter(|timeout| !timeout.is_zero());
    }
    config.max_requests_per_connection = number(&mut message.max_requests_per_connection).filter(|max| *max > 0);
    nothing_left(&message)
}
