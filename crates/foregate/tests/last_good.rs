//! A template that can't be used: what served before serves on, also after a restart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;

use foregate_api::{DEFAULT_TENANT_NAMESPACE, GatewayProxy};
use harness::{Foregate, apply, eventually, gateway, gateway_address, http, route, service};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use rustix::process::Signal;
use serde_json::json;

fn proxies(client: &Client) -> Api<GatewayProxy> {
    Api::namespaced(client.clone(), DEFAULT_TENANT_NAMESPACE)
}

async fn proxy(client: &Client) -> GatewayProxy {
    proxies(client).list(&ListParams::default()).await.unwrap().items.remove(0)
}

async fn set_listener(client: &Client, listener: &str) {
    let patch = json!({ "spec": { "template": { "envoy": { "listener": listener } } } });
    let name = proxy(client).await.name_any();
    proxies(client).patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// What is said of the template, once that is `True` or `False`.
async fn template_is(client: &Client, status: &str) -> GatewayProxy {
    eventually(&format!("TemplateValid is {status}"), || async {
        let proxy = proxy(client).await;
        let generation = proxy.metadata.generation.unwrap_or_default();
        let said = proxy.status.as_ref().filter(|said| said.observed_generation == generation)?;
        let valid = said.conditions.iter().find(|condition| condition.type_ == "TemplateValid")?;
        // What serves on is told, or no more.
        (valid.status == status && said.last_good.is_some() == (status == "False")).then_some(proxy)
    })
    .await
}

async fn answers(address: SocketAddr, path: &str) {
    eventually(&format!("{path} is answered"), || async {
        let response = http::get(address, "a.example", path).await.ok()?;
        (response.status().as_u16() == 200).then_some(())
    })
    .await;
}

/// `spoil` makes a good listener one that can't be used; `says` is in the message.
async fn serves_on(pool: &str, spoil: fn(&str) -> String, says: &str) {
    let blue = harness::backend::start("blue").await;
    let dir = tempfile::tempdir().unwrap();
    let mut foregate = Foregate::start(dir.path(), pool, &[]);
    let client = foregate.client().await;
    for yaml in [service("blue", &[blue]), gateway("web"), route("a", "web", "/a", "blue")] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    answers(address, "/a").await;
    let good = template_is(&client, "True").await.spec.template.envoy.listener;

    set_listener(&client, &spoil(&good)).await;
    let told = format!("{:?}", template_is(&client, "False").await.status);
    assert!(told.contains(says) && told.contains("serves on"), "{told}");
    answers(address, "/a").await;
    for (signal, path) in [(Signal::TERM, "/b"), (Signal::KILL, "/c")] {
        foregate.stop(signal);
        foregate = Foregate::start(dir.path(), pool, &[]);
        let client = foregate.client().await;
        answers(address, "/a").await;
        let told = format!("{:?}", template_is(&client, "False").await.status);
        assert!(told.contains(says), "{told}");
        // It isn't a standstill: routes still come.
        apply(&client, &route(&path[1..], "web", path, "blue")).await;
        answers(address, path).await;
    }

    let client = foregate.client().await;
    set_listener(&client, &good).await;
    template_is(&client, "True").await;
    answers(address, "/a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_does_not_render_takes_no_gateway_down() {
    serves_on("127.171.0.0/24", |good| format!("{good}\n{{{{ .gateway.nothing }}}}\n"), "nothing").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_the_engine_refuses_takes_no_gateway_down() {
    let spoil = |good: &str| format!("{good}\nconnectionBalanceConfig: {{ exactBalance: {{}} }}\n");
    serves_on("127.171.1.0/24", spoil, "connection_balance_config").await;
}
