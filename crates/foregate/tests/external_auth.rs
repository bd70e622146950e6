//! External authorization, of a listener and of a route: the same on the built-in engine and on a real Envoy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::convert::Infallible;
use std::net::SocketAddr;

use foregate_api::gateway::Gateway;
use harness::envoy::{self, DataDir};
use harness::{Foregate, apply, condition, eventually, gateway_address, http, service};
use http_body_util::{Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use tokio::net::TcpListener;

const OBJECTS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: web }
spec:
  gatewayClassName: foregate
  listeners:
  - name: asks
    port: 8080
    protocol: HTTP
    hostname: asks.test
    filters:
      requests:
      - { type: ExternalAuth, externalAuth: { protocol: HTTP, backendRef: { name: auth, port: 80 }, http: { path: /check } } }
  - { name: open, port: 8080, protocol: HTTP }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: tenants }
spec:
  parentRefs: [{ name: web, sectionName: asks }]
  rules:
  - matches: [{ headers: [{ name: x-user, value: one }] }]
    backendRefs: [{ name: app, port: 80 }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: others }
spec:
  parentRefs: [{ name: web, sectionName: open }]
  rules:
  - matches: [{ path: { value: /free } }]
    backendRefs: [{ name: app, port: 80 }]
  - matches: [{ path: { value: /asked } }]
    filters: [{ type: ExternalAuth, externalAuth: { protocol: HTTP, backendRef: { name: auth, port: 80 }, http: {} } }]
    backendRefs: [{ name: app, port: 80 }]
  - matches: [{ path: { value: /nobody } }]
    filters: [{ type: ExternalAuth, externalAuth: { protocol: GRPC, backendRef: { name: nobody, port: 80 }, grpc: {} } }]
    backendRefs: [{ name: app, port: 80 }]
";

/// A server that answers so.
async fn serve(
    answer: impl Fn(&Request<Incoming>) -> (u16, &'static str, String) + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let (status, name, value) = answer(&request);
                    let response = Response::builder().status(status).header(name, &value);
                    async move { Ok::<_, Infallible>(response.body(Full::new(Bytes::from(value))).unwrap()) }
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// Says who the user is, by the header that the client sends; those who send none aren't let in.
async fn authorizer() -> SocketAddr {
    serve(|request| match request.headers().get("authorization") {
        Some(user) => (200, "x-user", user.to_str().unwrap().to_owned()),
        None => (401, "www-authenticate", "Basic".to_owned()),
    })
    .await
}

/// Says for whom it is asked.
async fn app() -> SocketAddr {
    serve(|request| {
        let user = request.headers().get("x-user").map(|user| user.to_str().unwrap().to_owned());
        (200, "x-app", user.unwrap_or_else(|| "nobody".to_owned()))
    })
    .await
}

async fn ask(address: SocketAddr, host: &str, path: &str, user: Option<&str>) -> Option<(u16, String)> {
    let mut request = Request::get(path).header("host", host);
    if let Some(user) = user {
        request = request.header("authorization", user);
    }
    let response = http::send(address, request.body(Empty::<Bytes>::new()).unwrap()).await.ok()?;
    Some((response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap()))
}

async fn asked_by_listener_and_route(pool: &str, engine: &str) {
    let dir = DataDir::new();
    envoy::install_all(dir.path());
    let foregate = Foregate::start(dir.path(), pool, &[]);
    let client = foregate.client().await;
    envoy::set_template(&client, engine).await;
    for yaml in [service("auth", &[authorizer().await]), service("app", &[app().await]), OBJECTS.to_owned()] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    let is = |status: u16, body: &'static str| (status, body.to_owned());
    for (host, path, user, expected) in [
        ("asks.test", "/", Some("one"), is(200, "one")),
        ("asks.test", "/", None, is(401, "Basic")),
        ("asks.test", "/", Some("two"), is(404, "")),
        ("open.test", "/free", None, is(200, "nobody")),
        ("open.test", "/asked", Some("two"), is(200, "two")),
        ("open.test", "/asked", None, is(401, "Basic")),
        ("open.test", "/nobody", Some("one"), is(500, "")),
    ] {
        let what = format!("{host}{path} of {user:?} is answered {expected:?}");
        eventually(&what, || async { ask(address, host, path, user).await.filter(|it| *it == expected) }).await;
    }

    // Nobody passes when nobody can be asked, and the listener says why.
    let services: Api<Service> = Api::default_namespaced(client.clone());
    services.delete("auth", &Default::default()).await.unwrap();
    eventually("nobody can be asked", || async {
        ask(address, "asks.test", "/", Some("one")).await.filter(|(status, _)| *status == 500)
    })
    .await;
    assert_eq!(ask(address, "open.test", "/free", None).await, Some(is(200, "nobody")));
    let gateways: Api<Gateway> = Api::default_namespaced(client.clone());
    eventually("the listener says that its service isn't there", || async {
        let gateway = serde_json::to_value(gateways.get("web").await.ok()?).ok()?;
        let resolved = condition(&gateway, "/status/listeners/0/conditions", "ResolvedRefs")?;
        (resolved.0 == "False" && resolved.1 == "BackendNotFound").then_some(())
    })
    .await;
    apply(&client, &service("auth", &[authorizer().await])).await;
    eventually("who is known passes again", || async {
        ask(address, "asks.test", "/", Some("one")).await.filter(|it| *it == is(200, "one"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_builtin_engine() {
    asked_by_listener_and_route("127.149.1.0/24", "builtin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_envoy() {
    asked_by_listener_and_route("127.149.2.0/24", envoy::NEW).await;
}
