//! A template that can't be used: what served before serves on, also after a restart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;

use foregate_api::template::GatewayTemplateSpec;
use foregate_api::{DEFAULT_NAME, DEFAULT_TENANT_NAMESPACE, GatewayProxy, GatewayTemplate};
use harness::{Foregate, apply, eventually, gateway, gateway_address, http, route, service};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
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

/// A stock template of before there were UDP, CORS and HTTP/2 over TLS.
const EARLIER: &str = include_str!("../../foregate-translate/tests/support/stock-59a1b14.yaml");

fn with_envoy_of(spec: &GatewayTemplateSpec, of: &GatewayTemplateSpec) -> GatewayTemplateSpec {
    GatewayTemplateSpec { envoy: of.envoy.clone(), values: of.values.clone(), ..spec.clone() }
}

async fn renew(foregate: &Foregate) -> String {
    let mut command = tokio::process::Command::new(harness::binary());
    let output = command.args(["renew", "web", "--kubeconfig"]).arg(foregate.kubeconfig()).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_earlier_stock_template_is_renewed_and_an_edited_one_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.110.44.0/24", &[]);
    let client = foregate.client().await;
    apply(&client, &gateway("web")).await;
    gateway_address(&client, "web").await;
    let stock = foregate_translate::default_template().spec;
    let earlier: GatewayTemplate = serde_saphyr::from_str(EARLIER).unwrap();
    let templates: Api<GatewayTemplate> = Api::namespaced(client.clone(), DEFAULT_TENANT_NAMESPACE);
    let mut template = templates.get(DEFAULT_NAME).await.unwrap();
    template.spec = with_envoy_of(&template.spec, &earlier.spec);
    templates.replace(DEFAULT_NAME, &PostParams::default(), &template).await.unwrap();
    let mut old = proxy(&client).await;
    old.spec.template = with_envoy_of(&old.spec.template, &earlier.spec);
    old.spec.template.replicas = 2;
    // The status is the platform's, which writes it at the same time.
    let spec = json!({ "spec": { "template": old.spec.template } });
    proxies(&client).patch(&old.name_any(), &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
    let values = json!({ "spec": { "template": { "values": { "udpIdleTimeout": null, "maxDatagramSize": null } } } });
    proxies(&client).patch(&old.name_any(), &PatchParams::default(), &Patch::Merge(&values)).await.unwrap();
    assert!(foregate.stop(Signal::TERM).success());

    let foregate = Foregate::start(dir.path(), "127.110.44.0/24", &[]);
    let client = foregate.client().await;
    let templates: Api<GatewayTemplate> = Api::namespaced(client.clone(), DEFAULT_TENANT_NAMESPACE);
    let template = templates.get(DEFAULT_NAME).await.unwrap();
    assert_eq!(template.spec, with_envoy_of(&template.spec, &stock));
    let renewed = proxy(&client).await.spec.template;
    assert_eq!(renewed, with_envoy_of(&renewed, &stock));
    assert_eq!(renewed.replicas, 2, "what is no Envoy configuration stays");

    // An edited one stays, also over a start.
    let edited = format!("{}# mine\n", stock.envoy.listener);
    set_listener(&client, &edited).await;
    template_is(&client, "True").await;
    assert!(foregate.stop(Signal::TERM).success());
    let foregate = Foregate::start(dir.path(), "127.110.44.0/24", &[]);
    let client = foregate.client().await;
    assert_eq!(proxy(&client).await.spec.template.envoy.listener, edited);
    let said = renew(&foregate).await;
    assert!(said.contains("has the Envoy configuration of GatewayTemplate tenant-default/default now"), "{said}");
    assert_eq!(proxy(&client).await.spec.template, renewed);
    assert!(renew(&foregate).await.contains("nothing changes"));
}
