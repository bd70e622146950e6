//! External authorization: Envoy's `ext_authz`.
//!
//! A route says everything about who is asked, and its listener has one place for that, whatever routes say: a matcher
//! whose action, which the route gives, is to run a filter. It is looked at when the request comes there, and by then
//! listeners' own filters may have led it to another route. (A filter that is off until a route switches it on is not
//! that: Envoy decides on those before the first filter runs.)
//!
//! Listeners' filters are in the listener, and off. The virtual hosts of their listener switch them on: none of a
//! filter's changes can lead to the virtual host of another, as nobody may change the host.

use foregate_api::external_auth::ExternalAuthProtocol;
use foregate_envoy::pb;
use foregate_envoy::pb::envoy::config::common::mutation_rules::v3::HeaderMutationRules;
use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::config::route::v3 as route;
use foregate_envoy::pb::envoy::extensions::common::matching::v3::{ExtensionWithMatcher, ExtensionWithMatcherPerRoute};
use foregate_envoy::pb::envoy::extensions::filters::common::matcher::action::v3::SkipFilter;
use foregate_envoy::pb::envoy::extensions::filters::http::composite::v3::{Composite, ExecuteFilterAction};
use foregate_envoy::pb::envoy::extensions::filters::http::ext_authz::v3 as ext_authz;
use foregate_envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use foregate_envoy::pb::envoy::r#type::matcher::v3 as text;
use foregate_envoy::pb::envoy::r#type::v3::HttpStatus;
use foregate_envoy::pb::xds::r#type::matcher::v3 as xds;
use pb::google::protobuf::Any;
use prost::Message;
use serde_json::Value;

use super::common::{millis, regex};
use super::filters::{self, PerFilter};
use crate::UNRESOLVED_CLUSTER;
use crate::ir::{Auth, RequestFilter};

/// The name of the place that listeners have for whom routes ask.
pub(crate) const SLOT: &str = "foregate.external_auth";
/// Name of the filter itself.
const NAME: &str = "envoy.filters.http.ext_authz";
/// How long an answer may take, in milliseconds. Envoy's default of 200 ms is less than a first connection may need.
const TIMEOUT_MILLIS: u64 = 5_000;
/// What a service can't change about a request: whom it is for, where it ends, and what is the connection's. Headers of
/// Envoy's own are kept from it as well, by default.
const KEPT: &str =
    "host|:.*|content-length|transfer-encoding|connection|keep-alive|proxy-connection|te|trailer|upgrade";

/// Has a route ask.
pub(super) fn ask(auth: &Auth, into: &mut PerFilter) {
    let filter = core::TypedExtensionConfig { name: NAME.to_owned(), typed_config: Some(filters::any(&filter(auth))) };
    let run = ExecuteFilterAction { typed_config: Some(filter), ..Default::default() };
    let matcher = always("ask", filters::any(&run));
    into.insert(SLOT.to_owned(), filters::any(&ExtensionWithMatcherPerRoute { xds_matcher: Some(matcher) }));
}

/// The place for whom routes ask, as an HTTP filter in JSON.
pub(crate) fn slot() -> Value {
    let composite = core::TypedExtensionConfig {
        name: "envoy.filters.http.composite".to_owned(),
        typed_config: Some(filters::any(&Composite::default())),
    };
    let slot = ExtensionWithMatcher {
        xds_matcher: Some(always("skip", filters::any(&SkipFilter::default()))),
        extension_config: Some(composite),
        ..Default::default()
    };
    json(&http_filter(SLOT, filters::any(&slot), false))
}

/// A listener's own filter, in JSON.
pub(crate) fn before_routing(request: &RequestFilter) -> Value {
    let filter = ext_authz::ExtAuthz { clear_route_cache: true, ..filter(&request.auth) };
    json(&http_filter(&request.name, filters::any(&filter), true))
}

/// What of a virtual host switches its listener's filters on, and answers what no route is for: a request without a
/// route would never be asked about, though the answer may lead it to one.
pub(crate) fn switch_on(names: impl Iterator<Item = String>) -> Vec<u8> {
    let on = route::FilterConfig { config: Some(Any::default()), ..Default::default() };
    let on = filters::any(&on);
    let host = route::VirtualHost {
        routes: vec![everything(NOTHING, 404)],
        typed_per_filter_config: names.map(|name| (name, on.clone())).collect(),
        ..Default::default()
    };
    let mut bytes = host.encode_to_vec();
    foregate_envoy::canonical::sort(super::virtual_host::TYPE, &mut bytes);
    bytes
}

/// The routes of a virtual host whose listener's filters can't be had: nobody passes.
pub(crate) fn refuse_all() -> Vec<u8> {
    route::VirtualHost { routes: vec![everything("no-filters", 500)], ..Default::default() }.encode_to_vec()
}

/// The route that is for every request that no other is for.
fn everything(name: &str, status: u32) -> route::Route {
    route::Route {
        name: name.to_owned(),
        r#match: Some(route::RouteMatch {
            path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        }),
        action: Some(route::route::Action::DirectResponse(route::DirectResponseAction {
            status,
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// Name of the route that says that there is none.
pub(crate) const NOTHING: &str = "no-route";

fn http_filter(name: &str, config: Any, disabled: bool) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        disabled,
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn json(filter: &hcm::HttpFilter) -> Value {
    const TYPE: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter";
    // It is such a message: it can be read.
    let message = foregate_envoy::decode(TYPE, &filter.encode_to_vec());
    message.map(|message| foregate_envoy::message_to_json(&message)).unwrap_or_default()
}

/// A matcher that always comes to one action.
fn always(name: &str, action: Any) -> xds::Matcher {
    let action = pb::xds::core::v3::TypedExtensionConfig { name: name.to_owned(), typed_config: Some(action) };
    let on_match = Some(xds::matcher::on_match::OnMatch::Action(action));
    xds::Matcher {
        on_no_match: Some(Box::new(xds::matcher::OnMatch { on_match, ..Default::default() })),
        ..Default::default()
    }
}

/// The filter. Whatever goes wrong, the request is refused: with 403, or with 500 where nobody is there to be asked.
fn filter(auth: &Auth) -> ext_authz::ExtAuthz {
    let (services, allowed) = match &auth.protocol {
        ExternalAuthProtocol::Grpc { allowed_headers } => (by_grpc(auth), allowed_headers),
        ExternalAuthProtocol::Http { path_prefix, allowed_headers, allowed_response_headers } => {
            (by_http(auth, path_prefix, allowed_response_headers), allowed_headers)
        }
    };
    ext_authz::ExtAuthz {
        services: Some(services),
        transport_api_version: core::ApiVersion::V3 as i32,
        with_request_body: auth
            .max_body_bytes
            .map(|max_request_bytes| ext_authz::BufferSettings { max_request_bytes, ..Default::default() }),
        allowed_headers: (!allowed.is_empty()).then(|| names(allowed)),
        status_on_error: auth.cluster.is_none().then_some(HttpStatus { code: 500 }),
        validate_mutations: true,
        decoder_header_mutation_rules: Some(HeaderMutationRules {
            disallow_expression: Some(regex(KEPT)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn cluster(auth: &Auth) -> String {
    auth.cluster.as_deref().unwrap_or(UNRESOLVED_CLUSTER).to_owned()
}

fn by_grpc(auth: &Auth) -> ext_authz::ext_authz::Services {
    let envoy = core::grpc_service::EnvoyGrpc {
        cluster_name: cluster(auth),
        authority: auth.authority.clone(),
        ..Default::default()
    };
    ext_authz::ext_authz::Services::GrpcService(core::GrpcService {
        timeout: Some(millis(TIMEOUT_MILLIS)),
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(envoy)),
        ..Default::default()
    })
}

fn by_http(auth: &Auth, path_prefix: &str, allowed: &[String]) -> ext_authz::ext_authz::Services {
    let all = || text::ListStringMatcher {
        patterns: vec![text::StringMatcher {
            match_pattern: Some(text::string_matcher::MatchPattern::SafeRegex(regex(".*"))),
            ..Default::default()
        }],
    };
    let answer = ext_authz::AuthorizationResponse {
        allowed_upstream_headers: Some(if allowed.is_empty() { all() } else { names(allowed) }),
        ..Default::default()
    };
    ext_authz::ext_authz::Services::HttpService(ext_authz::HttpService {
        server_uri: Some(core::HttpUri {
            uri: format!("http://{}", auth.authority),
            timeout: Some(millis(TIMEOUT_MILLIS)),
            http_upstream_type: Some(core::http_uri::HttpUpstreamType::Cluster(cluster(auth))),
        }),
        path_prefix: path_prefix.to_owned(),
        authorization_response: Some(answer),
        ..Default::default()
    })
}

fn names(names: &[String]) -> text::ListStringMatcher {
    let exact = |name: &String| text::StringMatcher {
        match_pattern: Some(text::string_matcher::MatchPattern::Exact(name.clone())),
        ..Default::default()
    };
    text::ListStringMatcher { patterns: names.iter().map(exact).collect() }
}
