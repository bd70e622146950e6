//! What happens to a request that a route matched.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::config::route::v3 as route;
use http::{HeaderName, HeaderValue, StatusCode};

use super::hash_policy::{self, HashPolicy};
use super::headers::{HeaderEdits, header_name, take_edits};
use super::parts::{inline_data, number, optional_duration, runtime_fraction, timeout};
use super::per_filter::{self, PerFilter};
use super::refusal::{At, Refusal, nothing_left};
use super::retry::{self, RetryPolicy};
use super::rewrite::{PathRewrite, regex_rewrite};
use super::upgrades::{self, Upgrades};
use crate::routing::matchers::Fraction;
use crate::slots::{Interner, Slot};

/// Envoy's default for a whole request.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// What happens to a request.
#[derive(Debug)]
pub(crate) enum Action {
    /// It is sent to a cluster.
    Forward(Box<Forward>),
    /// The client is sent elsewhere.
    Redirect(Box<Redirect>),
    /// It is answered here.
    Direct(StatusCode, Bytes),
}

/// How a request is forwarded.
#[derive(Debug)]
pub(crate) struct Forward {
    /// Where to.
    pub(crate) target: Target,
    /// The answer when there is no such cluster.
    pub(crate) not_found: StatusCode,
    /// How the path changes.
    pub(crate) rewrite: PathRewrite,
    /// How the host changes.
    pub(crate) host: HostRewrite,
    /// The host as it was goes into `x-forwarded-host`.
    pub(crate) append_x_forwarded_host: bool,
    /// For the whole request, all tries included.
    pub(crate) timeout: Option<Duration>,
    /// With no bytes in either direction.
    pub(crate) idle_timeout: Option<Duration>,
    /// When it is sent again; `None`: the virtual host's policy.
    pub(crate) retry: Option<RetryPolicy>,
    /// Where copies go; `None`: as the virtual host says.
    pub(crate) mirrors: Vec<Mirror>,
    /// What decides which endpoint a request belongs to, if the cluster asks for that.
    pub(crate) hash: Box<[HashPolicy]>,
    /// What it may change to; for all others the listener says.
    pub(crate) upgrades: Upgrades,
}

/// Where requests go.
#[derive(Debug)]
pub(crate) enum Target {
    /// One cluster.
    Cluster(Arc<Slot>),
    /// One of several, by weight.
    Weighted {
        /// The sum of all weights.
        total: u64,
        /// Who has how much.
        clusters: Vec<WeightedCluster>,
    },
}

/// One of several clusters.
#[derive(Debug)]
pub(crate) struct WeightedCluster {
    /// Which.
    pub(crate) cluster: Arc<Slot>,
    /// Its share.
    pub(crate) weight: u64,
    /// Header changes of what goes there.
    pub(crate) edits: HeaderEdits,
    /// The host of what goes there.
    pub(crate) host: Option<HeaderValue>,
    /// What it says to filters.
    pub(crate) filters: PerFilter,
}

/// How the host changes.
#[derive(Debug, Default)]
pub(crate) enum HostRewrite {
    /// Not at all.
    #[default]
    Keep,
    /// To this.
    Literal(HeaderValue),
    /// To what this header says.
    Header(HeaderName),
}

/// Copies of requests.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Where they go.
    pub(crate) cluster: Arc<Slot>,
    /// How many of them.
    pub(crate) fraction: Option<Fraction>,
    /// `-shadow` is appended to their host.
    pub(crate) shadow_suffix: bool,
    /// Their host.
    pub(crate) host: Option<HeaderValue>,
}

/// Where a client is sent.
#[derive(Debug)]
pub(crate) struct Redirect {
    /// `https`, `http` or as it was.
    pub(crate) scheme: Option<Box<str>>,
    /// The host, or as it was.
    pub(crate) host: Option<Box<str>>,
    /// The port, or as it was.
    pub(crate) port: Option<u16>,
    /// The path.
    pub(crate) path: RedirectPath,
    /// The status.
    pub(crate) status: StatusCode,
    /// The query is left out.
    pub(crate) strip_query: bool,
}

/// The path of a redirect.
#[derive(Debug)]
pub(crate) enum RedirectPath {
    /// This, with its own query if it has one.
    Full(Box<str>),
    /// The request's, rewritten.
    Rewrite(PathRewrite),
}

/// Compiles a forwarding action.
pub(crate) fn forward(mut message: route::RouteAction, slots: &mut Interner) -> Result<Forward, Refusal> {
    use route::route_action::ClusterNotFoundResponseCode as NotFound;
    let target = target(message.cluster_specifier.take(), slots)?;
    let not_found = match NotFound::try_from(std::mem::take(&mut message.cluster_not_found_response_code)) {
        Ok(NotFound::ServiceUnavailable) => StatusCode::SERVICE_UNAVAILABLE,
        Ok(NotFound::NotFound) => StatusCode::NOT_FOUND,
        Ok(NotFound::InternalServerError) => StatusCode::INTERNAL_SERVER_ERROR,
        Err(_) => return Err(Refusal::field("cluster_not_found_response_code", "isn't a known value")),
    };
    let prefix = std::mem::take(&mut message.prefix_rewrite);
    let rewrite = match (prefix.is_empty(), message.regex_rewrite.take()) {
        (true, None) => PathRewrite::Keep,
        (false, None) => PathRewrite::Prefix(prefix.into()),
        (true, Some(regex)) => regex_rewrite(regex).at("regex_rewrite")?,
        (false, Some(_)) => return Err(Refusal::new("prefix_rewrite and regex_rewrite exclude each other")),
    };
    let host = host_rewrite(message.host_rewrite_specifier.take())?;
    let forward = Forward {
        target,
        not_found,
        rewrite,
        host,
        append_x_forwarded_host: std::mem::take(&mut message.append_x_forwarded_host),
        timeout: timeout(message.timeout.take(), Some(DEFAULT_TIMEOUT), "timeout")?,
        idle_timeout: optional_duration(message.idle_timeout.take(), "idle_timeout")?,
        retry: message.retry_policy.take().map(retry::compile).transpose().at("retry_policy")?,
        mirrors: mirrors(std::mem::take(&mut message.request_mirror_policies), slots)?,
        hash: hash_policy::compile(std::mem::take(&mut message.hash_policy))?,
        upgrades: upgrades::of_route(std::mem::take(&mut message.upgrade_configs))?,
    };
    nothing_left(&message)?;
    Ok(forward)
}

fn target(specifier: Option<route::route_action::ClusterSpecifier>, slots: &mut Interner) -> Result<Target, Refusal> {
    use route::route_action::ClusterSpecifier as Specifier;
    match specifier {
        Some(Specifier::Cluster(name)) => Ok(Target::Cluster(slots.slot(&name))),
        Some(Specifier::WeightedClusters(weighted)) => weighted_clusters(weighted, slots).at("weighted_clusters"),
        Some(Specifier::ClusterHeader(_)) => Err(Refusal::unsupported("cluster_header")),
        Some(Specifier::ClusterSpecifierPlugin(_)) => Err(Refusal::unsupported("cluster_specifier_plugin")),
        Some(Specifier::InlineClusterSpecifierPlugin(_)) => {
            Err(Refusal::unsupported("inline_cluster_specifier_plugin"))
        }
        None => Err(Refusal::new("must name a cluster")),
    }
}

fn weighted_clusters(mut message: route::WeightedCluster, slots: &mut Interner) -> Result<Target, Refusal> {
    let mut clusters = Vec::new();
    for (index, cluster) in std::mem::take(&mut message.clusters).into_iter().enumerate() {
        clusters.push(weighted_cluster(cluster, slots).at(format_args!("clusters[{index}]"))?);
    }
    // Deprecated, and always the sum: a different total is refused rather than guessed at.
    #[allow(deprecated, reason = "still written by many")]
    let stated = number(&mut message.total_weight);
    nothing_left(&message)?;
    let total: u64 = clusters.iter().map(|cluster| cluster.weight).sum();
    if stated.is_some_and(|stated| u64::from(stated) != total) {
        return Err(Refusal::field("total_weight", "must be the sum of the weights"));
    }
    if total == 0 {
        return Err(Refusal::new("the sum of the weights must not be 0"));
    }
    Ok(Target::Weighted { total, clusters })
}

fn weighted_cluster(
    mut message: route::weighted_cluster::ClusterWeight,
    slots: &mut Interner,
) -> Result<WeightedCluster, Refusal> {
    use route::weighted_cluster::cluster_weight::HostRewriteSpecifier;
    let host = match message.host_rewrite_specifier.take() {
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => Some(host_value(&host).at("host_rewrite_literal")?),
        None => None,
    };
    let name = std::mem::take(&mut message.name);
    if name.is_empty() {
        return Err(Refusal::field("name", "must be set"));
    }
    let cluster = WeightedCluster {
        cluster: slots.slot(&name),
        weight: number(&mut message.weight).unwrap_or(0).into(),
        edits: take_edits!(message)?,
        host,
        filters: per_filter::of_weighted(std::mem::take(&mut message.typed_per_filter_config), slots)?,
    };
    nothing_left(&message)?;
    Ok(cluster)
}

fn host_rewrite(specifier: Option<route::route_action::HostRewriteSpecifier>) -> Result<HostRewrite, Refusal> {
    use route::route_action::HostRewriteSpecifier as Specifier;
    match specifier {
        None => Ok(HostRewrite::Keep),
        Some(Specifier::AutoHostRewrite(value)) if !value.value => Ok(HostRewrite::Keep),
        Some(Specifier::HostRewriteLiteral(host)) => {
            Ok(HostRewrite::Literal(host_value(&host).at("host_rewrite_literal")?))
        }
        Some(Specifier::HostRewriteHeader(name)) => {
            Ok(HostRewrite::Header(header_name(&name).at("host_rewrite_header")?))
        }
        Some(Specifier::AutoHostRewrite(_)) => Err(Refusal::unsupported("auto_host_rewrite")),
        Some(Specifier::HostRewritePathRegex(_)) => Err(Refusal::unsupported("host_rewrite_path_regex")),
        Some(Specifier::HostRewrite(_)) => Err(Refusal::unsupported("host_rewrite")),
    }
}

fn host_value(host: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(host).map_err(|_| Refusal::new("is not a host"))
}

/// Compiles mirror policies.
pub(crate) fn mirrors(
    policies: Vec<route::route_action::RequestMirrorPolicy>,
    slots: &mut Interner,
) -> Result<Vec<Mirror>, Refusal> {
    let mut mirrors = Vec::with_capacity(policies.len());
    for (index, policy) in policies.into_iter().enumerate() {
        mirrors.push(mirror(policy, slots).at(format_args!("request_mirror_policies[{index}]"))?);
    }
    Ok(mirrors)
}

fn mirror(mut message: route::route_action::RequestMirrorPolicy, slots: &mut Interner) -> Result<Mirror, Refusal> {
    let cluster = std::mem::take(&mut message.cluster);
    if cluster.is_empty() {
        return Err(Refusal::field("cluster", "must be set"));
    }
    let host = std::mem::take(&mut message.host_rewrite_literal);
    let mirror = Mirror {
        cluster: slots.slot(&cluster),
        fraction: message.runtime_fraction.take().map(runtime_fraction).transpose().at("runtime_fraction")?,
        shadow_suffix: !std::mem::take(&mut message.disable_shadow_host_suffix_append),
        host: if host.is_empty() { None } else { Some(host_value(&host).at("host_rewrite_literal")?) },
    };
    // Nothing is traced, so nothing is sampled.
    message.trace_sampled = None;
    nothing_left(&message)?;
    Ok(mirror)
}

/// Compiles a redirect.
pub(crate) fn redirect(mut message: route::RedirectAction) -> Result<Redirect, Refusal> {
    use route::redirect_action::{
        PathRewriteSpecifier as Path, RedirectResponseCode as Code, SchemeRewriteSpecifier as Scheme,
    };
    let scheme = match message.scheme_rewrite_specifier.take() {
        Some(Scheme::HttpsRedirect(true)) => Some("https".into()),
        Some(Scheme::SchemeRedirect(scheme)) => Some(scheme.to_ascii_lowercase().into()),
        Some(Scheme::HttpsRedirect(false)) | None => None,
    };
    let path = match message.path_rewrite_specifier.take() {
        Some(Path::PathRedirect(path)) => RedirectPath::Full(path.into()),
        Some(Path::PrefixRewrite(prefix)) => RedirectPath::Rewrite(PathRewrite::Prefix(prefix.into())),
        Some(Path::RegexRewrite(regex)) => RedirectPath::Rewrite(regex_rewrite(regex).at("regex_rewrite")?),
        Some(Path::PathRewrite(_)) => return Err(Refusal::unsupported("path_rewrite")),
        None => RedirectPath::Rewrite(PathRewrite::Keep),
    };
    let status = match Code::try_from(std::mem::take(&mut message.response_code)) {
        Ok(Code::MovedPermanently) => StatusCode::MOVED_PERMANENTLY,
        Ok(Code::Found) => StatusCode::FOUND,
        Ok(Code::SeeOther) => StatusCode::SEE_OTHER,
        Ok(Code::TemporaryRedirect) => StatusCode::TEMPORARY_REDIRECT,
        Ok(Code::PermanentRedirect) => StatusCode::PERMANENT_REDIRECT,
        Err(_) => return Err(Refusal::field("response_code", "isn't a known value")),
    };
    let host = std::mem::take(&mut message.host_redirect);
    let port = u16::try_from(std::mem::take(&mut message.port_redirect))
        .map_err(|_| Refusal::field("port_redirect", "must be at most 65535"))?;
    let redirect = Redirect {
        scheme,
        host: (!host.is_empty()).then(|| host.into()),
        port: (port != 0).then_some(port),
        path,
        status,
        strip_query: std::mem::take(&mut message.strip_query),
    };
    nothing_left(&message)?;
    Ok(redirect)
}

/// Compiles a direct response.
pub(crate) fn direct(mut message: route::DirectResponseAction) -> Result<Action, Refusal> {
    let status = u16::try_from(std::mem::take(&mut message.status))
        .ok()
        .filter(|status| (200..600).contains(status))
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| Refusal::field("status", "must be in 200..599"))?;
    let body = match message.body.take() {
        Some(body) if body == core::DataSource::default() => Vec::new(),
        Some(body) => inline_data(body).at("body")?,
        None => Vec::new(),
    };
    nothing_left(&message)?;
    Ok(Action::Direct(status, body.into()))
}
