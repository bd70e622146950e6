//! Spans: what they say, whose trace they are, how they get to a collector, and what happens without one.

use foregate_envoy::ResourceKind;

use super::backend::{Backend, answer};
use super::otlp::{Collector, Seen, read};
use super::resources::{eds_cluster, endpoints, listener, rds};
use super::rig::{Rig, until};
use crate::EngineOptions;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const HTTP2: &str = r#"
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config: { http2_protocol_options: {} }
"#;
const ROUTES: &str = "- { name: to-a, match: { prefix: /a }, route: { cluster: a } }\n\
     - { match: { prefix: /retry }, route: { cluster: a, retry_policy: { retry_on: 5xx, num_retries: 1 } } }\n\
     - { match: { prefix: /dead }, route: { cluster: dead } }\n\
     - { match: { prefix: /none }, route: { cluster: none } }\n\
     - { match: { prefix: /own }, direct_response: { status: 404 } }";

/// `use_remote_address`, and tracing to cluster `collector`; `more` is of the tracing, `tracer` of the tracer.
fn options(more: &str, tracer: &str) -> String {
    let service = "grpc_service: { envoy_grpc: { cluster_name: collector }, \
                   initial_metadata: [{ key: x-key, value: hush }] }";
    let service = if tracer.contains("_service:") { "" } else { service };
    let comma = if service.is_empty() || tracer.is_empty() { "" } else { ", " };
    format!(
        "use_remote_address: true\n      tracing:\n        {more}\n        provider:\n          \
         name: envoy.tracers.opentelemetry\n          typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig, {service}{comma}{tracer} }}"
    )
}

fn sampler(name: &str, config: &str) -> String {
    format!(
        "{{ name: x, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3.{name}SamplerConfig, {config} }} }}"
    )
}

fn ratio(numerator: u32) -> String {
    sampler("TraceIdRatioBased", &format!("sampling_percentage: {{ numerator: {numerator} }}"))
}

async fn rig(backend: &Backend, collector: u16) -> Rig {
    let mut rig = Rig::with(EngineOptions { workers: 1, ..EngineOptions::default() }).await;
    rig.cluster("a", &[backend.port()]).await;
    rig.cluster("dead", &[1]).await;
    rig.cluster("none", &[]).await;
    rig.set(ResourceKind::Cluster, vec![eds_cluster("collector", HTTP2)]).await;
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("collector", &[collector])]).await;
    rig
}

/// Serves, asks for each target with a header, and waits for the spans.
async fn spans(options: &str, requests: &[(&str, &[(&str, &str)])], count: usize) -> (Vec<Seen>, Backend) {
    let backend = Backend::with(|got| answer(if got.target.contains("bad") { 503 } else { 200 }, &[], "12345")).await;
    let collector = Collector::start().await;
    let mut rig = rig(&backend, collector.address.port()).await;
    rig.serve_with(options, ROUTES).await;
    let mut client = rig.client().await;
    for (target, headers) in requests {
        client.ask("GET", "a.example.com:80", target, headers, "").await;
    }
    let spans = collector.wait(count).await;
    assert_eq!(spans.len(), count);
    let key: Vec<_> = collector.requests().iter().map(|headers| headers["x-key"].clone()).collect();
    assert!(key.iter().all(|key| key == "hush"), "{key:?}");
    (spans, backend)
}

#[tokio::test]
async fn a_span_says_what_was_asked_and_answered() {
    let more = "custom_tags:\n        - { tag: fixed, literal: { value: v } }\n        \
                - { tag: of-header, request_header: { name: x-h } }\n        \
                - { tag: of-default, request_header: { name: x-none, default_value: d } }\n        \
                - { tag: http.request.method, value: \"%REQ(:METHOD)%\" }\n        \
                - { tag: cluster, value: \"%UPSTREAM_CLUSTER% %ROUTE_NAME% %RESPONSE_CODE%\" }\n        \
                - { tag: empty, value: \"%REQ(x-none)%\" }\n        \
                - { tag: url.path, value: \"%PATH(NQ:PATH)%\" }\n        operation: \"%REQ(:METHOD)% it\"";
    let tracer = "service_name: shop";
    let headers: &[(&str, &str)] = &[("x-h", "h"), ("user-agent", "me")];
    let (spans, backend) = spans(&options(more, tracer), &[("/a?q", headers)], 1).await;
    let span = &spans[0];
    let got = &backend.got()[0];
    let told = got.headers["traceparent"].to_str().unwrap();
    assert_eq!(told, format!("00-{}-{}-01", span.trace_id, span.span_id));
    assert!(!got.headers.contains_key("tracestate"));
    assert_eq!((&*span.name, span.kind, &*span.parent, span.status, span.flags), ("GET it", 2, "", 0, 0x101));
    assert!(span.start <= span.end && span.end - span.start < 60_000_000_000);
    assert_eq!(span.resource["service.name"], "shop");
    for (name, want) in [
        ("http.url", "http://a.example.com:80/a?q"),
        ("http.method", "GET"),
        ("http.status_code", "200"),
        ("http.protocol", "HTTP/1.1"),
        ("user_agent", "me"),
        ("peer.address", "127.0.0.1"),
        ("request_size", "0"),
        ("response_size", "5"),
        ("component", "proxy"),
        ("upstream_cluster", "a"),
        ("response_flags", "-"),
        ("guid:x-request-id", got.headers["x-request-id"].to_str().unwrap()),
        ("fixed", "v"),
        ("of-header", "h"),
        ("of-default", "d"),
        ("http.request.method", "GET"),
        ("cluster", "a to-a 200"),
        ("url.path", "/a"),
    ] {
        assert_eq!(span.attributes.get(name).map(String::as_str), Some(want), "{name}");
    }
    assert!(!span.attributes.contains_key("empty") && !span.attributes.contains_key("error"));
}

#[tokio::test]
async fn each_try_has_a_span() {
    let more = "spawn_upstream_span: true\n        upstream_operation: \"to %UPSTREAM_CLUSTER%\"";
    let requests: [(&str, &[(&str, &str)]); 4] = [("/retry/bad", &[]), ("/dead", &[]), ("/none", &[]), ("/own", &[])];
    let (spans, backend) = spans(&options(more, ""), &requests, 7).await;
    let of = |url: &str| {
        let end = format!("example.com:80{url}");
        let trace = spans.iter().find(|s| s.attributes.get("http.url").is_some_and(|u| u.ends_with(&end))).unwrap();
        let all: Vec<&Seen> = spans.iter().filter(|span| span.trace_id == trace.trace_id).collect();
        let tries: Vec<&Seen> = all.iter().copied().filter(|span| span.parent == trace.span_id).collect();
        assert_eq!(tries.len() + 1, all.len(), "nothing else");
        (trace, tries)
    };
    let (again, tries) = of("/retry/bad");
    assert_eq!((again.status, &*again.attributes["error"], &*again.attributes["response_flags"]), (2, "true", "URX"));
    assert_eq!(tries.len(), 2);
    let counts = tries.iter().map(|span| span.attributes.get("retry.count").map(String::as_str));
    assert_eq!(counts.collect::<Vec<_>>(), [None, Some("1")]);
    for (span, got) in tries.iter().zip(backend.got()) {
        assert_eq!(got.headers["traceparent"], format!("00-{}-{}-01", span.trace_id, span.span_id));
        assert_eq!((&*span.name, span.kind, span.status), ("to a", 3, 2));
        assert_eq!(span.attributes["upstream_address"], backend.address.to_string());
        assert_eq!(span.attributes["http.status_code"], "503");
    }
    let (dead, tries) = of("/dead");
    assert_eq!((dead.status, &*dead.attributes["http.status_code"]), (2, "503"));
    assert_eq!(tries[0].attributes["error.reason"], "remote connection failure");
    assert_eq!(tries[0].attributes["response_flags"], "UF");
    assert_eq!((tries[0].status, &*tries[0].attributes["http.status_code"]), (0, "0"));
    assert_eq!(of("/none").1.len(), 0, "no endpoint was tried");
    let (own, tries) = of("/own");
    assert_eq!((own.status, tries.len(), &*own.attributes["http.status_code"]), (0, 0, "404"));
}

#[tokio::test]
async fn a_trace_goes_on_or_begins() {
    let later = PARENT.replacen("00", "42", 1) + "-more";
    let requests: [(&str, &[(&str, &str)]); 4] = [
        ("/a/1", &[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]),
        ("/a/2", &[("traceparent", "00-zz"), ("tracestate", "a=1")]),
        ("/a/3", &[("traceparent", &later)]),
        ("/a/4", &[("traceparent", PARENT), ("traceparent", PARENT)]),
    ];
    let (spans, backend) = spans(&options("", ""), &requests, 4).await;
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    assert_eq!(
        (&*spans[0].trace_id, &*spans[0].parent, &*spans[0].state, spans[0].flags),
        (trace, parent, "a=1,b=2", 0x301)
    );
    let got = backend.got();
    assert_eq!(got[0].headers.get_all("tracestate").iter().count(), 2);
    assert_eq!((&*spans[1].parent, &*spans[1].state, spans[1].flags), ("", "", 0x101));
    assert!(!got[1].headers.contains_key("tracestate"), "of nobody knows what");
    assert_eq!((&*spans[2].trace_id, &*spans[2].parent), (trace, parent));
    assert_ne!(spans[3].trace_id, trace, "nobody knows which");
}

/// Each request is asked without a parent, with one that is sampled, and with one that isn't.
#[tokio::test]
async fn samplers_and_shares_decide_together() {
    let parent_based = sampler("ParentBased", &format!("wrapped_sampler: {}", ratio(100)));
    let unsampled = PARENT.replace("-01", "-00");
    for (more, tracer, want) in [
        ("", String::new(), [true, true, false]),
        ("random_sampling: { value: 0 }", String::new(), [false, false, false]),
        ("overall_sampling: { value: 0 }", format!("sampler: {parent_based}"), [false, false, false]),
        ("", format!("sampler: {}", ratio(0)), [false, false, false]),
        ("", format!("sampler: {}", ratio(100)), [true, true, true]),
        ("", format!("sampler: {parent_based}"), [true, true, false]),
        ("", format!("sampler: {}", sampler("AlwaysOn", "").replace(", }", " }")), [true, true, true]),
    ] {
        let requests: [(&str, &[(&str, &str)]); 3] =
            [("/a/0", &[]), ("/a/1", &[("traceparent", PARENT)]), ("/a/2", &[("traceparent", &unsampled)])];
        let count = want.iter().filter(|want| **want).count();
        let (spans, backend) = spans(&options(more, &tracer), &requests, count).await;
        let flags: Vec<bool> =
            backend.got().iter().map(|got| got.headers["traceparent"].to_str().unwrap().ends_with("-01")).collect();
        assert_eq!(flags, want, "{more} {tracer}");
        let told: Vec<bool> = (0..3)
            .map(|n| spans.iter().any(|span| span.attributes["http.url"].ends_with(&format!("/a/{n}"))))
            .collect();
        assert_eq!(told, want, "{more} {tracer}");
    }
}

#[tokio::test]
async fn spans_wait_for_a_collector_and_are_dropped_when_there_are_too_many() {
    let backend = Backend::with(|_| answer(200, &[], "")).await;
    let collector = Collector::start().await;
    collector.fail(1);
    let mut rig = rig(&backend, collector.address.port()).await;
    rig.serve_with(&options("", "max_cache_size: 3"), ROUTES).await;
    let mut client = rig.client().await;
    client.get("a", "/a/1").await;
    until("the collector refuses once", || collector.to_fail() == 0).await;
    for n in 2..=5 {
        assert_eq!(client.get("a", &format!("/a/{n}")).await.status, 200);
    }
    let spans = collector.wait(3).await;
    let urls: Vec<_> = spans.iter().map(|span| &*span.attributes["http.url"]).collect();
    assert_eq!(urls, ["http://a/a/1", "http://a/a/2", "http://a/a/3"]);
    until("all is counted", || rig.metric("foregate_proxy_spans_exported_total") == 3.0).await;
    assert_eq!(rig.metric("foregate_proxy_spans_dropped_total"), 2.0);
}

#[tokio::test]
async fn nothing_waits_for_a_collector_that_is_away() {
    let backend = Backend::with(|_| answer(200, &[], "")).await;
    let mut rig = rig(&backend, 1).await;
    rig.serve_with(&options("", ""), ROUTES).await;
    let mut client = rig.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("a", "/a").await.status, 200);
    }
    // What is left has a last chance, and no more.
    rig.engine.remove(super::rig::INSTANCE).await.unwrap();
    until("they are counted", || rig.metric("foregate_proxy_spans_dropped_total") == 20.0).await;
}

#[tokio::test]
async fn what_is_left_is_sent_when_a_gateway_goes() {
    let backend = Backend::with(|_| answer(200, &[], "")).await;
    let collector = Collector::start().await;
    let mut rig = rig(&backend, collector.address.port()).await;
    rig.serve_with(&options("", ""), ROUTES).await;
    rig.client().await.get("a", "/a").await;
    rig.engine.remove(super::rig::INSTANCE).await.unwrap();
    assert_eq!(collector.spans().len(), 1, "before the instance is gone");
}

#[tokio::test]
async fn spans_go_by_http_as_well() {
    let backend = Backend::with(|_| answer(200, &[], "")).await;
    let collector = Backend::with(|_| answer(200, &[], "")).await;
    let mut rig = rig(&backend, 1).await;
    rig.cluster("plain", &[collector.port()]).await;
    let service = "http_service: { http_uri: { uri: \"http://collect.example.com/v1/traces\", cluster: plain, \
                   timeout: 5s }, request_headers_to_add: [{ header: { key: x-key, value: hush } }] }";
    rig.serve_with(&options("", service), ROUTES).await;
    rig.client().await.get("a", "/a").await;
    until("spans come", || !collector.got().is_empty()).await;
    let got = &collector.got()[0];
    assert_eq!((&*got.method, &*got.target), ("POST", "/v1/traces"));
    for (name, want) in [("host", "collect.example.com"), ("content-type", "application/x-protobuf"), ("x-key", "hush")]
    {
        assert_eq!(got.headers[name], want);
    }
    assert_eq!(read(&got.body)[0].attributes["http.url"], "http://a/a");
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_its_path() {
    let backend = Backend::named("a").await;
    let mut rig = rig(&backend, 1).await;
    let at = "filter_chains[0].filters[0].typed_config.tracing";
    let tracer = format!("{at}.provider.typed_config");
    let wrapped = sampler("ParentBased", "wrapped_sampler: { name: x }");
    for (more, config, path) in [
        ("verbose: true", "", format!("{at}.verbose")),
        ("random_sampling: { value: 101 }", "", format!("{at}.random_sampling")),
        ("operation: \"%NOPE%\"", "", format!("{at}.operation")),
        ("operation: \"%RESP(x)%\"", "", format!("{at}.operation.%RESP%")),
        ("custom_tags: [{ tag: a, environment: { name: HOME } }]", "", format!("{at}.custom_tags[0].environment")),
        ("", "resource_detectors: [{ name: x }]", format!("{tracer}.resource_detectors[0].typed_config")),
        ("", &format!("sampler: {wrapped}"), format!("{tracer}.sampler.typed_config.wrapped_sampler.typed_config")),
        (
            "",
            "grpc_service: { google_grpc: { target_uri: a, stat_prefix: a } }",
            format!("{tracer}.grpc_service.google_grpc"),
        ),
        (
            "",
            "grpc_service: { envoy_grpc: { cluster_name: c }, initial_metadata: [{ key: a, value: \"%PROTOCOL%\" }] }",
            format!("{tracer}.grpc_service.initial_metadata[0].commands in the value"),
        ),
    ] {
        let resource = listener("http-1", 0, &rds("rc"), &options(more, config));
        let response = super::resources::response(ResourceKind::Listener, vec![resource], &[]);
        let refusal = rig.send(response).await.unwrap_err();
        assert!(refusal.contains(&format!("{path}:")), "{more} {config}: {refusal}");
    }
}
