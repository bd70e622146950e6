//! What is accepted and what is refused, with the path that the refusal names.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use foregate_envoy::ResourceKind;
use prost::Message;

use super::refusal::{Refusal, decode};
use super::{cluster, endpoints, listener, route_config, vhost};
use crate::slots::{Interner, Numbers};
use crate::tls::{Secrets, TlsShared};
use crate::upstream_tls::SystemRoots;

/// Compiles a resource of any kind; the refusal's text, if there is one.
fn refused(kind: ResourceKind, yaml: &str) -> Option<String> {
    let type_name = kind.type_url().trim_start_matches("type.googleapis.com/");
    let message = foregate_envoy::from_yaml(type_name, yaml).unwrap_or_else(|errors| panic!("{errors:?}\n{yaml}"));
    compile(kind, &message.encode_to_vec()).err().map(|refusal| refusal.to_string())
}

fn compile(kind: ResourceKind, body: &[u8]) -> Result<(), Refusal> {
    let tls = TlsShared::new().unwrap();
    match kind {
        ResourceKind::Cluster => {
            let mut context = super::upstream_tls::TlsContext {
                secrets: &mut Secrets::default(),
                tls: &tls,
                roots: &crate::upstream_tls::SystemRoots::default(),
                wanted: Vec::new(),
            };
            decode(body).and_then(|message| cluster::compile(message, &mut context)).map(|_| ())
        }
        ResourceKind::ClusterLoadAssignment => {
            decode(body).and_then(|m| endpoints::compile(m, endpoints::Names::Refused)).map(|_| ())
        }
        ResourceKind::Secret => decode(body).and_then(|message| super::tls::secret(message, &tls)).map(|_| ()),
        ResourceKind::VirtualHost => vhost::compile(body, None, &mut Numbers::default()).map(|_| ()),
        ResourceKind::RouteConfiguration => route_config::compile(body, None, &mut Numbers::default()).map(|_| ()),
        ResourceKind::Listener => {
            let mut context = listener::Context {
                numbers: &mut Numbers::default(),
                routes: &mut Interner::default(),
                secrets: &mut Secrets::default(),
                tls: &tls,
                roots: &SystemRoots::default(),
            };
            listener::compile(decode(body)?, &mut context).map(|_| ())
        }
        ResourceKind::ExtensionConfig => Err(Refusal::new("not a kind of the engine's")),
    }
}

const NO: &str = ": not supported by the built-in engine";

/// Refusals by the path, with the usual text left out.
fn table(kind: ResourceKind, dress: impl Fn(&str) -> String, rows: &[(&str, Option<&str>)]) {
    for (fields, want) in rows {
        let refusal = refused(kind, &dress(fields));
        let refusal = refusal.as_deref().map(|text| text.strip_suffix(NO).unwrap_or(text));
        assert_eq!(refusal, *want, "{fields}");
    }
}

#[test]
fn listeners() {
    let manager = |fields: &str, filters: &str| {
        format!(
            r#"
name: l
address: {{ socket_address: {{ address: 127.0.0.1, port_value: 80 }} }}
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: x
      {fields}
      http_filters: [{filters}]
"#
        )
    };
    const ROUTER: &str =
        r#"{ name: r, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }"#;
    const BUFFER: &str = "typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 1 }";
    const CORS: &str = r#"typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors }"#;
    const RDS: &str = "rds: { config_source: { ads: {}, resource_api_version: V3 }, route_config_name: r }";
    const AT: &str = "filter_chains[0].filters[0].typed_config";
    let with = |fields: &str| manager(&format!("{RDS}\n      {fields}"), ROUTER);
    let at = |path: &str| format!("{AT}.{path}");
    for (fields, want) in [
        ("", None),
        ("use_remote_address: true", None),
        ("upgrade_configs: [{ upgrade_type: websocket }]", None),
        ("http2_protocol_options: { max_concurrent_streams: 100 }", None),
        ("codec_type: HTTP2", None),
        ("codec_type: HTTP3", Some("codec_type")),
        ("http2_protocol_options: { allow_connect: true, connection_keepalive: { interval: 30s, timeout: 5s } }", None),
        ("http2_protocol_options: { allow_metadata: true }", Some("http2_protocol_options.allow_metadata")),
        ("http2_protocol_options: { max_outbound_frames: 5 }", Some("http2_protocol_options.max_outbound_frames")),
        (
            "http2_protocol_options: { connection_keepalive: { interval: 30s, timeout: 5s, interval_jitter: { value: 5 } } }",
            Some("http2_protocol_options.connection_keepalive.interval_jitter"),
        ),
        ("tracing: {}", None),
        ("access_log: [{ name: x }]", Some("access_log")),
        ("forward_client_cert_details: SANITIZE", None),
        ("forward_client_cert_details: APPEND_FORWARD", Some("forward_client_cert_details")),
        ("local_reply_config: {}", Some("local_reply_config")),
        ("proxy_100_continue: true", Some("proxy_100_continue")),
        ("upgrade_configs: [{ upgrade_type: CONNECT }]", Some("upgrade_configs[0].upgrade_type")),
        ("upgrade_configs: [{ upgrade_type: connect-udp }]", Some("upgrade_configs[0].upgrade_type")),
        ("upgrade_configs: [{ upgrade_type: spdy/3.1 }]", None),
        ("upgrade_configs: [{ upgrade_type: a, filters: [{ name: x }] }]", Some("upgrade_configs[0].filters")),
        (
            "common_http_protocol_options: { max_stream_duration: 1s }",
            Some("common_http_protocol_options.max_stream_duration"),
        ),
        (
            "http_protocol_options: { header_key_format: { proper_case_words: {} } }",
            Some("http_protocol_options.header_key_format"),
        ),
    ] {
        let refusal = refused(ResourceKind::Listener, &with(fields));
        assert_eq!(refusal, want.map(|path| at(path) + NO), "{fields}");
    }
    for (filters, want) in [
        (format!("{{ name: cors, disabled: true, {CORS} }}, {ROUTER}"), None),
        (
            format!("{{ name: x, {BUFFER} }}, {ROUTER}"),
            Some(
                "http_filters[0].typed_config: type type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer is not supported by the built-in engine",
            ),
        ),
        (format!("{{ name: envoy.filters.http.cors, {CORS} }}, {ROUTER}"), None),
        (
            format!("{{ name: cors, {CORS} }}, {ROUTER}"),
            Some("http_filters[0].name: must be envoy.filters.http.cors: routes find it by that"),
        ),
        (
            format!("{ROUTER}, {{ name: envoy.filters.http.cors, {CORS} }}"),
            Some("http_filters[0]: the router must be the last filter"),
        ),
        (String::new(), Some("http_filters: must end with the router")),
        (format!("{ROUTER}, {ROUTER}"), Some("http_filters[0]: the router must be the last filter")),
    ] {
        let refusal = refused(ResourceKind::Listener, &manager(RDS, &filters));
        assert_eq!(refusal, want.map(at), "{filters}");
    }
    let bad = with("").replace("port_value: 80", "named_port: http");
    assert_eq!(refused(ResourceKind::Listener, &bad).unwrap(), format!("address.socket_address.named_port{NO}"));
    let bad = with("") + "socket_options: [{ level: 1, name: 2, int_value: 3 }]";
    assert_eq!(refused(ResourceKind::Listener, &bad).unwrap(), format!("socket_options{NO}"));
    let bad = manager("rds: { config_source: { path: /x }, route_config_name: r }", ROUTER);
    assert_eq!(
        refused(ResourceKind::Listener, &bad).unwrap(),
        at("rds.config_source: only ads is supported by the built-in engine")
    );
}

#[test]
fn routes() {
    let dress = |fields: &str| format!("name: h\ndomains: [\"*\"]\nroutes:\n- {{ {fields} }}");
    table(
        ResourceKind::VirtualHost,
        dress,
        &[
            ("match: { prefix: / }, route: { cluster: a }", None),
            ("match: { prefix: / }, metadata: { filter_metadata: { x: { y: 1 } } }, route: { cluster: a }", None),
            ("match: { prefix: / }, stat_prefix: x, route: { cluster: a }", None),
            ("match: { prefix: / }, decorator: { operation: x }, route: { cluster: a }", Some("routes[0].decorator")),
            ("match: { connect_matcher: {} }, route: { cluster: a }", Some("routes[0].match.connect_matcher")),
            ("match: { prefix: /, grpc: {} }, route: { cluster: a }", Some("routes[0].match.grpc")),
            (
                "match: { safe_regex: { regex: \"(\" } }, route: { cluster: a }",
                Some("routes[0].match.safe_regex.regex: not a valid regular expression: unclosed group"),
            ),
            (
                "match: { prefix: /, headers: [{ name: a, string_match: { custom: { name: x, typed_config: { \"@type\": type.googleapis.com/google.protobuf.Empty } } } }] }, route: { cluster: a }",
                Some("routes[0].match.headers[0].string_match.custom"),
            ),
            ("match: { prefix: / }, route: { cluster_header: x }", Some("routes[0].route.cluster_header")),
            (
                "match: { prefix: / }, route: { cluster: a, hash_policy: [{ terminal: true }] }",
                Some("routes[0].route.hash_policy[0]: must say what decides"),
            ),
            (
                "match: { prefix: / }, route: { cluster: a, hash_policy: [{ header: { header_name: x }, terminal: true }, { cookie: { name: c, ttl: 0s, path: /, attributes: [{ name: SameSite, value: Strict }] } }, { connection_properties: { source_ip: true } }, { query_parameter: { name: q } }] }",
                None,
            ),
            (
                "match: { prefix: / }, route: { cluster: a, hash_policy: [{ filter_state: { key: x } }] }",
                Some("routes[0].route.hash_policy[0].filter_state"),
            ),
            (
                "match: { prefix: / }, route: { cluster: a, hash_policy: [{ cookie: { name: c, path: \"/; x\" } }] }",
                Some("routes[0].route.hash_policy[0].cookie.path: must hold no ; and no control character"),
            ),
            (
                "match: { prefix: / }, route: { cluster: a, retry_policy: { retry_on: \"unavailable,reset-before-request\", retry_host_predicate: [{ name: p, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate } }], host_selection_retry_max_attempts: 3 } }",
                None,
            ),
            (
                "match: { prefix: / }, route: { cluster: a, auto_host_rewrite: true }",
                Some("routes[0].route.auto_host_rewrite"),
            ),
            ("match: { prefix: / }, route: { cluster: a, priority: HIGH }", Some("routes[0].route.priority")),
            (
                "match: { prefix: / }, route: { weighted_clusters: { clusters: [{ name: a, weight: 0 }] } }",
                Some("routes[0].route.weighted_clusters: the sum of the weights must not be 0"),
            ),
            (
                "match: { prefix: / }, route: { cluster: a, retry_policy: { retry_on: envoy-ratelimited } }",
                Some(
                    "routes[0].route.retry_policy.retry_on: \"envoy-ratelimited\" is not supported by the built-in engine",
                ),
            ),
            (
                "match: { prefix: / }, request_headers_to_add: [{ header: { key: x, value: \"%NO(host)%\" } }], route: { cluster: a }",
                Some(
                    "routes[0].request_headers_to_add[0].header.value: %NO%: the command, or its argument, is not supported by the built-in engine (write %% for a percent sign)",
                ),
            ),
            (
                "match: { prefix: / }, response_headers_to_remove: [Content-Length], route: { cluster: a }",
                Some(
                    "routes[0].response_headers_to_remove: content-length belongs to the connection and can't be changed",
                ),
            ),
            (
                "match: { prefix: / }, direct_response: { status: 200, body: { filename: /etc/passwd } }",
                Some("routes[0].direct_response.body.filename"),
            ),
            ("match: { prefix: / }, non_forwarding_action: {}", Some("routes[0].non_forwarding_action")),
            ("match: { prefix: / }", Some("routes[0]: must have an action")),
            (
                "match: { prefix: / }, route: { cluster: a }, typed_per_filter_config: { cors: { \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true } }",
                None,
            ),
            (
                "match: { prefix: / }, route: { cluster: a }, typed_per_filter_config: { cors: { \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig } }",
                Some("routes[0].typed_per_filter_config[\"cors\"]"),
            ),
        ],
    );
    let host = |fields: &str| format!("name: h\n{fields}");
    table(
        ResourceKind::VirtualHost,
        host,
        &[
            ("domains: [a, \"*.b\", \"c.*\", \"*\"]", None),
            ("domains: [\"a*b\"]", Some("domains[0]: must be a name with at most one * at its beginning or end")),
            ("domains: []", Some("domains: must not be empty")),
            ("domains: [a]\nrequire_tls: ALL", Some("require_tls")),
            ("domains: [a]\ncors: {}", Some("cors")),
        ],
    );
}

#[test]
fn clusters_and_endpoints() {
    const EDS: &str = "type: EDS\neds_cluster_config: { eds_config: { ads: {} } }";
    let named = |name: &str| {
        format!(
            "load_assignment: {{ cluster_name: c, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ \
             socket_address: {{ address: {name}, port_value: 80 }} }} }} }}] }}] }}"
        )
    };
    let http = |text: &str| {
        format!(
            "typed_extension_protocol_options: {{ envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, {text} }} }}"
        )
    };
    let dress = |fields: &str| format!("name: c\n{fields}");
    table(
        ResourceKind::Cluster,
        dress,
        &[
            (EDS, None),
            (&format!("{EDS}\nlb_policy: LEAST_REQUEST"), None),
            ("type: STATIC", None),
            ("type: STRICT_DNS", Some("load_assignment: must be set")),
            (&format!("type: STRICT_DNS\n{}", named("example.com")), None),
            (&format!("type: STRICT_DNS\nrespect_dns_ttl: true\n{}", named("example.com")), Some("respect_dns_ttl")),
            (
                &format!("type: STRICT_DNS\n{}", named("a/b")),
                Some(
                    "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: must be an IP address or a host name",
                ),
            ),
            (&format!("type: LOGICAL_DNS\n{}", named("example.com")), None),
            (
                &format!("type: STATIC\n{}", named("example.com")),
                Some(
                    "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: must be an IP address",
                ),
            ),
            ("type: ORIGINAL_DST", Some("type: ORIGINAL_DST is not supported by the built-in engine")),
            (&format!("{EDS}\nlb_policy: LEAST_REQUEST\nleast_request_lb_config: {{ choice_count: 3 }}"), None),
            (&format!("{EDS}\nlb_policy: RING_HASH\nring_hash_lb_config: {{ minimum_ring_size: 64 }}"), None),
            (
                &format!("{EDS}\nlb_policy: RING_HASH\nring_hash_lb_config: {{ hash_function: MURMUR_HASH_2 }}"),
                Some("ring_hash_lb_config.hash_function"),
            ),
            (&format!("{EDS}\nlb_policy: MAGLEV"), None),
            (
                &format!("{EDS}\nlb_policy: MAGLEV\nmaglev_lb_config: {{ table_size: 8 }}"),
                Some("maglev_lb_config.table_size: must be a prime of at most 5000011"),
            ),
            (
                &format!("{EDS}\nlb_policy: RANDOM\nmaglev_lb_config: {{ table_size: 7 }}"),
                Some("lb_config: is another policy's than RANDOM"),
            ),
            (
                &format!("{EDS}\nlb_policy: CLUSTER_PROVIDED"),
                Some("lb_policy: CLUSTER_PROVIDED is not supported by the built-in engine"),
            ),
            (&format!("{EDS}\nlb_subset_config: {{ fallback_policy: ANY_ENDPOINT }}"), Some("lb_subset_config")),
            (&format!("{EDS}\nload_balancing_policy: {{}}"), Some("load_balancing_policy")),
            (&format!("{EDS}\noutlier_detection: {{ enforcing_success_rate: 0, consecutive_5xx: 3 }}"), None),
            (
                &format!("{EDS}\noutlier_detection: {{ enforcing_success_rate: 0, enforcing_failure_percentage: 5 }}"),
                Some("outlier_detection.enforcing_failure_percentage"),
            ),
            (
                &format!(
                    "{EDS}\noutlier_detection: {{ enforcing_success_rate: 0, split_external_local_origin_errors: true }}"
                ),
                Some("outlier_detection.split_external_local_origin_errors"),
            ),
            (
                &format!(
                    "{EDS}\nhealth_checks: [{{ timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {{}} }}]"
                ),
                Some("health_checks"),
            ),
            (&format!("{EDS}\ntransport_socket: {{ name: x }}"), Some("transport_socket.typed_config: must be set")),
            (&format!("{EDS}\n{}", http("explicit_http_config: { http2_protocol_options: {} }")), None),
            (&format!("{EDS}\n{}", http("use_downstream_protocol_config: {}")), None),
            (
                &format!("{EDS}\n{}", http("auto_config: {}")),
                Some(
                    "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].auto_config: needs a transport_socket with TLS",
                ),
            ),
            (
                &format!("{EDS}\n{}", http("explicit_http_config: { http3_protocol_options: {} }")),
                Some(
                    "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].explicit_http_config.http3_protocol_options",
                ),
            ),
            ("type: EDS", Some("eds_cluster_config: must be set")),
        ],
    );
    let dress = |fields: &str| format!("cluster_name: c\nendpoints: [{{ lb_endpoints: [{{ {fields} }}] }}]");
    let at = |address: &str| format!("endpoint: {{ address: {{ {address} }} }}");
    table(
        ResourceKind::ClusterLoadAssignment,
        dress,
        &[
            (&at("socket_address: { address: 10.0.0.1, port_value: 80 }"), None),
            (&at("socket_address: { address: \"::1\", port_value: 80 }"), None),
            (
                &at("socket_address: { address: example.com, port_value: 80 }"),
                Some("endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: must be an IP address"),
            ),
            (&at("pipe: { path: /x }"), None),
            (
                &at("pipe: { path: \"@x\" }"),
                Some(
                    "endpoints[0].lb_endpoints[0].endpoint.address.pipe.path: must be a path of 1 to 107 bytes, and no abstract name",
                ),
            ),
        ],
    );
}

#[test]
fn what_is_the_same_is_shared_with_the_version_before() {
    let encode =
        |yaml: &str| foregate_envoy::from_yaml("envoy.config.route.v3.VirtualHost", yaml).unwrap().encode_to_vec();
    const ONE: &str = "- { match: { path: /1 }, route: { cluster: a } }";
    const TWO: &str = "- { match: { path: /2 }, route: { cluster: a } }";
    const NEW: &str = "- { match: { path: /3 }, route: { cluster: b } }";
    let slots = &mut Numbers::default();
    let host = |routes: [&str; 2]| encode(&format!("name: h\ndomains: [h]\nroutes:\n{}\n{}", routes[0], routes[1]));
    let before = vhost::compile(&host([ONE, TWO]), None, slots).unwrap();
    let after = vhost::compile(&host([NEW, ONE]), Some(&before), slots).unwrap();
    let same = |a: usize, b: usize| std::sync::Arc::ptr_eq(&before.routes.all()[a], &after.routes.all()[b]);
    assert!(same(0, 1), "a route that only moved is the same object");
    assert!(!same(0, 0) && !same(1, 0));
}

/// Everything that translation makes of the stock template is accepted.
#[test]
fn what_translation_makes_is_accepted() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../foregate-translate/tests/golden");
    let mut resources = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if !path.to_string_lossy().ends_with(".out.yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for document in text.trim_start_matches("---\n").split("\n---\n") {
            let Some(kind) = document.lines().next().and_then(|line| line.strip_prefix("# ")?.split(' ').next()) else {
                continue;
            };
            let Some(kind) = ResourceKind::ALL.into_iter().find(|k| format!("{k:?}") == kind) else { continue };
            let yaml: String =
                document.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
            // Secrets aren't shown, and some files leave listeners out.
            if yaml.trim().is_empty() || kind == ResourceKind::Secret {
                continue;
            }
            let refusal = refused(kind, &yaml);
            assert!(refusal.is_none(), "{}: {refusal:?}\n{yaml}", path.display());
            resources += 1;
        }
    }
    assert!(resources > 20, "only {resources} resources were found");
}
