//! Each kind of rule on a real message of Envoy's: what keeps it, what breaks it, and where.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use foregate_envoy::{Violation, from_yaml, validate};
use prost::Message as _;

fn check(type_name: &str, yaml: &str) -> Vec<Violation> {
    let message = from_yaml(type_name, yaml).unwrap_or_else(|errors| panic!("{type_name} {yaml}: {errors:?}"));
    validate(type_name, &message.encode_to_vec())
}

/// Type, YAML, and the violations as `path rule`.
#[track_caller]
fn table(cases: &[(&str, &str, &[&str])]) {
    for (type_name, yaml, want) in cases {
        let got: Vec<String> = check(type_name, yaml).iter().map(|v| format!("{} {}", v.path, v.rule)).collect();
        assert_eq!(got, *want, "{type_name}: {yaml}");
    }
}

#[test]
fn numbers() {
    table(&[
        ("envoy.type.v3.Percent", "value: 100", &[]),
        ("envoy.type.v3.Percent", "value: 100.5", &["value double.lte"]),
        ("envoy.type.v3.Percent", "value: -0.5", &["value double.gte"]),
        ("envoy.config.core.v3.RateLimitSettings", "fill_rate: 0", &["fill_rate double.gt"]),
        ("envoy.config.core.v3.RateLimitSettings", "{}", &[]),
        ("envoy.config.overload.v3.ThresholdTrigger", "value: 2", &["value double.lte"]),
        (
            "envoy.extensions.load_balancing_policies.load_aware_locality.v3.LoadAwareLocality",
            "remote_probe_fraction: 1",
            &["endpoint_picking_policy message.required", "remote_probe_fraction double.lt"],
        ),
        (
            "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
            "error_utilization_penalty: -1",
            &["error_utilization_penalty float.gte"],
        ),
        ("envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig", "update_frequency: 1", &[]),
        // No presence: absent is zero.
        (
            "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
            "{}",
            &["update_frequency int32.gt"],
        ),
        (
            "envoy.extensions.filters.network.thrift_proxy.filters.payload_to_metadata.v3.PayloadToMetadata.FieldSelector",
            "name: x\nid: -32769",
            &["id int32.gte"],
        ),
        (
            "envoy.extensions.filters.network.thrift_proxy.filters.payload_to_metadata.v3.PayloadToMetadata.FieldSelector",
            "name: x\nid: 32768",
            &["id int32.lte"],
        ),
        (
            "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            "max_active_downstream_connections: -1",
            &["max_active_downstream_connections int64.gt"],
        ),
        ("envoy.config.route.v3.DirectResponseAction", "status: 199", &["status uint32.gte"]),
        ("envoy.config.route.v3.DirectResponseAction", "status: 600", &["status uint32.lt"]),
        ("envoy.config.route.v3.DirectResponseAction", "status: 599", &[]),
        ("envoy.config.core.v3.CidrRange", "address_prefix: a\nprefix_len: 129", &["prefix_len uint32.lte"]),
        ("envoy.config.core.v3.Pipe", "path: x\nmode: 512", &["mode uint32.lte"]),
        (
            "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy",
            "overprovisioning_factor: 0",
            &["overprovisioning_factor uint32.gt"],
        ),
        ("envoy.extensions.filters.http.ext_authz.v3.ShadowDecision", "{}", &[]),
        ("envoy.config.core.v3.UdpSocketConfig", "max_rx_datagram_size: 65536", &["max_rx_datagram_size uint64.lt"]),
        ("envoy.config.core.v3.UdpSocketConfig", "max_rx_datagram_size: 0", &["max_rx_datagram_size uint64.gt"]),
        ("envoy.config.cluster.v3.Cluster.MaglevLbConfig", "table_size: 5000012", &["table_size uint64.lte"]),
        (
            "envoy.extensions.filters.common.fault.v3.FaultRateLimit.FixedLimit",
            "limit_kbps: 0",
            &["limit_kbps uint64.gte"],
        ),
    ]);
}

#[test]
fn booleans_and_enums() {
    table(&[
        ("envoy.config.rbac.v3.Permission", "any: true", &[]),
        ("envoy.config.rbac.v3.Permission", "any: false", &["any bool.const"]),
        (
            "envoy.config.core.v3.SocketOption",
            "level: 1\nname: 1\nint_value: 1\nstate: 9",
            &["state enum.defined_only"],
        ),
        ("envoy.type.v3.HttpStatus", "code: OK", &[]),
        ("envoy.type.v3.HttpStatus", "code: Empty", &["code enum.not_in"]),
        ("envoy.type.v3.HttpStatus", "{}", &["code enum.not_in"]),
        ("envoy.type.v3.HttpStatus", "code: 777", &["code enum.defined_only"]),
        ("envoy.config.core.v3.HealthStatusSet", "statuses: [HEALTHY, 42]", &["statuses[1] enum.defined_only"]),
    ]);
}

#[test]
fn strings_and_bytes() {
    let header = "envoy.config.core.v3.HeaderValue";
    let long = format!("key: k\nvalue: {}", "v".repeat(16385));
    let long_bytes = format!("key: k\nraw_value: {}", "AAAA".repeat(5462));
    table(&[
        (
            "envoy.config.core.v3.TypedExtensionConfig",
            "name: ''",
            &["name string.min_len", "typed_config any.required"],
        ),
        (header, "key: x-a\nvalue: b", &[]),
        (header, "{}", &["key string.min_len"]),
        (header, "key: \"a\\nb\"", &["key string.well_known_regex"]),
        (header, "key: k\nvalue: \"a\\0b\"", &["value string.well_known_regex"]),
        (header, "key: k\nvalue: \"a\\tb\\x01\"", &[]),
        (header, &long, &["value string.max_bytes"]),
        (header, &long_bytes, &["raw_value bytes.max_len"]),
        ("envoy.config.core.v3.UpstreamHttpProtocolOptions", "override_auto_sni_header: ''", &[]),
        (
            "envoy.config.core.v3.UpstreamHttpProtocolOptions",
            "override_auto_sni_header: 'a b'",
            &["override_auto_sni_header string.well_known_regex"],
        ),
        ("envoy.config.core.v3.SchemeHeaderTransformation", "scheme_to_overwrite: https", &[]),
        (
            "envoy.config.core.v3.SchemeHeaderTransformation",
            "scheme_to_overwrite: ftp",
            &["scheme_to_overwrite string.in"],
        ),
        // A oneof member's rules hold only when it is set.
        ("envoy.config.core.v3.SchemeHeaderTransformation", "{}", &[]),
        (
            "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
            "request_type: x",
            &["domain string.min_len", "request_type string.in", "rate_limit_service message.required"],
        ),
        ("envoy.config.route.v3.RateLimit.HitsAddend", "format: '%A%'", &[]),
        ("envoy.config.route.v3.RateLimit.HitsAddend", "format: A", &["format string.prefix", "format string.suffix"]),
        ("envoy.config.route.v3.RouteMatch", "path_separated_prefix: /a", &[]),
        ("envoy.config.route.v3.RouteMatch", "path_separated_prefix: /a/", &["path_separated_prefix string.pattern"]),
        (
            "envoy.extensions.filters.http.api_key_auth.v3.KeySource",
            &format!("header: {}", "h".repeat(1025)),
            &["header string.max_len"],
        ),
        (
            "envoy.config.tap.v3.HttpGenericBodyMatch.GenericTextMatch",
            "binary_match: ''",
            &["binary_match bytes.min_len"],
        ),
    ]);
}

#[test]
fn messages_and_oneofs() {
    table(&[
        ("envoy.config.core.v3.HeaderValueOption", "{}", &["header message.required"]),
        ("envoy.config.core.v3.HeaderValueOption", "header: {}", &["header.key string.min_len"]),
        // `message.skip`: the entry's own rules aren't checked.
        ("envoy.config.core.v3.KeyValueAppend", "entry: {}", &[]),
        ("envoy.config.core.v3.Address", "{}", &[" oneof.required"]),
        ("envoy.config.core.v3.Address", "socket_address: {address: a}", &["socket_address oneof.required"]),
        ("envoy.config.core.v3.Address", "socket_address: {address: a, port_value: 0}", &[]),
        (
            "envoy.config.route.v3.Route",
            "match: {prefix: /}\nroute: {weighted_clusters: {clusters: [{weight: 1}]}}",
            &[],
        ),
        ("envoy.config.route.v3.Route", "match: {}\nroute: {}", &["match oneof.required", "route oneof.required"]),
        // A wrapper's rules hold for its value when it is there.
        ("envoy.config.route.v3.HedgePolicy", "{}", &[]),
        ("envoy.config.route.v3.HedgePolicy", "initial_requests: 0", &["initial_requests uint32.gte"]),
    ]);
}

#[test]
fn lists_and_maps() {
    let histogram = "envoy.config.metrics.v3.HistogramBucketSettings";
    let header = "{header: {key: a, value: b}}";
    let many = format!("name: v\ndomains: ['*']\nrequest_headers_to_add: [{}]", vec![header; 1001].join(", "));
    table(&[
        ("envoy.type.matcher.v3.ListStringMatcher", "patterns: []", &["patterns repeated.min_items"]),
        ("envoy.config.route.v3.VirtualHost", &many, &["request_headers_to_add repeated.max_items"]),
        (histogram, "match: {exact: a}\nbuckets: [1, 2]", &[]),
        (histogram, "match: {exact: a}\nbuckets: [1, 2, 1]", &["buckets repeated.unique"]),
        (
            "envoy.config.route.v3.InternalRedirectPolicy",
            "response_headers_to_copy: [a, b, a]",
            &["response_headers_to_copy repeated.unique"],
        ),
        (histogram, "match: {exact: a}\nbuckets: [1, -1]", &["buckets[1] double.gt"]),
        (
            "envoy.config.route.v3.VirtualHost",
            "name: v\ndomains: [\"a\", \"b\\nc\"]",
            &["domains[1] string.well_known_regex"],
        ),
        ("envoy.service.rate_limit_quota.v3.BucketId", "{}", &["bucket map.min_pairs"]),
        ("envoy.service.rate_limit_quota.v3.BucketId", "bucket: {k: ''}", &["bucket[\"k\"] string.min_len"]),
        ("envoy.config.core.v3.Metadata", "filter_metadata: {'': {a: 1}}", &["filter_metadata[\"\"] string.min_len"]),
        (
            "envoy.extensions.filters.http.file_server.v3.FileServerConfig",
            "content_types: {TXT: text/plain}",
            &["content_types[\"TXT\"] string.pattern", "manager_config message.required"],
        ),
    ]);
}

#[test]
fn durations_and_anys() {
    let backoff = "envoy.config.core.v3.BackoffStrategy";
    table(&[
        (backoff, "base_interval: 0.001s\nmax_interval: 1s", &[]),
        (backoff, "{}", &["base_interval duration.required"]),
        (
            backoff,
            "base_interval: 0.0009s\nmax_interval: 0s",
            &["base_interval duration.gte", "max_interval duration.gt"],
        ),
        ("envoy.config.core.v3.HttpUri", "uri: a\ncluster: b\ntimeout: 4294967296s", &["timeout duration.lt"]),
        (
            "envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit",
            "stat_prefix: a\nfill_interval: 2s",
            &["fill_interval duration.lte"],
        ),
        ("envoy.config.core.v3.TypedExtensionConfig", "name: a", &["typed_config any.required"]),
        (
            "envoy.config.core.v3.TypedExtensionConfig",
            "name: a\ntyped_config: {'@type': type.googleapis.com/envoy.config.core.v3.Pipe, mode: 512}",
            &["typed_config.path string.min_len", "typed_config.mode uint32.lte"],
        ),
        (
            "envoy.config.core.v3.TypedExtensionConfig",
            "name: a\ntyped_config:\n  '@type': type.googleapis.com/xds.type.v3.TypedStruct\n  type_url: type.googleapis.com/envoy.config.core.v3.Pipe\n  value: {mode: 512}",
            &["typed_config.value.path string.min_len", "typed_config.value.mode uint32.lte"],
        ),
    ]);
}

/// The struct's content is checked even where the text wasn't read by us.
#[test]
fn a_typed_struct_that_does_not_fit_its_type() {
    let text = "name: a\ntyped_config:\n  '@type': type.googleapis.com/xds.type.v3.TypedStruct\n  type_url: x/unknown.Type\n  value: {mode: a, what: 1}";
    let type_name = "envoy.config.core.v3.TypedExtensionConfig";
    let mut body = from_yaml(type_name, text).unwrap().encode_to_vec();
    assert_eq!(validate(type_name, &body), []);
    // The same length: "x/unknown.Type" becomes a type that Envoy has.
    let at = body.windows(14).position(|window| window == b"x/unknown.Type").unwrap();
    body[at..at + 14].copy_from_slice(b"////////////XY");
    assert_eq!(validate(type_name, &body), []);
    let text = text.replace("x/unknown.Type", "x/envoy.config.core.v3.PipeX");
    let mut body = from_yaml(type_name, &text).unwrap().encode_to_vec();
    let at = body.windows(28).position(|window| window == b"x/envoy.config.core.v3.PipeX").unwrap();
    body[at..at + 28].copy_from_slice(b"xy/envoy.config.core.v3.Pipe");
    let got: Vec<String> = validate(type_name, &body).iter().map(|v| format!("{} {}", v.path, v.rule)).collect();
    assert_eq!(got, ["typed_config.value.mode typed_struct", "typed_config.value.what typed_struct"]);
}

#[test]
fn messages_say_what_to_do() {
    let got = check(
        "envoy.config.route.v3.VirtualHost",
        "domains: ['*']\nroutes:\n- match: {prefix: /}\n  direct_response: {status: 9}\n  typed_per_filter_config:\n    f: {'@type': type.googleapis.com/envoy.config.core.v3.Pipe}",
    );
    let got: Vec<String> = got.iter().map(ToString::to_string).collect();
    assert_eq!(
        got,
        [
            r#"routes[0].typed_per_filter_config["f"].path: must have at least 1 character, it has 0 (string.min_len)"#,
            "routes[0].direct_response.status: must be at least 200, it is 9 (uint32.gte)",
            "name: must have at least 1 character, it has 0 (string.min_len)",
        ]
    );
}

#[test]
fn sensitive_values_are_not_shown() {
    let secret = "envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys";
    let got = check(secret, "keys: [{inline_string: ''}]");
    assert_eq!(got.len(), 0, "{got:?}");
    let certificate = "envoy.extensions.transport_sockets.tls.v3.TlsCertificate";
    let got = check(certificate, "private_key: {filename: ''}\npassword: {inline_bytes: ''}");
    assert!(
        got.iter().all(|violation| !violation.message.contains('"') || violation.rule == "oneof.required"),
        "{got:?}"
    );
    assert!(!got.is_empty());
}

#[test]
fn bytes_that_are_no_message() {
    for body in [&[0xff][..], &[0x0a, 5, 1], &[0x08], &[0x00, 0x00], &[0x0b]] {
        let got = validate("envoy.config.listener.v3.Listener", body);
        assert!(got.iter().any(|violation| violation.rule == "decode"), "{body:?} {got:?}");
    }
    // A field of another type than the message has.
    assert!(validate("envoy.config.core.v3.Pipe", &[0x08, 1]).iter().any(|violation| violation.rule == "decode"));
}

/// Messages may come in pieces; protobuf merges them.
#[test]
fn pieces_of_a_message_are_merged() {
    let type_name = "envoy.config.core.v3.HeaderValueOption";
    let mut body = from_yaml(type_name, "header: {key: a}").unwrap().encode_to_vec();
    body.extend(from_yaml(type_name, "header: {value: b}").unwrap().encode_to_vec());
    assert_eq!(validate(type_name, &body), []);
}

#[test]
fn nesting_is_bounded() {
    // An Any in an Any, 5,000 times.
    let url = "type.googleapis.com/google.protobuf.Any";
    let mut body = Vec::new();
    for _ in 0..5_000 {
        body = prost_types::Any { type_url: url.to_owned(), value: body }.encode_to_vec();
        if body.len() > 1 << 20 {
            break;
        }
    }
    assert!(validate("google.protobuf.Any", &body).iter().any(|violation| violation.message.contains("nested deeper")));
}
