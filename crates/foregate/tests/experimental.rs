//! XBackends, XBackendTrafficPolicies and session persistence: the same on the built-in engine and on a real Envoy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use foregate_api::gateway::experimental::{XBackend, XBackendTrafficPolicy};
use harness::envoy::{self, DataDir};
use harness::{Foregate, apply, backend, condition, eventually, gateway, gateway_address, http};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use kube::Api;

const OBJECTS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: routes }
spec:
  parentRefs: [{ name: web }]
  rules:
  - matches: [{ path: { value: /outside } }]
    backendRefs: [{ group: gateway.networking.x-k8s.io, kind: XBackend, name: outside }]
  - matches: [{ path: { value: /cookie } }]
    sessionPersistence: { cookie: { name: stick, path: /cookie } }
    backendRefs: [{ name: two, port: 80 }]
  - matches: [{ path: { value: /policy } }]
    backendRefs: [{ name: two, port: 80 }]
---
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackendTrafficPolicy
metadata: { name: sticky }
spec:
  targetRefs: [{ group: \"\", kind: Service, name: two }]
  retryConstraint: { budget: { percent: 30 } }
  sessionPersistence: { type: Header, header: { name: x-stick } }
";

fn outside(port: u16) -> String {
    format!(
        "apiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XBackend\nmetadata: {{name: outside}}\n\
         spec: {{type: ExternalHostname, port: {{number: {port}}}, externalHostname: {{hostname: localhost}}}}\n"
    )
}

/// A Service with one EndpointSlice for each of two endpoints.
fn two(endpoints: [SocketAddr; 2]) -> String {
    let slices = endpoints.iter().enumerate().map(|(i, endpoint)| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: two-{i}, labels: {{kubernetes.io/service-name: two}}}}\naddressType: IPv4\n\
             ports: [{{name: http, port: {}}}]\nendpoints: [{{addresses: [{}]}}]\n",
            endpoint.port(),
            endpoint.ip()
        )
    });
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: two}\nspec: {ports: [{name: http, port: 80}]}\n";
    [service.to_owned()].into_iter().chain(slices).collect()
}

/// The endpoint that answers, and what it is recognized by from then on.
async fn ask(address: SocketAddr, path: &str, session: Option<(&str, &str)>, told: &str) -> Option<(String, String)> {
    let mut request = Request::get(path).header("host", "web.test");
    if let Some((name, value)) = session {
        request = request.header(name, value);
    }
    let response = http::send(address, request.body(Empty::<Bytes>::new()).unwrap()).await.ok()?;
    let value = response.headers().get(told).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    (response.status() == 200).then_some((body, value))
}

/// Both endpoints answer newcomers; whoever comes back is with the endpoint that it met.
async fn keeps(address: SocketAddr, path: &str, told: &str, sent: impl Fn(&str) -> (&'static str, String)) {
    let met = std::sync::Mutex::new(BTreeSet::new());
    let newcomer = || async {
        let (body, value) = ask(address, path, None, told).await?;
        let mut met = met.lock().unwrap();
        met.insert(body.clone());
        (met.len() == 2).then_some((body, value))
    };
    let (body, value) = eventually(&format!("{path} is answered by both"), newcomer).await;
    assert!(!value.is_empty(), "{path}: no {told}");
    let (name, value) = sent(&value);
    for _ in 0..20 {
        let (again, _) = ask(address, path, Some((name, &value)), told).await.unwrap();
        assert_eq!(again, body, "{path}");
    }
}

async fn hosts_outside_and_sessions(pool: &str, engine: &str) {
    let dir = DataDir::new();
    envoy::install_all(dir.path());
    let foregate = Foregate::start(dir.path(), pool, &[]);
    let client = foregate.client().await;
    envoy::set_template(&client, engine).await;
    let one = backend::start("one").await;
    let endpoints = [backend::start("a").await, backend::start("b").await];
    for yaml in [gateway("web"), outside(one.port()), two(endpoints), OBJECTS.to_owned()] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    let answer = || async { ask(address, "/outside", None, "host").await.filter(|(body, _)| body == "one") };
    eventually("the host outside answers", answer).await;

    keeps(address, "/cookie", "set-cookie", |told| {
        assert!(told.contains("Path=/cookie"), "{told}");
        ("cookie", told.split(';').next().unwrap_or_default().to_owned())
    })
    .await;
    keeps(address, "/policy", "x-stick", |told| ("x-stick", told.to_owned())).await;

    let backends: Api<XBackend> = Api::default_namespaced(client.clone());
    let policies: Api<XBackendTrafficPolicy> = Api::default_namespaced(client.clone());
    let accepted = |object: serde_json::Value| condition(&object, "/status/ancestors/0/conditions", "Accepted");
    eventually("both are accepted", || async {
        let backend = accepted(serde_json::to_value(backends.get("outside").await.ok()?).ok()?)?;
        let policy = accepted(serde_json::to_value(policies.get("sticky").await.ok()?).ok()?)?;
        (backend.0 == "True" && policy.0 == "True").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_builtin_engine() {
    hosts_outside_and_sessions("127.146.1.0/24", "builtin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_envoy() {
    hosts_outside_and_sessions("127.146.2.0/24", envoy::NEW).await;
}
