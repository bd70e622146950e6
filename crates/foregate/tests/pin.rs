//! Gateways that are held at a revision, with traffic.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;

use foregate_api::gateway::Gateway;
use foregate_api::{ConfigRevision, DEFAULT_TENANT_NAMESPACE, GatewayBackend, GatewayProxy};
use harness::load::Load;
use harness::{Foregate, apply, condition, eventually, gateway, gateway_address, http, route, service};
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use rustix::process::Signal;
use serde_json::{Value, json};

fn tenant<K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>>(client: &Client) -> Api<K> {
    Api::namespaced(client.clone(), DEFAULT_TENANT_NAMESPACE)
}

async fn proxy(client: &Client) -> GatewayProxy {
    tenant::<GatewayProxy>(client).list(&ListParams::default()).await.unwrap().items.remove(0)
}

async fn pin(client: &Client, revision: Value) {
    let name = proxy(client).await.name_any();
    let patch = json!({ "spec": { "pinnedRevision": revision } });
    tenant::<GatewayProxy>(client).patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// The newest revision, once a change of that route is in it and no older one.
async fn revision_of(client: &Client, route: &str, after: u64) -> ConfigRevision {
    eventually(&format!("a revision after {after} because of {route}"), || async {
        let mut all = tenant::<ConfigRevision>(client).list(&ListParams::default()).await.ok()?.items;
        all.sort_by_key(|revision| revision.spec.number);
        let newest = all.pop()?;
        let fits = newest.spec.number > after && newest.spec.causes.iter().any(|it| it.name == route);
        fits.then_some(newest)
    })
    .await
}

async fn body(address: SocketAddr, path: &str) -> Option<String> {
    let response = http::get(address, "a.example", path).await.ok()?;
    Some(format!("{} {}", response.status().as_u16(), String::from_utf8_lossy(response.body())))
}

async fn answers(address: SocketAddr, path: &str, expected: &str) {
    let fits = || async { body(address, path).await.filter(|it| it.starts_with(expected)) };
    eventually(&format!("{path} is answered by {expected}"), fits).await;
}

async fn pinned(client: &Client, reason: &str) -> String {
    eventually(&format!("the Gateway is pinned: {reason}"), || async {
        let api: Api<Gateway> = Api::default_namespaced(client.clone());
        let gateway = serde_json::to_value(api.get("web").await.ok()?).ok()?;
        let (_, found, message) = condition(&gateway, "/status/conditions", "foregate.dev/Pinned")?;
        assert!([reason, "Pinned", "Pending"].contains(&&*found), "{found}: {message}");
        (found == reason).then_some(message)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_serves_what_was_and_loses_no_request() {
    let (blue, green) = (harness::backend::start("blue").await, harness::backend::start("green").await);
    let dir = tempfile::tempdir().unwrap();
    let mut foregate = Foregate::start(dir.path(), "127.162.0.0/24", &[]);
    let mut client = foregate.client().await;
    let services = format!("{}---\n{}", service("blue", &[blue]), service("green", &[green]));
    apply(&client, &format!("{}---\n{services}", gateway("web"))).await;
    // Both backends are used by a route that stays, so that their endpoints are known at any revision.
    apply(
        &client,
        &format!("{}---\n{}", route("keep", "web", "/keep", "blue"), route("also", "web", "/also", "green")),
    )
    .await;
    apply(&client, &route("r", "web", "/", "blue")).await;
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    answers(address, "/", "200 blue").await;
    let then = revision_of(&client, "r", 0).await;
    apply(&client, &route("r", "web", "/", "green")).await;
    apply(&client, &route("new", "web", "/new", "green")).await;
    answers(address, "/", "200 green").await;
    revision_of(&client, "new", then.spec.number).await;

    let load = Load::start(4, address, "a.example", "/");
    pin(&client, json!(then.name_any())).await;
    let told = pinned(&client, "Pinned").await;
    assert!(told.contains(&then.name_any()), "{told}");
    answers(address, "/", "200 blue").await;
    // Routes wait; endpoints don't.
    apply(&client, &route("r", "web", "/", "gone")).await;
    let other = harness::backend::start("bluer").await;
    apply(&client, &service("blue", &[other])).await;
    answers(address, "/", "200 bluer").await;
    let (sent, failures) = load.finish().await;
    assert!(sent > 100 && failures.is_empty(), "{sent} requests: {failures:#?}");

    // It is held across a crash.
    foregate.stop(Signal::KILL);
    foregate = Foregate::start(dir.path(), "127.162.0.0/24", &[]);
    client = foregate.client().await;
    assert_eq!(body(address, "/").await.as_deref(), Some("200 bluer"), "when it says that it is ready");
    assert_eq!(body(address, "/new").await.as_deref(), Some("200 bluer"), "its route came later");

    pin(&client, json!("web-999")).await;
    assert!(pinned(&client, "RevisionNotFound").await.contains("isn't kept"));
    assert_eq!(body(address, "/").await.as_deref(), Some("200 bluer"), "it stays as it is");

    pin(&client, Value::Null).await;
    answers(address, "/new", "200 green").await;
    answers(address, "/", "500").await;
    drop(foregate);
}

async fn backends(client: &Client) -> Vec<String> {
    let all = tenant::<GatewayBackend>(client).list(&ListParams::default()).await.unwrap().items;
    all.into_iter().map(|backend| backend.spec.origin.name).collect()
}

/// The newest revision, once a Service has been sent to. Whose change that was depends on what came first.
async fn revision_to(client: &Client, service: &str) -> ConfigRevision {
    let uid = Api::<Service>::default_namespaced(client.clone()).get(service).await.unwrap().uid().unwrap();
    eventually(&format!("a revision with {service}"), || async {
        let mut all = tenant::<ConfigRevision>(client).list(&ListParams::default()).await.ok()?.items;
        all.sort_by_key(|revision| revision.spec.number);
        let sent_to = all.iter().flat_map(|it| &it.spec.changes).any(|it| it.name.contains(&uid));
        all.pop().filter(|_| sent_to)
    })
    .await
}

/// What no route names any more is there again for the revision, before anybody is sent to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_brings_back_what_no_route_names() {
    let (blue, green) = (harness::backend::start("blue").await, harness::backend::start("green").await);
    let dir = tempfile::tempdir().unwrap();
    let mut foregate = Foregate::start(dir.path(), "127.163.0.0/24", &[]);
    let mut client = foregate.client().await;
    let services = format!("{}---\n{}", service("blue", &[blue]), service("green", &[green]));
    apply(&client, &format!("{}---\n{services}---\n{}", gateway("web"), route("r", "web", "/", "blue"))).await;
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    answers(address, "/", "200 blue").await;
    let then = revision_to(&client, "blue").await;
    apply(&client, &route("r", "web", "/", "green")).await;
    answers(address, "/", "200 green").await;
    let later = revision_to(&client, "green").await;
    eventually("blue's backend is gone", || async { (backends(&client).await == ["green"]).then_some(()) }).await;

    let load = Load::start(4, address, "a.example", "/");
    pin(&client, json!(then.name_any())).await;
    answers(address, "/", "200 blue").await;
    assert!(pinned(&client, "Pinned").await.contains(&then.name_any()));
    // Its endpoints are the present ones, and go on to change.
    let other = harness::backend::start("bluer").await;
    apply(&client, &service("blue", &[other])).await;
    answers(address, "/", "200 bluer").await;
    let (sent, failures) = load.finish().await;
    assert!(sent > 100 && failures.is_empty(), "{sent} requests: {failures:#?}");

    // It is held, with endpoints, across a stop and a crash.
    for signal in [Signal::TERM, Signal::KILL] {
        foregate.stop(signal);
        foregate = Foregate::start(dir.path(), "127.163.0.0/24", &[]);
        client = foregate.client().await;
        assert_eq!(body(address, "/").await.as_deref(), Some("200 bluer"), "when it says that it is ready: {signal:?}");
    }
    let load = Load::start(4, address, "a.example", "/");
    pin(&client, Value::Null).await;
    answers(address, "/", "200 green").await;
    eventually("blue's backend is gone again", || async { (backends(&client).await == ["green"]).then_some(()) }).await;
    answers(address, "/", "200 green").await;
    // A route that moves on right after a pin takes nothing from the revision.
    pin(&client, json!(later.name_any())).await;
    apply(&client, &route("r", "web", "/", "blue")).await;
    eventually("both are kept", || async { (backends(&client).await.len() == 2).then_some(()) }).await;
    answers(address, "/", "200 green").await;
    pin(&client, Value::Null).await;
    answers(address, "/", "200 bluer").await;
    let (sent, failures) = load.finish().await;
    assert!(sent > 20 && failures.is_empty(), "{sent} requests: {failures:#?}");

    // A Service that is gone can't be brought back: the rest is served, and it is said.
    let services: Api<Service> = Api::default_namespaced(client.clone());
    services.delete("blue", &DeleteParams::default()).await.unwrap();
    pin(&client, json!(then.name_any())).await;
    answers(address, "/", "503").await;
    assert!(pinned(&client, "Incomplete").await.contains("is gone"));
    drop(foregate);
}
