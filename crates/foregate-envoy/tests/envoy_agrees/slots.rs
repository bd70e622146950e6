//! Places in listeners and clusters where an extension's message goes.

use foregate_envoy::{ResourceKind, descriptors, from_yaml};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MapKey, ReflectMessage as _, Value};

/// A place for messages.
pub struct Slot {
    /// Who it belongs to in a summary.
    pub name: &'static str,
    pub kind: ResourceKind,
    /// Packages whose messages may go there.
    pub packages: &'static [&'static str],
    base: DynamicMessage,
}

const STAND_IN: &str = "type.googleapis.com/google.protobuf.StringValue";

impl Slot {
    fn new(name: &'static str, packages: &'static [&'static str], kind: ResourceKind, yaml: &str) -> Self {
        let type_name = kind.type_url().rsplit('/').next().unwrap();
        let yaml = yaml.replace("SLOT", &format!("{{ \"@type\": {STAND_IN}, value: x }}"));
        let base = from_yaml(type_name, &yaml).unwrap_or_else(|errors| panic!("{name}: {errors:?}\n{yaml}"));
        Self { name, kind, packages, base }
    }

    /// The resource with an encoded message in its place.
    pub fn filled(&self, type_name: &str, body: &[u8]) -> Vec<u8> {
        let mut resource = self.base.clone();
        assert!(fill(&mut resource, type_name, body), "{} has no slot", self.name);
        resource.encode_to_vec()
    }
}

/// Replaces the stand-in, which may be in an Any itself.
fn fill(message: &mut DynamicMessage, type_name: &str, body: &[u8]) -> bool {
    if message.descriptor().full_name() == "google.protobuf.Any" {
        let url = message.get_field_by_name("type_url").unwrap().as_str().unwrap().to_owned();
        if url == STAND_IN {
            message.set_field_by_name("type_url", Value::String(format!("type.googleapis.com/{type_name}")));
            message.set_field_by_name("value", Value::Bytes(body.to_vec().into()));
            return true;
        }
        let value = message.get_field_by_name("value").unwrap().as_bytes().unwrap().clone();
        let desc = descriptors::message(&url).unwrap();
        let mut inner = DynamicMessage::decode(desc, value).unwrap();
        let filled = fill(&mut inner, type_name, body);
        message.set_field_by_name("value", Value::Bytes(inner.encode_to_vec().into()));
        return filled;
    }
    message.fields_mut().any(|(_, value)| fill_value(value, type_name, body))
}

fn fill_value(value: &mut Value, type_name: &str, body: &[u8]) -> bool {
    match value {
        Value::Message(message) => fill(message, type_name, body),
        Value::List(items) => items.iter_mut().any(|item| fill_value(item, type_name, body)),
        Value::Map(entries) => {
            let mut keys: Vec<MapKey> = entries.keys().cloned().collect();
            keys.sort_by_key(|key| format!("{key:?}"));
            keys.iter().any(|key| entries.get_mut(key).is_some_and(|value| fill_value(value, type_name, body)))
        }
        _ => false,
    }
}

fn listener(name: &'static str, packages: &'static [&'static str], rest: &str) -> Slot {
    let yaml = format!(
        "name: x\naddress: {{ socket_address: {{ address: 127.0.0.1, port_value: 1 }} }}\nbind_to_port: false\n{rest}"
    );
    Slot::new(name, packages, ResourceKind::Listener, &yaml)
}

/// A listener whose connection manager has this in it, instead of a plain route configuration and the router.
fn http(name: &'static str, packages: &'static [&'static str], rest: &str) -> Slot {
    let mut all = rest.to_owned();
    if !rest.contains("route_config:") {
        all.push_str(
            ", route_config: { virtual_hosts: [{ name: x, domains: ['*'], routes: [{ match: { prefix: / }, direct_response: { status: 200 } }] }] }",
        );
    }
    if !rest.contains("http_filters:") {
        all.push_str(&format!(", http_filters: [{ROUTER}]"));
    }
    listener(
        name,
        packages,
        &format!(
            "filter_chains: [{{ filters: [{{ name: hcm, typed_config: {{ '@type': {HCM}, stat_prefix: x, {all} }} }}] }}]"
        ),
    )
}

/// A route of the connection manager's.
fn route(name: &'static str, packages: &'static [&'static str], route: &str) -> Slot {
    http(
        name,
        packages,
        &format!("route_config: {{ virtual_hosts: [{{ name: x, domains: ['*'], routes: [{{ {route} }}] }}] }}"),
    )
}

fn cluster(name: &'static str, packages: &'static [&'static str], rest: &str) -> Slot {
    let yaml = format!(
        "name: x\nconnect_timeout: 1s\nload_assignment: {{ cluster_name: x, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 1 }} }} }} }}] }}] }}\n{rest}"
    );
    Slot::new(name, packages, ResourceKind::Cluster, &yaml)
}

const HCM: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str =
    "{ name: router, typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }";

/// Every place that is tried.
pub fn all() -> Vec<Slot> {
    let mut all = listeners();
    all.extend(connection_managers());
    all.extend(routes());
    all.extend(clusters());
    all
}

fn listeners() -> Vec<Slot> {
    vec![
        listener(
            "network filter",
            &["envoy.extensions.filters.network."],
            "filter_chains: [{ filters: [{ name: x, typed_config: SLOT }] }]",
        ),
        listener(
            "listener filter",
            &["envoy.extensions.filters.listener."],
            "listener_filters: [{ name: x, typed_config: SLOT }]\nfilter_chains: [{ filters: [] }]",
        ),
        Slot::new(
            "UDP listener filter",
            &["envoy.extensions.filters.udp."],
            ResourceKind::Listener,
            "name: x\naddress: { socket_address: { protocol: UDP, address: 127.0.0.1, port_value: 0 } }\nlistener_filters: [{ name: x, typed_config: SLOT }]",
        ),
        listener(
            "downstream transport socket",
            &["envoy.extensions.transport_sockets."],
            "filter_chains: [{ filters: [], transport_socket: { name: x, typed_config: SLOT } }]",
        ),
        listener(
            "listener's access log",
            &["envoy.extensions.access_loggers."],
            "filter_chains: [{ filters: [] }]\naccess_log: [{ name: x, typed_config: SLOT }]",
        ),
        listener(
            "filter chain matcher's input",
            &["envoy.extensions.matching."],
            "filter_chains: [{ name: x, filters: [] }]\nfilter_chain_matcher: { matcher_tree: { input: { name: x, typed_config: SLOT }, exact_match_map: { map: { x: { action: { name: x, typed_config: { '@type': type.googleapis.com/google.protobuf.StringValue, value: x } } } } } } }",
        ),
        listener(
            "connection balance",
            &["envoy.extensions.network.connection_balance."],
            "filter_chains: [{ filters: [] }]\nconnection_balance_config: { extend_balance: { name: x, typed_config: SLOT } }",
        ),
        listener(
            "network filter's matcher",
            &["envoy.extensions.matching.", "envoy.extensions.rbac."],
            "filter_chains: [{ filters: [{ name: x, typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC, stat_prefix: x, matcher: { matcher_list: { matchers: [{ predicate: { single_predicate: { input: { name: x, typed_config: SLOT }, value_match: { exact: x } } }, on_match: { action: { name: x, typed_config: { '@type': type.googleapis.com/envoy.config.rbac.v3.Action, name: x } } } }] } } } }, { name: y, typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: x, cluster: xds } }] }]",
        ),
    ]
}

fn connection_managers() -> Vec<Slot> {
    vec![
        http(
            "HTTP filter",
            &["envoy.extensions.filters.http."],
            &format!("http_filters: [{{ name: x, typed_config: SLOT }}, {ROUTER}]"),
        ),
        http("access log", &["envoy.extensions.access_loggers."], "access_log: [{ name: x, typed_config: SLOT }]"),
        http(
            "access log's filter",
            &["envoy.extensions.access_loggers.", "envoy.extensions.filters."],
            "access_log: [{ name: x, filter: { extension_filter: { name: x, typed_config: SLOT } }, typed_config: { '@type': type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog } }]",
        ),
        http(
            "formatter",
            &["envoy.extensions.formatter."],
            "access_log: [{ name: x, typed_config: { '@type': type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog, log_format: { text_format_source: { inline_string: x }, formatters: [{ name: x, typed_config: SLOT }] } } }]",
        ),
        http("request id", &["envoy.extensions.request_id."], "request_id_extension: { typed_config: SLOT }"),
        http(
            "IP detection",
            &["envoy.extensions.http.original_ip_detection."],
            "original_ip_detection_extensions: [{ name: x, typed_config: SLOT }]",
        ),
        http(
            "early header mutation",
            &["envoy.extensions.http.early_header_mutation."],
            "early_header_mutation_extensions: [{ name: x, typed_config: SLOT }]",
        ),
        http(
            "header validation",
            &["envoy.extensions.http.header_validators."],
            "typed_header_validation_config: { name: x, typed_config: SLOT }",
        ),
        http(
            "header formatter",
            &["envoy.extensions.http.header_formatters."],
            "http_protocol_options: { header_key_format: { stateful_formatter: { name: x, typed_config: SLOT } } }",
        ),
        http(
            "tracer",
            &["envoy.config.trace.", "envoy.extensions.tracers."],
            "tracing: { provider: { name: x, typed_config: SLOT } }",
        ),
        http(
            "compressor",
            &["envoy.extensions.compression."],
            &format!(
                "http_filters: [{{ name: x, typed_config: {{ '@type': type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor, compressor_library: {{ name: x, typed_config: SLOT }} }} }}, {ROUTER}]"
            ),
        ),
        http(
            "decompressor",
            &["envoy.extensions.compression."],
            &format!(
                "http_filters: [{{ name: x, typed_config: {{ '@type': type.googleapis.com/envoy.extensions.filters.http.decompressor.v3.Decompressor, decompressor_library: {{ name: x, typed_config: SLOT }} }} }}, {ROUTER}]"
            ),
        ),
        http(
            "session state",
            &["envoy.extensions.http.stateful_session."],
            &format!(
                "http_filters: [{{ name: x, typed_config: {{ '@type': type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSession, session_state: {{ name: x, typed_config: SLOT }} }} }}, {ROUTER}]"
            ),
        ),
        http(
            "injected credential",
            &["envoy.extensions.http.injected_credentials."],
            &format!(
                "http_filters: [{{ name: x, typed_config: {{ '@type': type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector, credential: {{ name: x, typed_config: SLOT }} }} }}, {ROUTER}]"
            ),
        ),
        http(
            "adaptive concurrency's cache",
            &["envoy.extensions.http.cache", "envoy.extensions.filters.http.cache"],
            &format!(
                "http_filters: [{{ name: x, typed_config: {{ '@type': type.googleapis.com/envoy.extensions.filters.http.cache.v3.CacheConfig, typed_config: SLOT }} }}, {ROUTER}]"
            ),
        ),
    ]
}

fn routes() -> Vec<Slot> {
    let matcher = |inside: &str| {
        format!("route_config: {{ virtual_hosts: [{{ name: x, domains: ['*'], matcher: {{ {inside} }} }}] }}")
    };
    let action = "on_match: { action: { name: x, typed_config: { '@type': type.googleapis.com/envoy.config.route.v3.Route, match: { prefix: / }, direct_response: { status: 200 } } } }";
    vec![
        route(
            "path match",
            &["envoy.extensions.path."],
            "match: { path_match_policy: { name: x, typed_config: SLOT } }, direct_response: { status: 200 }",
        ),
        route(
            "path rewrite",
            &["envoy.extensions.path."],
            "match: { path_match_policy: { name: x, typed_config: { '@type': type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig, path_template: /x } } }, route: { cluster: xds, path_rewrite_policy: { name: x, typed_config: SLOT } }",
        ),
        route(
            "retry host predicate",
            &["envoy.extensions.retry."],
            "match: { prefix: / }, route: { cluster: xds, retry_policy: { retry_host_predicate: [{ name: x, typed_config: SLOT }] } }",
        ),
        route(
            "retry priority",
            &["envoy.extensions.retry."],
            "match: { prefix: / }, route: { cluster: xds, retry_policy: { retry_priority: { name: x, typed_config: SLOT } } }",
        ),
        route(
            "retry options predicate",
            &["envoy.extensions.retry."],
            "match: { prefix: / }, route: { cluster: xds, retry_policy: { retry_options_predicates: [{ name: x, typed_config: SLOT }] } }",
        ),
        route(
            "internal redirect predicate",
            &["envoy.extensions.internal_redirect."],
            "match: { prefix: / }, route: { cluster: xds, internal_redirect_policy: { predicates: [{ name: x, typed_config: SLOT }] } }",
        ),
        route(
            "per-filter configuration",
            &["envoy.extensions.filters.http."],
            "match: { prefix: / }, direct_response: { status: 200 }, typed_per_filter_config: { x: SLOT }",
        ),
        route(
            "cluster specifier",
            &["envoy.extensions.router."],
            "match: { prefix: / }, route: { inline_cluster_specifier_plugin: { extension: { name: x, typed_config: SLOT } } }",
        ),
        route(
            "rate limit descriptor",
            &["envoy.extensions.rate_limit_descriptors.", "envoy.extensions.matching."],
            "match: { prefix: / }, route: { cluster: xds, rate_limits: [{ actions: [{ extension: { name: x, typed_config: SLOT } }] }] }",
        ),
        route(
            "string matcher",
            &["envoy.extensions.string_matcher."],
            "match: { prefix: /, headers: [{ name: x, string_match: { custom: { name: x, typed_config: SLOT } } }] }, direct_response: { status: 200 }",
        ),
        route(
            "hash policy",
            &["envoy.extensions."],
            "match: { prefix: / }, route: { cluster: xds, early_data_policy: { name: x, typed_config: SLOT } }",
        ),
        http(
            "matcher's input",
            &["envoy.type.matcher.", "envoy.extensions.matching."],
            &matcher(&format!(
                "matcher_list: {{ matchers: [{{ predicate: {{ single_predicate: {{ input: {{ name: x, typed_config: SLOT }}, value_match: {{ exact: x }} }} }}, {action} }}] }}"
            )),
        ),
        http(
            "matcher's action",
            &["envoy.config.route."],
            &matcher(
                "matcher_list: { matchers: [{ predicate: { single_predicate: { input: { name: x, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x } }, value_match: { exact: x } } }, on_match: { action: { name: x, typed_config: SLOT } } }] }",
            ),
        ),
        http(
            "custom matcher",
            &["envoy.extensions.matching.", "xds.type.matcher."],
            &matcher(&format!(
                "matcher_list: {{ matchers: [{{ predicate: {{ single_predicate: {{ input: {{ name: x, typed_config: {{ '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x }} }}, custom_match: {{ name: x, typed_config: SLOT }} }} }}, {action} }}] }}"
            )),
        ),
        http(
            "matcher tree",
            &["xds.type.matcher.", "envoy.extensions.matching."],
            &matcher(
                "matcher_tree: { input: { name: x, typed_config: { '@type': type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x } }, custom_match: { name: x, typed_config: SLOT } }",
            ),
        ),
    ]
}

fn clusters() -> Vec<Slot> {
    vec![
        cluster(
            "upstream transport socket",
            &["envoy.extensions.transport_sockets."],
            "transport_socket: { name: x, typed_config: SLOT }",
        ),
        cluster(
            "upstream protocol options",
            &["envoy.extensions.upstreams.http."],
            "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: SLOT }",
        ),
        cluster(
            "Redis protocol options",
            &["envoy.extensions.filters.network.redis_proxy."],
            "typed_extension_protocol_options: { envoy.filters.network.redis_proxy: SLOT }",
        ),
        cluster(
            "Thrift protocol options",
            &["envoy.extensions.filters.network.thrift_proxy."],
            "typed_extension_protocol_options: { envoy.filters.network.thrift_proxy: SLOT }",
        ),
        cluster(
            "load balancing policy",
            &["envoy.extensions.load_balancing_policies."],
            "load_balancing_policy: { policies: [{ typed_extension_config: { name: x, typed_config: SLOT } }] }",
        ),
        cluster("cluster type", &["envoy.extensions.clusters."], "cluster_type: { name: x, typed_config: SLOT }"),
        cluster(
            "health checker",
            &["envoy.extensions.health_checkers."],
            "health_checks: [{ timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, custom_health_check: { name: x, typed_config: SLOT } }]",
        ),
        cluster(
            "health check log",
            &["envoy.extensions.health_check."],
            "health_checks: [{ timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}, event_logger: [{ name: x, typed_config: SLOT }] }]",
        ),
        cluster(
            "upstream filter",
            &["envoy.extensions.filters.network."],
            "filters: [{ name: x, typed_config: SLOT }]",
        ),
        cluster(
            "connection pool",
            &["envoy.extensions.upstreams."],
            "upstream_config: { name: x, typed_config: SLOT }",
        ),
        cluster(
            "DNS resolver",
            &["envoy.extensions.network.dns_resolver."],
            "typed_dns_resolver_config: { name: x, typed_config: SLOT }",
        ),
        cluster(
            "upstream HTTP filter",
            &["envoy.extensions.filters.http."],
            "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http_protocol_options: {} }, http_filters: [{ name: x, typed_config: SLOT }, { name: y, typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }] } }",
        ),
        cluster(
            "certificate validator",
            &["envoy.extensions.transport_sockets.tls."],
            "transport_socket: { name: x, typed_config: { '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: { validation_context: { custom_validator_config: { name: envoy.tls.cert_validator.spiffe, typed_config: SLOT } } } } }",
        ),
        cluster(
            "outlier detection monitor",
            &["envoy.extensions.outlier_detection_monitors."],
            "outlier_detection: { monitors: [{ name: x, typed_config: SLOT }] }",
        ),
    ]
}
