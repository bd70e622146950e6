//! GRPCRoutes, Backends and BackendTLSPolicies, with real gRPC on both sides of the gateway: the same on the built-in
//! engine and on a real Envoy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;

use foregate_api::envoy_gateway::Backend;
use foregate_api::gateway::{BackendTLSPolicy, GRPCRoute, HTTPRoute};
use harness::envoy::{self, DataDir};
use harness::{Foregate, apply, backend, condition, eventually, gateway, gateway_address, http, route, service};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, UnixListener};
use tonic::transport::{Channel, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::HealthReporter;

/// A gRPC server with the standard's service `grpc.health.v1.Health`, which knows of a service `shop`.
async fn health() -> (SocketAddr, HealthReporter) {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("shop", tonic_health::ServingStatus::Serving).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    (address, reporter)
}

/// A Foregate whose gateways run on `engine`.
struct Place {
    // Dropped in this order: what is left of Envoys ends with the directory.
    foregate: Foregate,
    dir: DataDir,
    client: Client,
}

async fn place(pool: &str, engine: &str) -> Place {
    let dir = DataDir::new();
    envoy::install_all(dir.path());
    let foregate = Foregate::start(dir.path(), pool, &[]);
    let client = foregate.client().await;
    envoy::set_template(&client, engine).await;
    Place { foregate, dir, client }
}

fn grpc_route(name: &str, host: &str, rules: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {{name: {name}}}\n\
         spec: {{parentRefs: [{{name: web}}], hostnames: [{host}], rules: {rules}}}\n"
    )
}

async fn channel(address: SocketAddr, host: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.origin(format!("http://{host}").parse().unwrap()).connect().await.unwrap()
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// Calls until the answer has this code.
async fn until_code(client: &HealthClient<Channel>, service: &str, code: Code) {
    eventually(&format!("Check of {service:?} answers {code:?}"), || async {
        let answer = client.clone().check(of(service)).await;
        (answer.map_or_else(|status| status.code(), |_| Code::Ok) == code).then_some(())
    })
    .await;
}

async fn until_condition<K>(client: &Client, name: &str, list: &str, want: (&str, &str, &str)) -> String
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::default_namespaced(client.clone());
    eventually(&format!("{name}: {want:?}"), || async {
        let object = serde_json::to_value(api.get(name).await.ok()?).ok()?;
        let (status, reason, message) = condition(&object, list, want.0)?;
        (status == want.1 && reason == want.2).then_some(message)
    })
    .await
}

async fn calls_go_by_service_and_method_and_streams_flow(pool: &str, engine: &str) {
    let Place { dir: _dir, foregate: _foregate, client } = place(pool, engine).await;
    let (server, reporter) = health().await;
    let edit = "{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-rule, value: checks}]}}";
    let rules = format!(
        "[{{matches: [{{method: {{service: grpc.health.v1.Health, method: Check}}, headers: [{{name: team, value: a}}]}}], \
           filters: [{edit}], backendRefs: [{{name: health, port: 80}}]}}, \
          {{matches: [{{method: {{service: grpc.health.v1.Health}}}}], backendRefs: [{{name: health, port: 80}}]}}]"
    );
    // The Service says nothing of HTTP/2: a GRPCRoute speaks it all the same.
    for yaml in [service("health", &[server]), gateway("web"), grpc_route("calls", "grpc.test", &rules)] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    let health = HealthClient::new(channel(address, "grpc.test").await);
    until_code(&health, "shop", Code::Ok).await;

    let plain = health.clone().check(of("shop")).await.unwrap();
    assert_eq!(plain.get_ref().status(), ServingStatus::Serving);
    assert!(plain.metadata().get("x-rule").is_none(), "the rule of the header isn't this call's");
    let mut request = Request::new(of("shop"));
    request.metadata_mut().insert("team", "a".parse().unwrap());
    let edited = health.clone().check(request).await.unwrap();
    assert_eq!(edited.metadata().get("x-rule").unwrap(), "checks");

    let unknown = health.clone().check(of("nobody")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "the backend's own status: {unknown}");

    // A message of a stream arrives while the stream is open, not at its end.
    let mut stream = health.clone().watch(of("shop")).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    reporter.set_service_status("shop", tonic_health::ServingStatus::NotServing).await;
    assert_eq!(stream.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);

    // A backend that isn't there.
    apply(&client, &grpc_route("missing", "missing.test", "[{backendRefs: [{name: nobody, port: 80}]}]")).await;
    let missing = HealthClient::new(channel(address, "missing.test").await);
    until_code(&missing, "shop", Code::Unavailable).await;

    // No route for this host: an error that a gRPC client understands.
    let stranger = HealthClient::new(channel(address, "elsewhere.test").await);
    until_code(&stranger, "shop", Code::Unimplemented).await;
}

async fn a_host_has_routes_of_one_kind(pool: &str, engine: &str) {
    let Place { dir: _dir, foregate: _foregate, client } = place(pool, engine).await;
    let http = backend::start("http").await;
    let first = route("a-first", "web", "/", "web").replace("  rules:\n", "  hostnames: [web.test]\n  rules:\n");
    for yaml in [service("web", &[http]), gateway("web"), first] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    let list = "/status/parents/0/conditions";
    until_condition::<HTTPRoute>(&client, "a-first", list, ("Accepted", "True", "Accepted")).await;
    // Of equal age, if so, the name decides.
    apply(&client, &grpc_route("b-second", "web.test", "[{backendRefs: [{name: web, port: 80}]}]")).await;
    let want = ("Accepted", "False", "HostnameConflict");
    let message = until_condition::<GRPCRoute>(&client, "b-second", list, want).await;
    assert!(message.contains("HTTPRoute default/a-first"), "{message}");
    assert_eq!(http::get(address, "web.test", "/").await.unwrap().body(), "http");
    let routes: Api<HTTPRoute> = Api::default_namespaced(client.clone());
    routes.delete("a-first", &kube::api::DeleteParams::default()).await.unwrap();
    until_condition::<GRPCRoute>(&client, "b-second", list, ("Accepted", "True", "Accepted")).await;
}

fn direct(name: &str, spec: &str) -> String {
    format!("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: Backend\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

fn to_direct(name: &str, prefix: &str, backend: &str) -> String {
    route(name, "web", prefix, backend).replace(
        &format!("{{name: {backend}, port: 80}}"),
        &format!("{{group: gateway.envoyproxy.io, kind: Backend, name: {backend}}}"),
    )
}

async fn backends_by_address_name_and_socket(pool: &str, engine: &str) {
    let Place { dir, foregate: _foregate, client } = place(pool, engine).await;
    let (ip, name) = (backend::start("ip").await, backend::start("name").await);
    let socket = dir.path().join("backend.sock");
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("shop", tonic_health::ServingStatus::Serving).await;
    let listener = UnixListener::bind(&socket).unwrap();
    let incoming = futures::stream::unfold(listener, |listener| async {
        let stream = listener.accept().await.map(|(stream, _)| stream);
        Some((stream, listener))
    });
    tokio::spawn(Server::builder().add_service(health).serve_with_incoming(incoming));

    let spec = format!("{{endpoints: [{{unix: {{path: {}}}}}]}}", socket.display());
    for yaml in [
        gateway("web"),
        direct("ip", &format!("{{endpoints: [{{ip: {{address: {}, port: {}}}}}]}}", ip.ip(), ip.port())),
        direct("name", &format!("{{endpoints: [{{fqdn: {{hostname: localhost, port: {}}}}}]}}", name.port())),
        direct("socket", &spec),
        direct("refused", "{type: DynamicResolver}"),
        to_direct("ip", "/ip", "ip"),
        to_direct("name", "/name", "name"),
        grpc_route(
            "socket",
            "grpc.test",
            "[{backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: socket}]}]",
        ),
    ] {
        // HTTPRoutes for every host and a GRPCRoute for one of them get along.
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    for (path, body) in [("/ip", "ip"), ("/name", "name")] {
        eventually(&format!("{path} answers"), || async {
            let response = http::get(address, "web.test", path).await.ok()?;
            (response.status() == 200 && response.body() == body).then_some(())
        })
        .await;
    }
    let health = HealthClient::new(channel(address, "grpc.test").await);
    until_code(&health, "shop", Code::Ok).await;
    until_condition::<Backend>(&client, "socket", "/status/conditions", ("Accepted", "True", "Accepted")).await;
    let want = ("Accepted", "False", "Invalid");
    let message = until_condition::<Backend>(&client, "refused", "/status/conditions", want).await;
    assert!(message.contains("DynamicResolver"), "{message}");
}

async fn tls_to_a_backend_is_verified_by_policy(pool: &str, engine: &str) {
    let Place { dir: _dir, foregate: _foregate, client } = place(pool, engine).await;
    let made = rcgen::generate_simple_self_signed(vec!["health.test".to_owned()]).unwrap();
    let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("shop", tonic_health::ServingStatus::Serving).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let tls = ServerTlsConfig::new().identity(identity);
    tokio::spawn(Server::builder().tls_config(tls).unwrap().add_service(health).serve_with_incoming(incoming));

    let policy = |hostname: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{name: health}}\nspec:\n  \
             targetRefs: [{{group: '', kind: Service, name: health}}]\n  \
             validation: {{hostname: {hostname}, caCertificateRefs: [{{group: '', kind: ConfigMap, name: ca}}]}}\n"
        )
    };
    let ca = |text: &str| {
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "ca" }, "data": { "ca.crt": text },
        });
        serde_json::to_string(&object).unwrap()
    };
    let rules = "[{backendRefs: [{name: health, port: 80}]}]";
    for yaml in [
        service("health", &[server]),
        gateway("web"),
        ca(&made.cert.pem()),
        policy("health.test"),
        grpc_route("calls", "grpc.test", rules),
    ] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    let health = HealthClient::new(channel(address, "grpc.test").await);
    until_code(&health, "shop", Code::Ok).await;
    let list = "/status/ancestors/0/conditions";
    until_condition::<BackendTLSPolicy>(&client, "health", list, ("Accepted", "True", "Accepted")).await;
    // A name that the certificate doesn't have.
    apply(&client, &policy("other.test")).await;
    until_code(&health, "shop", Code::Unavailable).await;
    apply(&client, &policy("health.test")).await;
    until_code(&health, "shop", Code::Ok).await;
    // Nobody that is trusted has signed it.
    let other = rcgen::generate_simple_self_signed(vec!["health.test".to_owned()]).unwrap();
    apply(&client, &ca(&other.cert.pem())).await;
    until_code(&health, "shop", Code::Unavailable).await;
    apply(&client, &ca("none")).await;
    let want = ("Accepted", "False", "NoValidCACertificate");
    until_condition::<BackendTLSPolicy>(&client, "health", list, want).await;
    apply(&client, &ca(&made.cert.pem())).await;
    until_code(&health, "shop", Code::Ok).await;
}

macro_rules! on_every_engine {
    ($($test:ident: $subnet:literal),* $(,)?) => {
        mod on_builtin {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(concat!("127.121.", $subnet, ".0/25"), "builtin").await;
            })*
        }
        mod on_envoy {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(concat!("127.121.", $subnet, ".128/25"), super::harness::envoy::NEW).await;
            })*
        }
    };
}

on_every_engine! {
    calls_go_by_service_and_method_and_streams_flow: "0",
    a_host_has_routes_of_one_kind: "1",
    backends_by_address_name_and_socket: "2",
    tls_to_a_backend_is_verified_by_policy: "3",
}
