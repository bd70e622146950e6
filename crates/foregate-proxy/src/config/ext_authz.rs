//! `ExtAuthz`: a service that is asked whether a request may pass.
//!
//! Whatever goes wrong, the request is refused: a filter that would let it pass then is refused itself.

use std::sync::Arc;
use std::time::Duration;

use foregate_envoy::pb::envoy::config::common::mutation_rules::v3::HeaderMutationRules;
use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::extensions::common::matching::v3 as matching;
use foregate_envoy::pb::envoy::extensions::filters::common::matcher::action::v3::SkipFilter;
use foregate_envoy::pb::envoy::extensions::filters::http::composite::v3::{Composite, ExecuteFilterAction};
use foregate_envoy::pb::envoy::extensions::filters::http::ext_authz::v3 as wire;
use foregate_envoy::pb::envoy::r#type::matcher::v3 as text;
use foregate_envoy::pb::google::protobuf::Any;
use foregate_envoy::pb::xds::r#type::matcher::v3 as xds;
use http::{HeaderValue, StatusCode};
use regex::Regex;

use super::parts::{boolean, envoy_grpc, text_matcher, timeout, whole_regex};
use super::per_filter::Setting;
use super::refusal::{At, Refusal, nothing_left, unpack};
use crate::routing::matchers::TextMatcher;
use crate::slots::{Interner, Slot};

/// Envoy's default.
const TIMEOUT: Duration = Duration::from_millis(200);

/// A service, and how it is asked.
#[derive(Debug)]
pub(crate) struct Authorizer {
    /// Its cluster.
    pub(crate) cluster: Arc<Slot>,
    /// How it is asked.
    pub(crate) service: Service,
    /// It has so long to answer.
    pub(crate) timeout: Duration,
    /// Headers that it is told; none: all by gRPC, none by HTTP.
    pub(crate) allowed: Option<Vec<TextMatcher>>,
    /// Headers that it is never told.
    pub(crate) disallowed: Vec<TextMatcher>,
    /// So many bytes of a body are kept for it; none: it is told nothing of the body.
    pub(crate) body: Option<BodyLimit>,
    /// The answer when it can't be asked.
    pub(crate) on_error: StatusCode,
    /// Names of headers that it can't change.
    pub(crate) kept: Option<Regex>,
    /// It can change headers of Envoy's own.
    pub(crate) envoy_headers: bool,
}

/// A bound for bodies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit {
    /// Bytes.
    pub(crate) max: usize,
    /// As bytes, not as text.
    pub(crate) as_bytes: bool,
}

/// How a service is asked.
#[derive(Debug)]
pub(crate) enum Service {
    /// `envoy.service.auth.v3.Authorization/Check`, at this host.
    Grpc(HeaderValue),
    /// With the request's head.
    Http {
        /// Before the path.
        prefix: Box<str>,
        /// Headers of its answer that the request gets.
        upstream: Vec<TextMatcher>,
        /// Those of a refusal that the client gets; none: all.
        client: Option<Vec<TextMatcher>>,
    },
}

/// Compiles a listener's filter: requests are routed after it, and so it has to say that.
pub(crate) fn before_routing(mut message: wire::ExtAuthz, slots: &mut Interner) -> Result<Authorizer, Refusal> {
    if !std::mem::take(&mut message.clear_route_cache) {
        return Err(Refusal::field("clear_route_cache", "must be true: requests are routed after this filter"));
    }
    compile(message, slots)
}

/// The place for what routes say: it does nothing without their word.
pub(crate) fn slot(mut message: matching::ExtensionWithMatcher) -> Result<(), Refusal> {
    let matcher = message.xds_matcher.take().ok_or_else(|| Refusal::field("xds_matcher", "must be set"))?;
    let skip: Result<SkipFilter, Refusal> = action(matcher).and_then(|any| unpack(&any));
    let _ = skip.at("xds_matcher")?;
    let config = message.extension_config.take().and_then(|config| config.typed_config);
    let config = config.ok_or_else(|| Refusal::field("extension_config.typed_config", "must be set"))?;
    let composite: Composite = unpack(&config).at("extension_config.typed_config")?;
    nothing_left(&composite).at("extension_config.typed_config")?;
    nothing_left(&message)
}

/// What a route says to that place: who is asked.
pub(crate) fn per_route(any: &Any, slots: &mut Interner) -> Result<Setting<Authorizer>, Refusal> {
    let mut message: matching::ExtensionWithMatcherPerRoute = unpack(any)?;
    let matcher = message.xds_matcher.take().ok_or_else(|| Refusal::field("xds_matcher", "must be set"))?;
    let any = action(matcher).at("xds_matcher")?;
    let path = "xds_matcher.on_no_match.action.typed_config";
    let mut run: ExecuteFilterAction = unpack(&any).at(path)?;
    let filter = run.typed_config.take().and_then(|config| config.typed_config);
    nothing_left(&run).at(path)?;
    let filter = filter.ok_or_else(|| Refusal::field(format!("{path}.typed_config"), "must be set"))?;
    let authorizer = unpack(&filter).and_then(|message| compile(message, slots));
    authorizer.map(Setting::On).at(format_args!("{path}.typed_config.typed_config"))
}

/// The action of a matcher that asks nothing.
fn action(mut matcher: xds::Matcher) -> Result<Any, Refusal> {
    use xds::matcher::on_match::OnMatch;
    let always = matcher.on_no_match.take();
    if matcher.matcher_type.is_some() {
        return Err(Refusal::new("only on_no_match is supported by the built-in engine"));
    }
    match always.map(|always| (always.keep_matching, always.on_match)) {
        Some((false, Some(OnMatch::Action(config)))) => {
            config.typed_config.ok_or_else(|| Refusal::field("on_no_match.action.typed_config", "must be set"))
        }
        _ => Err(Refusal::field("on_no_match", "must be an action")),
    }
}

fn compile(mut message: wire::ExtAuthz, slots: &mut Interner) -> Result<Authorizer, Refusal> {
    use wire::ext_authz::Services;
    let (cluster, service, wait, by_request) = match message.services.take() {
        Some(Services::GrpcService(grpc)) => self::grpc(grpc).at("grpc_service")?,
        Some(Services::HttpService(http)) => self::http(http).at("http_service")?,
        None => return Err(Refusal::new("must have grpc_service or http_service")),
    };
    if message.failure_mode_allow {
        return Err(Refusal::field("failure_mode_allow", "lets everybody pass when nobody can be asked"));
    }
    let version = std::mem::take(&mut message.transport_api_version);
    if version != core::ApiVersion::Auto as i32 && version != core::ApiVersion::V3 as i32 {
        return Err(Refusal::field("transport_api_version", "only V3 is spoken"));
    }
    let allowed = message.allowed_headers.take().map(matchers).transpose().at("allowed_headers")?;
    let disallowed = message.disallowed_headers.take().map(matchers).transpose().at("disallowed_headers")?;
    let rules = message.decoder_header_mutation_rules.take().map(self::rules).transpose();
    let (kept, envoy_headers) = rules.at("decoder_header_mutation_rules")?.unwrap_or((None, true));
    let status = message.status_on_error.take().map_or(403, |status| status.code);
    let on_error = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let authorizer = Authorizer {
        cluster: slots.slot(&cluster),
        service,
        timeout: wait.unwrap_or(TIMEOUT),
        allowed: allowed.or(by_request),
        disallowed: disallowed.unwrap_or_default(),
        body: message.with_request_body.take().map(body).transpose().at("with_request_body")?,
        on_error: on_error.ok_or_else(|| Refusal::field("status_on_error", "isn't a status"))?,
        kept,
        envoy_headers,
    };
    // They are always checked.
    message.validate_mutations = false;
    // There is no metadata here that anything could read.
    message.enable_dynamic_metadata_ingestion = None;
    // Names statistics, which are the listener's here.
    message.stat_prefix.clear();
    nothing_left(&message)?;
    Ok(authorizer)
}

type Compiled = (String, Service, Option<Duration>, Option<Vec<TextMatcher>>);

fn grpc(mut message: core::GrpcService) -> Result<Compiled, Refusal> {
    let mut target = envoy_grpc(&mut message)?;
    let cluster = std::mem::take(&mut target.cluster_name);
    let authority = std::mem::take(&mut target.authority);
    let authority = if authority.is_empty() { "authorization" } else { &authority };
    let host = authority.parse::<http::uri::Authority>().ok();
    let host = host.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    let host = host.ok_or_else(|| Refusal::field("envoy_grpc.authority", "must be a host"))?;
    nothing_left(&target).at("envoy_grpc")?;
    let wait = timeout(message.timeout.take(), Some(TIMEOUT), "timeout")?;
    nothing_left(&message)?;
    Ok((cluster, Service::Grpc(host), wait, None))
}

fn http(mut message: wire::HttpService) -> Result<Compiled, Refusal> {
    use core::http_uri::HttpUpstreamType;
    let mut uri = message.server_uri.take().ok_or_else(|| Refusal::field("server_uri", "must be set"))?;
    // The request's own host is what it is asked about; the cluster says where.
    uri.uri.clear();
    let Some(HttpUpstreamType::Cluster(cluster)) = uri.http_upstream_type.take() else {
        return Err(Refusal::field("server_uri.cluster", "must be set"));
    };
    let wait = timeout(uri.timeout.take(), Some(TIMEOUT), "server_uri.timeout")?;
    nothing_left(&uri).at("server_uri")?;
    let prefix = std::mem::take(&mut message.path_prefix);
    if !prefix.is_empty() && format!("{prefix}/").parse::<http::uri::PathAndQuery>().is_err() {
        return Err(Refusal::field("path_prefix", "must be the beginning of a path"));
    }
    let mut asked = message.authorization_request.take().unwrap_or_default();
    #[allow(deprecated, reason = "still written by many")]
    let allowed = asked.allowed_headers.take().map(matchers).transpose().at("authorization_request.allowed_headers")?;
    nothing_left(&asked).at("authorization_request")?;
    let mut answer = message.authorization_response.take().unwrap_or_default();
    let at = "authorization_response";
    let upstream = answer.allowed_upstream_headers.take().map(matchers).transpose();
    let client = answer.allowed_client_headers.take().map(matchers).transpose();
    let (upstream, client) = (upstream.at(at)?.unwrap_or_default(), client.at(at)?);
    nothing_left(&answer).at(at)?;
    nothing_left(&message)?;
    Ok((cluster, Service::Http { prefix: prefix.into(), upstream, client }, wait, allowed))
}

fn body(mut message: wire::BufferSettings) -> Result<BodyLimit, Refusal> {
    let max = std::mem::take(&mut message.max_request_bytes) as usize;
    let as_bytes = std::mem::take(&mut message.pack_as_bytes);
    if max == 0 {
        return Err(Refusal::field("max_request_bytes", "must be more than 0"));
    }
    nothing_left(&message)?;
    Ok(BodyLimit { max, as_bytes })
}

fn rules(mut message: HeaderMutationRules) -> Result<(Option<Regex>, bool), Refusal> {
    let kept = message.disallow_expression.take().map(whole_regex).transpose().at("disallow_expression")?;
    let envoy = boolean(&mut message.allow_envoy).unwrap_or(false);
    nothing_left(&message)?;
    Ok((kept, envoy))
}

fn matchers(message: text::ListStringMatcher) -> Result<Vec<TextMatcher>, Refusal> {
    let each = message.patterns.into_iter().enumerate();
    each.map(|(index, pattern)| text_matcher(pattern).at(format_args!("patterns[{index}]"))).collect()
}
