//! An engine that refuses what another one serves takes nothing from it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foregate_api::instance::EngineState;
use foregate_api::{GatewayInstance, GatewayProxy};
use harness::envoy::{self, NEW, OLD};
use harness::scene::Scene;
use harness::{condition, eventually, http};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

const SERVED: &str = "every connected instance serves it";

/// A filter that the built-in engine doesn't have, and that nobody may lose.
const RBAC: &str = r#"
      - name: envoy.filters.http.rbac
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
          rules:
            action: DENY
            policies:
              closed: { permissions: [{ url_path: { path: { prefix: /closed } } }], principals: [{ any: true }] }"#;

/// Messages of Programmed, of the Gateway and of its GatewayProxy, if both are True.
async fn programmed(scene: &Scene) -> Option<[String; 2]> {
    let gateways: Api<foregate_api::gateway::Gateway> = Api::default_namespaced(scene.client.clone());
    let said = |object: Value| {
        let (status, _, message) = condition(&object, "/status/conditions", "Programmed")?;
        (status == "True").then_some(message)
    };
    let gateway = said(serde_json::to_value(gateways.get("web").await.ok()?).ok()?)?;
    let proxy: GatewayProxy = envoy::proxy(&scene.client).await;
    Some([gateway, said(serde_json::to_value(proxy).ok()?)?])
}

/// Waits until all that is there to say it says that one engine refuses what another serves.
async fn refusal_is_told(scene: &Scene, refuses: &str, serves: &str, why: &str) {
    let parts = [format!("{refuses} can't take over"), format!("meanwhile {serves} serves on"), why.to_owned()];
    let status = envoy::until(&scene.client, |status| parts.iter().all(|part| status.message.contains(part))).await;
    assert_eq!((status.state, status.name.as_str()), (EngineState::Starting, serves));
    eventually("the conditions say who refuses what, and who serves", || async {
        let parts = [format!("{refuses} refuses"), format!("{serves} serves on"), "http-8080".into(), why.into()];
        programmed(scene).await.filter(|said| said.iter().all(|said| parts.iter().all(|part| said.contains(part))))
    })
    .await;
    let instances: Api<GatewayInstance> = Api::all(scene.client.clone());
    let instance = instances.list(&ListParams::default()).await.unwrap().items.pop().unwrap().status.unwrap();
    assert!(instance.connected && instance.ready, "{instance:?}");
    assert!(instance.last_nack.unwrap().message.contains(why));
}

async fn nothing_is_refused(scene: &Scene) {
    eventually("nothing is said any more", || async {
        programmed(scene).await.filter(|said| said.iter().all(|said| said == SERVED))
    })
    .await;
}

/// Asks for what the filter keeps closed, all the time; returns what got through.
async fn knock(address: SocketAddr, stop: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let (mut refused, mut open) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        match http::get(address, "web", "/closed").await {
            Ok(response) if response.status() == 403 => refused += 1,
            other => open.push(format!("{other:?}")),
        }
    }
    (refused, open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_that_refuses_what_serves_takes_nothing_from_it() {
    let scene = Scene::set_on("127.119.8.0/24", NEW, 0, &[], envoy::install_all).await;
    let logs = scene.dir.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let log = format!(
        "access_log: [{{ name: envoy.access_loggers.file, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: {} }} }}]",
        logs.join("log").display()
    );
    let listener = envoy::proxy(&scene.client).await.spec.template.envoy.listener;
    let filtered = listener.replacen("http_filters:", &format!("{log}\n      http_filters:{RBAC}"), 1);
    assert_ne!(filtered, listener);
    envoy::patch_proxy(&scene.client, json!({ "envoy": { "listener": filtered } })).await;
    eventually("the filter works", || async {
        http::get(scene.address, "web", "/closed").await.ok().filter(|response| response.status() == 403)
    })
    .await;
    nothing_is_refused(&scene).await;
    let first = envoy::status(&scene.client).await.unwrap().pid;
    let stop = Arc::new(AtomicBool::new(false));
    let (load, knocking) = (scene.load(), tokio::spawn(knock(scene.address, stop.clone())));

    envoy::patch_proxy(&scene.client, json!({ "engine": "builtin" })).await;
    refusal_is_told(&scene, "builtin", NEW, "RBAC is not supported").await;
    let back = envoy::switch(&scene.client, NEW).await;
    assert_eq!((back.pid, back.message.as_str()), (first, ""));
    nothing_is_refused(&scene).await;

    // Another Envoy, that can't have what the first one has open.
    let away = scene.dir.path().join("away");
    std::fs::rename(&logs, &away).unwrap();
    envoy::patch_proxy(&scene.client, json!({ "engine": OLD })).await;
    refusal_is_told(&scene, OLD, NEW, "unable to open file").await;
    std::fs::rename(&away, &logs).unwrap();
    envoy::until(&scene.client, |status| status.name == OLD && status.state == EngineState::Running).await;
    nothing_is_refused(&scene).await;

    scene.none_failed(load, "engines that refuse").await;
    stop.store(true, Ordering::Relaxed);
    let (refused, open) = knocking.await.unwrap();
    assert!(open.is_empty() && refused > 100, "{refused} were refused, {}: {:?}", open.len(), open.first());
}
