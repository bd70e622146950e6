//! `HttpConnectionManager`: how requests are taken in.

use std::sync::Arc;
use std::time::Duration;

use foregate_envoy::normal_path;
use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::extensions::common::matching::v3::ExtensionWithMatcher;
use foregate_envoy::pb::envoy::extensions::filters::http::cors::v3::Cors;
use foregate_envoy::pb::envoy::extensions::filters::http::ext_authz::v3::ExtAuthz;
use foregate_envoy::pb::envoy::extensions::filters::http::router::v3::Router;
use foregate_envoy::pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSession;
use foregate_envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use http::HeaderValue;
use prost::Name;

use super::ext_authz::{self, Authorizer};
use super::http2::{self, Http2Options};
use super::parts::{ads, boolean, number, optional_duration, timeout};
use super::per_filter;
use super::refusal::{At, Refusal, nothing_left, unpack};
use super::route_config::RouteConfig;
use super::session::{self, KeptSession};
use super::tracing::{self, Tracing};
use super::upgrades::{self, Upgrades};
use crate::slots::{Interner, Numbers, Slot};

/// Envoy's defaults; the one for headers is the engine's own, as Envoy's is "for ever".
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_HEADER_KB: u32 = 60;
const MAX_HEADERS: u32 = 100;

/// What happens to the `server` header of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerHeader {
    /// It becomes the configured name.
    Overwrite,
    /// It becomes the configured name if there is none.
    IfAbsent,
    /// It stays.
    Keep,
}

/// Which port is cut off the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StripPort {
    /// None.
    Never,
    /// The listener's own.
    Matching,
    /// Any.
    Any,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// What TLS has agreed on, or the client's first bytes show.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without TLS too.
    Http2,
}

/// What `:scheme` says to endpoints of HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemeOf {
    /// What the client said, as `x-forwarded-proto` has it.
    Client,
    /// Whether TLS is spoken with the endpoint.
    Endpoint,
}

/// Everything about how requests are taken in.
pub(crate) struct HttpOptions {
    /// The route configuration.
    pub(crate) routes: Arc<Slot>,
    /// What is spoken.
    pub(crate) codec: Codec,
    /// How HTTP/2 is.
    pub(crate) http2: Http2Options,
    /// A connection without requests is closed after this.
    pub(crate) idle_timeout: Option<Duration>,
    /// A request without a byte in either direction is ended after this.
    pub(crate) stream_idle_timeout: Option<Duration>,
    /// A request's head must be there after this.
    pub(crate) headers_timeout: Option<Duration>,
    /// A whole request must be there after this.
    pub(crate) request_timeout: Option<Duration>,
    /// A connection is closed after this, between two requests.
    pub(crate) max_connection_duration: Option<Duration>,
    /// A connection is closed after so many requests.
    pub(crate) max_requests: Option<u32>,
    /// Bytes of a request's head.
    pub(crate) max_header_bytes: usize,
    /// Lines of a request's head.
    pub(crate) max_headers: usize,
    /// The connection's peer is the client; what the request says about itself isn't trusted.
    pub(crate) use_remote_address: bool,
    /// So many proxies before this one are trusted.
    pub(crate) trusted_hops: u32,
    /// `x-forwarded-for` stays as it is.
    pub(crate) skip_xff_append: bool,
    /// `x-forwarded-port` is added.
    pub(crate) append_x_forwarded_port: bool,
    /// Requests without `x-request-id` get one.
    pub(crate) generate_request_id: bool,
    /// Also clients from outside may set it.
    pub(crate) preserve_request_id: bool,
    /// Responses carry it.
    pub(crate) request_id_in_response: bool,
    /// What `server` says.
    pub(crate) server_name: HeaderValue,
    /// And when.
    pub(crate) server_header: ServerHeader,
    /// The normal form of paths.
    pub(crate) normalization: normal_path::Rules,
    /// Which port is cut off the host.
    pub(crate) strip_port: StripPort,
    /// The dot at a host's end is cut off.
    pub(crate) strip_trailing_dot: bool,
    /// HTTP/1.0 is spoken.
    pub(crate) http_10: bool,
    /// The host of HTTP/1.0 requests that name none.
    pub(crate) default_host: Option<HeaderValue>,
    /// What connections may change to, unless a route says otherwise.
    pub(crate) upgrades: Upgrades,
    /// What `:scheme` says to endpoints of HTTP/2.
    pub(crate) scheme: SchemeOf,
    /// Appended to `via`.
    pub(crate) via: Option<HeaderValue>,
    /// No `x-envoy-…` headers are added.
    pub(crate) suppress_envoy_headers: bool,
    /// Who is asked about requests before they are routed, in order.
    pub(crate) asks: Box<[Asked]>,
    /// There is a place for whom routes ask.
    pub(crate) may_ask: bool,
    /// Pages of other origins are told what routes say about them.
    pub(crate) cors: bool,
    /// Clients may be kept at endpoints, as routes say.
    pub(crate) kept: bool,
    /// How, where routes say nothing.
    pub(crate) session: Option<KeptSession>,
    /// Headers with underscores.
    pub(crate) underscores: Underscores,
    /// How requests are traced; none: they aren't.
    pub(crate) tracing: Option<Tracing>,
}

/// A filter of the listener's own that asks.
pub(crate) struct Asked {
    /// Its name: virtual hosts switch it by that.
    pub(crate) name: Box<str>,
    /// It is off where nothing is said.
    pub(crate) off: bool,
    /// Who is asked.
    pub(crate) authorizer: Authorizer,
}

#[cfg(test)]
impl HttpOptions {
    /// The defaults.
    pub(crate) fn for_test() -> Self {
        let config = hcm::http_connection_manager::RouteSpecifier::RouteConfig(Default::default());
        let mut numbers = Numbers::default();
        let slot = numbers.routes.slot("r");
        let mut message = hcm::HttpConnectionManager { route_specifier: Some(config), ..Default::default() };
        options(&mut message, slot, Filters::default(), None).unwrap_or_else(|refusal| panic!("{refusal}"))
    }
}

/// What happens to headers with underscores in their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Underscores {
    /// Nothing.
    Allow,
    /// The request is refused with 400.
    Reject,
    /// The header is dropped.
    Drop,
}

/// Where a manager's routes are.
pub(crate) enum RouteSource {
    /// In a route configuration of this name.
    Rds(String),
    /// In the manager itself.
    Inline(Box<RouteConfig>),
}

/// Compiles a manager; `slot` gives its route configuration a number.
pub(crate) fn compile(
    mut message: hcm::HttpConnectionManager,
    numbers: &mut Numbers,
    slot: &mut dyn FnMut(&RouteSource) -> Arc<Slot>,
) -> Result<(HttpOptions, RouteSource), Refusal> {
    let filters = filters(std::mem::take(&mut message.http_filters), &mut numbers.clusters)?;
    let source = route_source(message.route_specifier.take(), numbers)?;
    let tracing = message.tracing.take().map(|tracing| tracing::compile(tracing, &mut numbers.clusters));
    let tracing = tracing.transpose().at("tracing")?.flatten();
    let options = options(&mut message, slot(&source), filters, tracing)?;
    // Names statistics; the engine names its own by instance and listener.
    message.stat_prefix.clear();
    // Streams here end with their requests: there is no delayed close or flush to wait for.
    message.delayed_close_timeout = None;
    message.stream_flush_timeout = None;
    // How long a drain lasts is the engine's setting.
    message.drain_timeout = None;
    if message.internal_address_config.as_ref().is_some_and(|c| c.cidr_ranges.is_empty() && !c.unix_sockets) {
        message.internal_address_config = None;
    }
    // Errors of HTTP/1.1 messages always end the connection.
    if boolean(&mut message.stream_error_on_invalid_http_message) == Some(true) {
        return Err(Refusal::unsupported("stream_error_on_invalid_http_message"));
    }
    nothing_left(&message)?;
    Ok((options, source))
}

fn route_source(
    specifier: Option<hcm::http_connection_manager::RouteSpecifier>,
    numbers: &mut Numbers,
) -> Result<RouteSource, Refusal> {
    use hcm::http_connection_manager::RouteSpecifier as Specifier;
    use prost::Message;
    match specifier {
        Some(Specifier::Rds(mut rds)) => {
            ads(rds.config_source.take()).at("rds.config_source")?;
            let name = std::mem::take(&mut rds.route_config_name);
            nothing_left(&rds).at("rds")?;
            Ok(RouteSource::Rds(name))
        }
        Some(Specifier::RouteConfig(config)) => {
            let config = super::route_config::compile(&config.encode_to_vec(), None, numbers).at("route_config")?;
            if config.vhds {
                return Err(Refusal::unsupported("route_config.vhds"));
            }
            Ok(RouteSource::Inline(Box::new(config)))
        }
        Some(Specifier::ScopedRoutes(_)) => Err(Refusal::unsupported("scoped_routes")),
        None => Err(Refusal::new("must have rds or route_config")),
    }
}

/// What the filters before routing do, and the router itself.
#[derive(Default)]
struct Filters {
    suppress_envoy_headers: bool,
    asks: Vec<Asked>,
    may_ask: bool,
    cors: bool,
    kept: bool,
    session: Option<KeptSession>,
}

/// The router must be last and on; filters that are off do nothing, whatever they are, unless they can be switched on.
fn filters(filters: Vec<hcm::HttpFilter>, slots: &mut Interner) -> Result<Filters, Refusal> {
    let last =
        filters.len().checked_sub(1).ok_or_else(|| Refusal::field("http_filters", "must end with the router"))?;
    let mut all = Filters::default();
    for (index, filter) in filters.into_iter().enumerate() {
        if filter.disabled && index < last && !asks(&filter) {
            continue;
        }
        one(filter, index == last, &mut all, slots).at(format_args!("http_filters[{index}]"))?;
    }
    Ok(all)
}

/// Whether a filter asks a service.
fn asks(filter: &hcm::HttpFilter) -> bool {
    use hcm::http_filter::ConfigType;
    matches!(&filter.config_type, Some(ConfigType::TypedConfig(any)) if any.type_url == ExtAuthz::type_url())
}

fn one(mut filter: hcm::HttpFilter, last: bool, all: &mut Filters, slots: &mut Interner) -> Result<(), Refusal> {
    use hcm::http_filter::ConfigType;
    let any = match filter.config_type.take() {
        Some(ConfigType::TypedConfig(any)) => any,
        Some(ConfigType::ConfigDiscovery(_)) => return Err(Refusal::unsupported("config_discovery")),
        None => return Err(Refusal::field("typed_config", "must be set")),
    };
    let named = |want: &str, name: &str| match name == want {
        true => Ok(()),
        false => Err(Refusal::field("name", format!("must be {want}: routes find it by that"))),
    };
    if any.type_url == ExtAuthz::type_url() {
        let authorizer = unpack(&any).and_then(|message| ext_authz::before_routing(message, slots));
        let authorizer = authorizer.at("typed_config")?;
        if all.cors || all.kept || all.may_ask {
            return Err(Refusal::new("must come before all other filters: requests are routed after it"));
        }
        let off = std::mem::take(&mut filter.disabled);
        all.asks.push(Asked { name: filter.name.as_str().into(), off, authorizer });
    } else if any.type_url == ExtensionWithMatcher::type_url() {
        named(per_filter::EXTERNAL_AUTH, &filter.name)?;
        unpack(&any).and_then(ext_authz::slot).at("typed_config")?;
        all.may_ask = true;
    } else if any.type_url == Cors::type_url() {
        if all.may_ask {
            return Err(Refusal::new("must come before the filter that asks: pages' questions are answered first"));
        }
        let _: Cors = unpack(&any).at("typed_config")?;
        named(per_filter::CORS, &filter.name)?;
        all.cors = true;
    } else if any.type_url == StatefulSession::type_url() {
        named(per_filter::STATEFUL_SESSION, &filter.name)?;
        all.session = unpack(&any).and_then(session::compile).at("typed_config")?;
        all.kept = true;
    } else {
        let mut router: Router = unpack(&any).at("typed_config")?;
        if !last {
            return Err(Refusal::new("the router must be the last filter"));
        }
        all.suppress_envoy_headers = std::mem::take(&mut router.suppress_envoy_headers);
        // Statistics by cluster are always there.
        router.dynamic_stats = None;
        nothing_left(&router).at("typed_config")?;
    }
    if last && any.type_url != Router::type_url() {
        return Err(Refusal::new("the last filter must be the router"));
    }
    filter.name.clear();
    filter.is_optional = false;
    nothing_left(&filter)
}

fn options(
    message: &mut hcm::HttpConnectionManager,
    routes: Arc<Slot>,
    filters: Filters,
    tracing: Option<Tracing>,
) -> Result<HttpOptions, Refusal> {
    let common =
        common(message.common_http_protocol_options.take().unwrap_or_default()).at("common_http_protocol_options")?;
    let (http_10, default_host) =
        http1(message.http_protocol_options.take().unwrap_or_default()).at("http_protocol_options")?;
    let (server_name, server_header) = server(message)?;
    let scheme = scheme(message.scheme_header_transformation.take()).at("scheme_header_transformation")?;
    let via = std::mem::take(&mut message.via);
    let via = if via.is_empty() { None } else { Some(header_value(&via, "via")?) };
    let http2 = message.http2_protocol_options.take().map(http2::compile).transpose().at("http2_protocol_options")?;
    Ok(HttpOptions {
        routes,
        codec: codec(std::mem::take(&mut message.codec_type))?,
        http2: http2.unwrap_or_default(),
        idle_timeout: common.idle_timeout,
        max_connection_duration: common.max_connection_duration,
        max_requests: common.max_requests,
        max_headers: common.max_headers,
        underscores: common.underscores,
        stream_idle_timeout: timeout(
            message.stream_idle_timeout.take(),
            Some(STREAM_IDLE_TIMEOUT),
            "stream_idle_timeout",
        )?,
        headers_timeout: timeout(
            message.request_headers_timeout.take(),
            Some(HEADERS_TIMEOUT),
            "request_headers_timeout",
        )?,
        request_timeout: timeout(message.request_timeout.take(), None, "request_timeout")?,
        max_header_bytes: header_bytes(message)?,
        use_remote_address: boolean(&mut message.use_remote_address).unwrap_or(false),
        trusted_hops: std::mem::take(&mut message.xff_num_trusted_hops),
        skip_xff_append: std::mem::take(&mut message.skip_xff_append),
        append_x_forwarded_port: std::mem::take(&mut message.append_x_forwarded_port),
        generate_request_id: boolean(&mut message.generate_request_id).unwrap_or(true),
        preserve_request_id: std::mem::take(&mut message.preserve_external_request_id),
        request_id_in_response: std::mem::take(&mut message.always_set_request_id_in_response),
        server_name,
        server_header,
        normalization: normalization(message)?,
        strip_port: strip_port(message),
        strip_trailing_dot: std::mem::take(&mut message.strip_trailing_host_dot),
        http_10,
        default_host,
        upgrades: upgrades::of_manager(std::mem::take(&mut message.upgrade_configs))?,
        scheme,
        via,
        suppress_envoy_headers: filters.suppress_envoy_headers,
        asks: filters.asks.into(),
        may_ask: filters.may_ask,
        cors: filters.cors,
        kept: filters.kept,
        session: filters.session,
        tracing,
    })
}

fn codec(wire: i32) -> Result<Codec, Refusal> {
    use hcm::http_connection_manager::CodecType as Wire;
    match Wire::try_from(wire) {
        Ok(Wire::Auto) => Ok(Codec::Auto),
        Ok(Wire::Http1) => Ok(Codec::Http1),
        Ok(Wire::Http2) => Ok(Codec::Http2),
        Ok(Wire::Http3) | Err(_) => Err(Refusal::unsupported("codec_type")),
    }
}

struct Common {
    idle_timeout: Option<Duration>,
    max_connection_duration: Option<Duration>,
    max_requests: Option<u32>,
    max_headers: usize,
    underscores: Underscores,
}

fn common(mut message: core::HttpProtocolOptions) -> Result<Common, Refusal> {
    use core::http_protocol_options::HeadersWithUnderscoresAction as Action;
    let common = Common {
        idle_timeout: timeout(message.idle_timeout.take(), Some(IDLE_TIMEOUT), "idle_timeout")?,
        max_connection_duration: optional_duration(message.max_connection_duration.take(), "max_connection_duration")?,
        max_requests: number(&mut message.max_requests_per_connection).filter(|max| *max > 0),
        max_headers: max_headers(number(&mut message.max_headers_count))?,
        underscores: match Action::try_from(std::mem::take(&mut message.headers_with_underscores_action)) {
            Ok(Action::Allow) => Underscores::Allow,
            Ok(Action::RejectRequest) => Underscores::Reject,
            Ok(Action::DropHeader) => Underscores::Drop,
            Err(_) => return Err(Refusal::field("headers_with_underscores_action", "isn't a known value")),
        },
    };
    nothing_left(&message)?;
    Ok(common)
}

fn max_headers(count: Option<u32>) -> Result<usize, Refusal> {
    match count.unwrap_or(MAX_HEADERS) {
        count @ 1..=8192 => Ok(count as usize),
        _ => Err(Refusal::field("max_headers_count", "must be in 1..8192")),
    }
}

fn http1(mut message: core::Http1ProtocolOptions) -> Result<(bool, Option<HeaderValue>), Refusal> {
    if boolean(&mut message.allow_absolute_url) == Some(false) {
        return Err(Refusal::unsupported("allow_absolute_url"));
    }
    let http_10 = std::mem::take(&mut message.accept_http_10);
    let host = std::mem::take(&mut message.default_host_for_http_10);
    // Trailers always pass.
    message.enable_trailers = false;
    nothing_left(&message)?;
    let host = if host.is_empty() { None } else { Some(header_value(&host, "default_host_for_http_10")?) };
    Ok((http_10, host))
}

fn server(message: &mut hcm::HttpConnectionManager) -> Result<(HeaderValue, ServerHeader), Refusal> {
    use hcm::http_connection_manager::ServerHeaderTransformation as Wire;
    let name = std::mem::take(&mut message.server_name);
    let name = if name.is_empty() { HeaderValue::from_static("envoy") } else { header_value(&name, "server_name")? };
    let header = match Wire::try_from(std::mem::take(&mut message.server_header_transformation)) {
        Ok(Wire::Overwrite) => ServerHeader::Overwrite,
        Ok(Wire::AppendIfAbsent) => ServerHeader::IfAbsent,
        Ok(Wire::PassThrough) => ServerHeader::Keep,
        Err(_) => return Err(Refusal::field("server_header_transformation", "isn't a known value")),
    };
    Ok((name, header))
}

fn scheme(message: Option<core::SchemeHeaderTransformation>) -> Result<SchemeOf, Refusal> {
    let Some(mut message) = message else { return Ok(SchemeOf::Client) };
    let of_endpoint = std::mem::take(&mut message.match_upstream);
    if message.transformation.is_some() {
        return Err(Refusal::unsupported("scheme_to_overwrite"));
    }
    nothing_left(&message)?;
    Ok(if of_endpoint { SchemeOf::Endpoint } else { SchemeOf::Client })
}

fn header_bytes(message: &mut hcm::HttpConnectionManager) -> Result<usize, Refusal> {
    let kb = number(&mut message.max_request_headers_kb).unwrap_or(MAX_HEADER_KB);
    if !(1..=8192).contains(&kb) {
        return Err(Refusal::field("max_request_headers_kb", "must be in 1..8192"));
    }
    Ok(kb as usize * 1024)
}

fn normalization(message: &mut hcm::HttpConnectionManager) -> Result<normal_path::Rules, Refusal> {
    let unknown = || Refusal::field("path_with_escaped_slashes_action", "isn't a known value");
    let rules = normal_path::Rules::of(message).ok_or_else(unknown)?;
    message.path_with_escaped_slashes_action = 0;
    message.normalize_path = None;
    message.merge_slashes = false;
    Ok(rules)
}

fn strip_port(message: &mut hcm::HttpConnectionManager) -> StripPort {
    use hcm::http_connection_manager::StripPortMode;
    let matching = std::mem::take(&mut message.strip_matching_host_port);
    match message.strip_port_mode.take() {
        Some(StripPortMode::StripAnyHostPort(true)) => StripPort::Any,
        _ if matching => StripPort::Matching,
        _ => StripPort::Never,
    }
}

fn header_value(text: &str, field: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(text).map_err(|_| Refusal::field(field, "can't be in a header"))
}
