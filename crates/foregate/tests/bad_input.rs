//! Bad input gets a clear error, and everything else goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use foregate_api::gateway::{Gateway, HTTPRoute};
use harness::{Foregate, apply, backend, condition, eventually, gateway, gateway_address, http, route, service};
use kube::{Api, Client};
use rustix::process::Signal;

/// Waits until a condition has a status and reason, and returns its message.
async fn until(
    api: &str,
    read: impl AsyncFn() -> Option<serde_json::Value>,
    list: &str,
    want: (&str, &str, &str),
) -> String {
    let (kind, status, reason) = want;
    eventually(&format!("{api}: {kind} {status} {reason}"), || async {
        let found = condition(&read().await?, list, kind)?;
        (found.0 == status && found.1 == reason).then_some(found.2)
    })
    .await
}

async fn read_gateway(client: &Client, name: &str) -> Option<serde_json::Value> {
    let api: Api<Gateway> = Api::default_namespaced(client.clone());
    serde_json::to_value(api.get(name).await.ok()?).ok()
}

async fn read_route(client: &Client, name: &str) -> Option<serde_json::Value> {
    let api: Api<HTTPRoute> = Api::default_namespaced(client.clone());
    serde_json::to_value(api.get(name).await.ok()?).ok()
}

async fn until_status(address: SocketAddr, host: &str, path: &str, status: u16) {
    eventually(&format!("{host}{path} answers {status}"), || async {
        http::get(address, host, path).await.ok().filter(|response| response.status() == status)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_that_name_nothing_say_so_and_heal() {
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.117.0.0/24", &[]);
    let client = foregate.client().await;
    apply(&client, &gateway("web")).await;
    apply(&client, &route("web", "web", "/", "missing")).await;
    let message = until(
        "route",
        async || read_route(&client, "web").await,
        "/status/parents/0/conditions",
        ("ResolvedRefs", "False", "BackendNotFound"),
    )
    .await;
    assert!(message.contains("missing"), "names the Service: {message}");
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    until_status(address, "web", "/", 500).await;
    apply(&client, &service("missing", &[backend::start("one").await])).await;
    until_status(address, "web", "/", 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_routes_in_conflict_the_elder_wins() {
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.117.1.0/24", &[]);
    let client = foregate.client().await;
    let (one, two) = (backend::start("one").await, backend::start("two").await);
    for yaml in [service("one", &[one]), service("two", &[two]), gateway("web"), route("elder", "web", "/", "one")] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    until_status(address, "web", "/", 200).await;
    // Creation times have seconds: within one second the name decides, and `younger` comes after `elder`.
    apply(&client, &route("younger", "web", "/", "two")).await;
    apply(&client, &route("probe", "web", "/probe", "two")).await;
    until_status(address, "web", "/probe", 200).await;
    assert_eq!(http::get(address, "web", "/").await.unwrap().body(), "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_does_not_match_its_key_is_named_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.117.2.0/24", &[]);
    let client = foregate.client().await;
    let make = || rcgen::generate_simple_self_signed(vec!["web.test".to_owned()]).unwrap();
    let (one, other) = (make(), make());
    let secret = |key: &rcgen::KeyPair| {
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "web" }, "type": "kubernetes.io/tls",
            "stringData": { "tls.crt": one.cert.pem(), "tls.key": key.serialize_pem() },
        });
        serde_json::to_string(&object).unwrap()
    };
    apply(&client, &secret(&other.signing_key)).await;
    let https = "{name: https, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: web}]}}";
    apply(&client, &gateway("web").replace("protocol: HTTP}]", &format!("protocol: HTTP}}, {https}]"))).await;
    let read = async || read_gateway(&client, "web").await;
    let list = "/status/listeners/1/conditions";
    let message = until("listener", read, list, ("ResolvedRefs", "False", "InvalidCertificateRef")).await;
    assert!(message.contains("web") && message.contains("key"), "{message}");
    assert!(!message.contains("PRIVATE"), "no secret in a status");
    // The plain listener beside it works meanwhile.
    let address = gateway_address(&client, "web").await;
    until_status(SocketAddr::new(address, 8080), "web.test", "/", 404).await;
    apply(&client, &secret(&one.signing_key)).await;
    until("listener", read, list, ("Programmed", "True", "Programmed")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_pool_says_so_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    // A /30 has two addresses to give.
    let foregate = Foregate::start(dir.path(), "127.117.3.0/30", &[]);
    let client = foregate.client().await;
    for name in ["a", "b"] {
        apply(&client, &gateway(name)).await;
        gateway_address(&client, name).await;
    }
    apply(&client, &gateway("c")).await;
    let message = until(
        "gateway",
        async || read_gateway(&client, "c").await,
        "/status/conditions",
        ("Programmed", "False", "AddressNotAssigned"),
    )
    .await;
    assert!(message.contains("default"), "names the pool: {message}");
    let api: Api<Gateway> = Api::default_namespaced(client.clone());
    api.delete("a", &kube::api::DeleteParams::default()).await.unwrap();
    gateway_address(&client, "c").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_whose_port_is_in_use_says_so_and_the_others_serve() {
    let dir = tempfile::tempdir().unwrap();
    let _in_use = TcpListener::bind("127.117.4.1:8080").unwrap();
    let foregate = Foregate::start(dir.path(), "127.117.4.0/24", &[]);
    let client = foregate.client().await;
    let two = gateway("web").replace("protocol: HTTP}]", "protocol: HTTP}, {name: other, port: 8081, protocol: HTTP}]");
    apply(&client, &two).await;
    let read = async || read_gateway(&client, "web").await;
    let message = eventually("the listener isn't programmed", || async {
        let found = condition(&read().await?, "/status/listeners/0/conditions", "Programmed")?;
        (found.0 == "False" && found.2.contains("8080")).then_some(found.2)
    })
    .await;
    assert!(message.contains("in use"), "{message}");
    until_status("127.117.4.1:8081".parse().unwrap(), "web", "/", 404).await;
}

#[test]
fn the_apis_port_in_use_ends_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let in_use = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = in_use.local_addr().unwrap().to_string();
    let foregate = Foregate::spawn(dir.path(), "127.117.5.0/24", &["--api-listen", &address]);
    let (status, output) = foregate.wait_exit();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains(&address) && output.contains("--api-listen"), "{output}");
}

#[test]
fn a_second_process_on_one_data_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = Foregate::start(dir.path(), "127.117.6.0/24", &[]);
    let (status, output) = Foregate::spawn(dir.path(), "127.117.6.0/24", &[]).wait_exit();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("another") && output.contains(dir.path().to_str().unwrap()), "{output}");
    assert_eq!(first.stop(Signal::INT).code(), Some(0), "the first is untouched");
}

#[test]
fn a_truncated_store_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    Foregate::start(dir.path(), "127.117.7.0/24", &[]).stop(Signal::INT);
    let store = std::fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "redb"))
        .expect("a store");
    let whole = std::fs::read(&store).unwrap();
    std::fs::write(&store, &whole[..whole.len() / 3]).unwrap();
    let (status, output) = Foregate::spawn(dir.path(), "127.117.7.0/24", &[]).wait_exit();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains(store.to_str().unwrap()) && !output.contains("panicked"), "{output}");
    assert_eq!(std::fs::read(&store).unwrap().len(), whole.len() / 3, "what is left is left alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_headers_without_end_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.117.8.0/24", &[]);
    let client = foregate.client().await;
    apply(&client, &gateway("web")).await;
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    let answer = tokio::task::spawn_blocking(move || headers_without_end(address)).await.unwrap();
    assert!(answer.is_empty() || answer.contains("431"), "{answer}");
    until_status(address, "web", "/", 404).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_that_is_deleted_stays_while_gateways_use_it() {
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.117.10.0/24", &[]);
    let client = foregate.client().await;
    for yaml in [service("one", &[backend::start("one").await]), gateway("web"), route("web", "web", "/", "one")] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    until_status(address, "web", "/", 200).await;
    let classes: Api<foregate_api::gateway::GatewayClass> = Api::all(client.clone());
    let finalizers = || async { classes.get("foregate").await.ok()?.metadata.finalizers };
    eventually("the class is held", || async { finalizers().await.filter(|held| !held.is_empty()) }).await;
    classes.delete("foregate", &kube::api::DeleteParams::default()).await.unwrap();
    assert!(classes.get("foregate").await.unwrap().metadata.deletion_timestamp.is_some());
    assert_eq!(http::get(address, "web", "/").await.unwrap().status(), 200);
    let gateways: Api<Gateway> = Api::default_namespaced(client.clone());
    gateways.delete("web", &kube::api::DeleteParams::default()).await.unwrap();
    eventually("the class goes with its last Gateway", || async {
        classes.get_opt("foregate").await.ok().filter(Option::is_none)
    })
    .await;
}

/// Sends headers until the server has enough, and returns what it said; bounded at 64 MiB.
fn headers_without_end(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n").unwrap();
    let line = format!("x-more: {}\r\n", "y".repeat(1000));
    let sent = (0..65_536).take_while(|_| stream.write_all(line.as_bytes()).is_ok()).count();
    assert!(sent < 65_536, "the server takes headers without end");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_resources_the_one_that_the_engine_refuses_is_named_and_the_others_serve() {
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.117.9.0/24", &[]);
    let client = foregate.client().await;
    apply(&client, &service("one", &[backend::start("one").await])).await;
    // Envoy's rules allow this; the built-in engine doesn't support it: so only the engine itself can refuse.
    let patch = r#"{{ if hasSuffix "/r25" .route.origin }}route: { internal_redirect_policy: {} }{{ end }}"#;
    let patch = serde_json::json!({ "spec": { "envoy": { "routePatch": patch } } });
    let templates: Api<foregate_api::GatewayTemplate> =
        Api::namespaced(client.clone(), foregate_api::DEFAULT_TENANT_NAMESPACE);
    templates.patch("default", &Default::default(), &kube::api::Patch::Merge(patch)).await.unwrap();
    apply(&client, &gateway("web")).await;
    let hosts: Vec<String> = (0..50).map(|index| format!("r{index}.test")).collect();
    for (index, host) in hosts.iter().enumerate() {
        let yaml = route(&format!("r{index}"), "web", "/", "one")
            .replace("spec:\n", &format!("spec:\n  hostnames: [{host}]\n"));
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    for (index, host) in hosts.iter().enumerate() {
        until_status(address, host, "/", if index == 25 { 404 } else { 200 }).await;
    }
    let message = eventually("the refused route says so", || async {
        let found = condition(&read_route(&client, "r25").await?, "/status/parents/0/conditions", "Accepted")?;
        (found.0 == "False").then_some(found.2)
    })
    .await;
    assert!(message.contains("internal_redirect_policy"), "the engine's own words: {message}");
    let fine = condition(&read_route(&client, "r24").await.unwrap(), "/status/parents/0/conditions", "Accepted");
    assert_eq!(fine.map(|found| found.0).as_deref(), Some("True"));
}
