//! An XTelemetryPolicy by the API, spans at a collector: the built-in engine and a real Envoy tell the same of the same
//! requests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;
#[path = "../../foregate-proxy/tests/otlp/mod.rs"]
mod otlp;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use foregate_api::gateway::experimental::XTelemetryPolicy;
use harness::envoy::{self, DataDir};
use harness::{Foregate, apply, backend, condition, eventually, gateway, gateway_address, http, route, service};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use kube::Api;
use otlp::{Collector, Seen};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

const POLICY: &str = "
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XTelemetryPolicy
metadata: { name: traced }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: web }]
  tracing:
    mode: Enabled
    provider: { backendRef: { name: collector, port: 80 } }
    serviceName: shop
    spanName: GET it
    attributes:
    - { name: env, sourceType: Literal, literalValue: \"100%\" }
    - { name: user, sourceType: Header, headerName: X-User }
    - { name: path, sourceType: Attribute, attributeKey: url.path }
    - { name: peer, sourceType: Attribute, attributeKey: network.peer.address }
";

/// A request that is part of a trace.
async fn ask(address: SocketAddr, path: &str) -> Option<u16> {
    let request = Request::get(path)
        .header("host", "web.test")
        .header("x-user", "me")
        .header("user-agent", "test")
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .header("tracestate", "a=1");
    let response = http::send(address, request.body(Empty::<Bytes>::new()).unwrap()).await.ok()?;
    Some(response.status().as_u16())
}

/// What a span tells but for what is new each time.
fn told(span: &Seen) -> (String, i32, String, i32, u32, BTreeMap<String, String>) {
    let mut attributes = span.attributes.clone();
    for changing in ["node_id", "guid:x-request-id", "upstream_cluster", "upstream_cluster.name"] {
        attributes.remove(changing);
    }
    for address in ["upstream_address", "peer.address"] {
        attributes.entry(address.to_owned()).and_modify(|value| {
            let port = value.parse::<SocketAddr>().is_ok();
            *value = if port { "an endpoint" } else { "an address" }.to_owned();
        });
    }
    // Envoy's is named after the cluster.
    let name = if span.kind == 3 { "router egress".to_owned() } else { span.name.clone() };
    (name, span.kind, span.state.clone(), span.status, span.flags, attributes)
}

/// The spans of one answered request, and of one that no endpoint answers.
async fn spans(pool: &str, engine: &str) -> Vec<(String, i32, String, i32, u32, BTreeMap<String, String>)> {
    let dir = DataDir::new();
    envoy::install_all(dir.path());
    let foregate = Foregate::start(dir.path(), pool, &[]);
    let client = foregate.client().await;
    envoy::set_template(&client, engine).await;
    let collector = Collector::start().await;
    let one = backend::start("one").await;
    let dead = SocketAddr::from(([127, 0, 0, 1], 1));
    for yaml in [
        gateway("web"),
        service("one", &[one]),
        service("dead", &[dead]),
        service("collector", &[collector.address]),
        route("web", "web", "/", "one"),
        route("dead", "web", "/dead", "dead"),
        POLICY.to_owned(),
    ] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    let policies: Api<XTelemetryPolicy> = Api::default_namespaced(client.clone());
    eventually("the policy is accepted, and its collector found", || async {
        let policy = serde_json::to_value(policies.get("traced").await.ok()?).ok()?;
        let is = |kind| condition(&policy, "/status/ancestors/0/conditions", kind).is_some_and(|it| it.0 == "True");
        (is("Accepted") && is("ResolvedRefs")).then_some(())
    })
    .await;
    eventually("spans come", || async {
        ask(address, "/warm").await.filter(|status| *status == 200)?;
        collector.spans().iter().any(|span| span.attributes.get("path").is_some_and(|p| p == "/warm")).then_some(())
    })
    .await;
    assert_eq!(ask(address, "/it?q=1").await, Some(200));
    assert_eq!(ask(address, "/dead").await, Some(503));
    let of = |path: &str| {
        let all = collector.spans();
        let mut all: Vec<Seen> =
            all.into_iter().filter(|span| span.attributes.get("path").is_some_and(|own| own == path)).collect();
        all.sort_by_key(|span| span.kind);
        all
    };
    // One for the request, and one for each try: a connection that can't be made is tried again.
    let both = || async { (of("/it").len() == 2 && of("/dead").len() >= 3).then_some(()) };
    eventually("both requests are told of", both).await;
    let (it, mut dead) = (of("/it"), of("/dead"));
    assert_eq!((&*it[0].trace_id, &*it[0].parent, &*it[1].parent), (TRACE, PARENT, &*it[0].span_id));
    assert!(it.iter().all(|span| span.resource["service.name"] == "shop"));
    dead.truncate(2);
    it.iter().chain(&dead).map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_tell_the_same() {
    let (engine, envoy) = tokio::join!(spans("127.147.1.0/24", "builtin"), spans("127.147.2.0/24", envoy::NEW));
    assert_eq!(engine, envoy);
    let (name, kind, state, status, flags, attributes) = &engine[0];
    assert_eq!((&**name, *kind, &**state, *status, *flags), ("GET it", 2, "a=1", 0, 0x301));
    for (name, value) in [
        ("env", "100%"),
        ("user", "me"),
        ("path", "/it"),
        ("peer", "127.0.0.1"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.path", "/it"),
        ("user_agent.original", "test"),
        ("http.url", "http://web.test/it?q=1"),
    ] {
        assert_eq!(attributes.get(name).map(String::as_str), Some(value), "{name}");
    }
}
