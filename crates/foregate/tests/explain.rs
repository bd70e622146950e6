//! `foregate explain` says what a request then gets, for every kind of match and every kind of answer.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;
use std::process::Command;

use harness::{Foregate, apply, backend, eventually, gateway, gateway_address, http, service};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::Value;

const ROUTES: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop }
spec:
  parentRefs: [{ name: web }]
  hostnames: [shop.example.com]
  rules:
  - matches: [{ path: { type: PathPrefix, value: /cart } }]
    backendRefs: [{ name: blue, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /cart }, headers: [{ name: x-v, value: "1,2" }] }]
    backendRefs: [{ name: green, port: 80 }]
  - matches: [{ path: { type: Exact, value: /cart/only }, method: POST }]
    backendRefs: [{ name: green, port: 80 }]
  - matches: [{ path: { type: RegularExpression, value: "/v[0-9]+/.*" } }]
    backendRefs: [{ name: green, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /q }, queryParams: [{ name: a, value: "1" }] }]
    backendRefs: [{ name: blue, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /empty } }]
    backendRefs: [{ name: nobody, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /broken } }]
    backendRefs: [{ name: missing, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /old } }]
    filters:
    - type: RequestRedirect
      requestRedirect: { scheme: https, statusCode: 302, path: { type: ReplacePrefixMatch, replacePrefixMatch: / } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: wild }
spec:
  parentRefs: [{ name: web }]
  hostnames: ["*.example.com"]
  rules: [{ backendRefs: [{ name: green, port: 80 }] }]
"#;

/// Host, method, path, values of `x-v`.
const REQUESTS: [(&str, &str, &str, &[&str]); 26] = [
    ("shop.example.com", "GET", "/cart", &[]),
    ("shop.example.com", "GET", "/cart/x?y=1", &[]),
    ("shop.example.com", "GET", "/carts", &[]),
    ("SHOP.example.com:8080", "GET", "/cart", &[]),
    ("shop.example.com", "GET", "/cart", &["1", "2"]),
    ("shop.example.com", "GET", "/cart", &["2", "1"]),
    ("shop.example.com", "GET", "/cart", &["1,2"]),
    ("shop.example.com", "POST", "/cart/only", &[]),
    ("shop.example.com", "GET", "/cart/only", &[]),
    ("shop.example.com", "GET", "//cart", &[]),
    ("shop.example.com", "GET", "/x/../cart/./y", &[]),
    ("shop.example.com", "GET", "/%63art", &[]),
    ("shop.example.com", "GET", "/cart%2Fx", &[]),
    ("shop.example.com", "GET", "/v1/x", &[]),
    ("shop.example.com", "GET", "/v/x", &[]),
    ("shop.example.com", "GET", "/q?a=1&a=2", &[]),
    ("shop.example.com", "GET", "/q?a=2&a=1", &[]),
    ("shop.example.com", "GET", "/q?b=1", &[]),
    ("shop.example.com", "GET", "/empty", &[]),
    ("shop.example.com", "GET", "/broken", &[]),
    ("shop.example.com", "GET", "/old/x?y=1", &[]),
    ("shop.example.com", "GET", "/old", &[]),
    ("other.example.com", "GET", "/cart", &[]),
    ("a.b.example.com", "GET", "/", &[]),
    ("example.com", "GET", "/", &[]),
    ("shop.example.org", "GET", "/cart", &[]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_explained_is_what_happens() {
    let data = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(data.path(), "127.141.0.0/24", &[]);
    let client = foregate.client().await;
    let (blue, green) = (backend::start("blue").await, backend::start("green").await);
    let nobody = service("nobody", &[]);
    for yaml in [service("blue", &[blue]), service("green", &[green]), nobody, gateway("web"), ROUTES.to_owned()] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    eventually("the routes serve", || async {
        let answers = http::get(address, "a.example.com", "/").await.ok()?.status() == 200;
        (answers && http::get(address, "shop.example.com", "/cart").await.ok()?.status() == 200).then_some(())
    })
    .await;
    for (host, method, path, values) in REQUESTS {
        let told = explained(data.path(), address, (host, method, path, values));
        let mut request = Request::builder().method(method).uri(path).header("host", host);
        for value in values {
            request = request.header("x-v", *value);
        }
        let response = http::send(address, request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        let location = response.headers().get("location").map(|it| it.to_str().unwrap().to_owned());
        let body = String::from_utf8_lossy(response.body()).into_owned();
        let status = response.status().as_u16();
        assert_eq!(
            told,
            (status, location, if status == 200 { body } else { String::new() }),
            "{method} {host} {path} {values:?}"
        );
    }
}

/// Status, location and backend, as `explain` tells them.
fn explained(
    data: &std::path::Path,
    address: SocketAddr,
    request: (&str, &str, &str, &[&str]),
) -> (u16, Option<String>, String) {
    let (host, method, path, values) = request;
    let mut command = Command::new(env!("CARGO_BIN_EXE_foregate"));
    command.args(["explain", "-o", "json", "-X", method, "-H", &format!("Host: {host}")]);
    command.args(values.iter().map(|value| format!("-Hx-v: {value}")));
    command.arg(format!("http://{address}{path}")).env_remove("KUBECONFIG").env("FOREGATE_DATA_DIR", data);
    let output = command.output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    let outcome = &answer["outcome"];
    let code = |kind: &str| outcome[kind]["status"].as_u64().and_then(|code| u16::try_from(code).ok());
    if outcome["notFound"].is_object() {
        return (404, None, String::new());
    }
    if let Some(status) = code("redirect") {
        return (status, outcome["redirect"]["location"].as_str().map(str::to_owned), String::new());
    }
    if let Some(status) = code("respond").or(code("refused")) {
        return (status, None, String::new());
    }
    let share = &outcome["forward"]["backends"][0];
    if let Some(status) = share["status"].as_u64() {
        return (u16::try_from(status).unwrap(), None, String::new());
    }
    let (backend, _) = share["cluster"].as_str().unwrap().rsplit_once('/').unwrap();
    let name = answer["backends"][backend].as_str().unwrap();
    (200, None, name.trim_start_matches("Service default/").trim_end_matches(":80").to_owned())
}
