//! Times what runs when a change passes: `cargo run --release -p foregate-envoy --example measure`.
#![allow(clippy::expect_used, reason = "a tool for developers")]

use std::hint::black_box;
use std::time::Instant;

use foregate_envoy::{canonical, decode, descriptors, from_yaml, message_to_json, validate};
use prost::Message as _;

const TYPE: &str = "envoy.config.route.v3.VirtualHost";

/// A virtual host of ten routes, as translation makes them.
fn virtual_host() -> String {
    let route = "
- match: {safe_regex: {regex: '/users/[0-9]+'}, headers: [{name: x-env, string_match: {exact: canary}}]}
  route:
    weighted_clusters: {clusters: [{name: local-0f0e-80/00ff, weight: 90}, {name: local-0f0f-80/00ff, weight: 10}]}
    timeout: 15s
    retry_policy: {retry_on: 5xx, num_retries: 3}
  request_headers_to_add: [{header: {key: x-a, value: b}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]
  typed_per_filter_config:
    cors:
      '@type': type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy
      allow_origin_string_match: [{prefix: 'https://'}]
    other: {'@type': type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}";
    format!("name: http-8080/www.example.com\ndomains: [www.example.com]\nroutes:{}", route.repeat(10))
}

fn time<T>(name: &str, times: u32, mut run: impl FnMut() -> T) {
    let start = Instant::now();
    for _ in 0..times {
        black_box(run());
    }
    println!("{name:<52} {:>10.1} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(times));
}

fn main() {
    time("decode all descriptors, once", 1, || descriptors::pool().all_messages().len());
    let text = virtual_host();
    time("YAML to message, first (sensitive fields)", 1, || from_yaml(TYPE, &text));
    let message = from_yaml(TYPE, &text).expect("the example is right");
    let body = message.encode_to_vec();
    println!("a virtual host of 10 routes, {} bytes", body.len());
    time("validate, first (compiles plans)", 1, || validate(TYPE, &body));
    assert_eq!(validate(TYPE, &body), []);
    time("validate", 2_000, || validate(TYPE, &body));
    time("sort into canonical form", 2_000, || {
        let mut copy = body.clone();
        canonical::sort(TYPE, &mut copy);
        copy
    });
    time("YAML to message", 500, || from_yaml(TYPE, &text));
    time("decode to a dynamic message", 500, || decode(TYPE, &body));
    time("message to JSON", 500, || message_to_json(&message));
}
