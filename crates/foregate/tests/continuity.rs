//! No request fails while the configuration changes under it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;
use std::time::Duration;

use harness::load::Load;
use harness::{Foregate, apply, backend, gateway, gateway_address, http, route, service};
use kube::Client;

/// Time between two changes.
const PERIOD: Duration = Duration::from_millis(20);
/// Enough to meet every race in a test; `FOREGATE_CHANGES=1000` for the full figure.
const CHANGES: usize = 150;

fn changes() -> usize {
    std::env::var("FOREGATE_CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(CHANGES)
}

/// A gateway `web` with Services `one` and `two`, a route `/` to `one`, and load on it.
struct Scene {
    _foregate: Foregate,
    _dir: tempfile::TempDir,
    client: Client,
    address: SocketAddr,
}

impl Scene {
    async fn set(pool: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let foregate = Foregate::start(dir.path(), pool, &[]);
        let client = foregate.client().await;
        let (one, two) = (backend::start("one").await, backend::start("two").await);
        for yaml in [service("one", &[one]), service("two", &[two]), gateway("web"), route("web", "web", "/", "one")] {
            apply(&client, &yaml).await;
        }
        let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
        harness::eventually("the route serves", || async {
            http::get(address, "web", "/").await.ok().filter(|response| response.status() == 200)
        })
        .await;
        Self { _foregate: foregate, _dir: dir, client, address }
    }

    /// Runs `change` again and again under load, and expects that no request fails.
    async fn no_request_fails<F: AsyncFn(usize)>(&self, what: &str, change: F) {
        self.under(Load::start(4, self.address, "web", "/"), what, change).await;
    }

    async fn under<F: AsyncFn(usize)>(&self, load: Load, what: &str, change: F) {
        let mut tick = tokio::time::interval(PERIOD);
        for index in 0..changes() {
            tick.tick().await;
            change(index).await;
        }
        let (sent, failures) = load.finish().await;
        assert!(
            failures.is_empty(),
            "{what}: {} of {sent} failed: {:#?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
        assert!(sent > 100, "{what}: only {sent} requests were sent");
        println!("{what}: {} changes, {sent} requests, none failed", changes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_changes_its_backend() {
    let scene = Scene::set("127.111.0.0/24").await;
    scene
        .no_request_fails("a route's backend", async |index| {
            let to = ["two", "one"][index % 2];
            apply(&scene.client, &route("web", "web", "/", to)).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_replaced() {
    let scene = Scene::set("127.112.0.0/24").await;
    let others = [backend::start("one").await, backend::start("one").await];
    scene
        .no_request_fails("endpoints", async |index| {
            apply(&scene.client, &service("one", &[others[index % 2]])).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced() {
    const HOST: &str = "web.test";
    let scene = Scene::set("127.112.1.0/24").await;
    let pairs = [0, 1].map(|_| rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap());
    let secret = |index: usize| {
        let pair = &pairs[index % 2];
        let data = serde_json::json!({ "tls.crt": pair.cert.pem(), "tls.key": pair.signing_key.serialize_pem() });
        let object = serde_json::json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "web" },
            "type": "kubernetes.io/tls", "stringData": data });
        object.to_string()
    };
    apply(&scene.client, &secret(0)).await;
    let https = "{name: https, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: web}]}}";
    apply(&scene.client, &gateway("web").replace("protocol: HTTP}]", &format!("protocol: HTTP}}, {https}]"))).await;
    let mut roots = rustls::RootCertStore::empty();
    pairs.iter().for_each(|pair| roots.add(pair.cert.der().clone()).unwrap());
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let tls = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
    let address = SocketAddr::new(scene.address.ip(), 8443);
    harness::eventually("HTTPS serves", || async {
        let load = Load::start_with(1, address, HOST, "/", Some(tls.clone()));
        tokio::time::sleep(PERIOD).await;
        let (sent, failures) = load.finish().await;
        (sent > 0 && failures.is_empty()).then_some(())
    })
    .await;
    let load = Load::start_with(4, address, HOST, "/", Some(tls));
    scene.under(load, "a certificate", async |index| apply(&scene.client, &secret(index + 1)).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_listener_comes_and_goes() {
    let scene = Scene::set("127.113.0.0/24").await;
    let with_one = gateway("web");
    let with_two =
        gateway("web").replace("protocol: HTTP}]", "protocol: HTTP}, {name: more, port: 8081, protocol: HTTP}]");
    scene
        .no_request_fails("a listener", async |index| {
            apply(&scene.client, if index % 2 == 0 { &with_two } else { &with_one }).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_template_changes() {
    let scene = Scene::set("127.114.0.0/24").await;
    let proxies: kube::Api<foregate_api::GatewayProxy> =
        kube::Api::namespaced(scene.client.clone(), foregate_api::DEFAULT_TENANT_NAMESPACE);
    let proxy = proxies.list(&kube::api::ListParams::default()).await.unwrap().items.pop().expect("a gateway");
    let name = proxy.metadata.name.clone().unwrap();
    let listener = proxy.spec.template.envoy.listener.clone();
    assert!(listener.contains("stat_prefix"), "the stock listener names its statistics");
    scene
        .no_request_fails("a template", async |index| {
            let changed = listener.replace("stat_prefix: ", &format!("stat_prefix: v{index}-"));
            let patch = serde_json::json!({ "spec": { "template": { "envoy": { "listener": changed } } } });
            proxies
                .patch(&name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch))
                .await
                .expect("the template is taken");
        })
        .await;
}
