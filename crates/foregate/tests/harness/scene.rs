//! A gateway under load while its configuration changes: the same changes on every engine.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use kube::Client;

use super::load::Load;
use super::{Foregate, apply, backend, envoy, eventually, gateway, gateway_address, http, route, service};

/// Time between two changes.
const PERIOD: Duration = Duration::from_millis(20);

/// A gateway `web` with Services `one` and `two`, and a route `/` to `one`.
pub struct Scene {
    pub foregate: Foregate,
    pub dir: envoy::DataDir,
    pub client: Client,
    pub address: SocketAddr,
    /// Changes of each kind; `FOREGATE_CHANGES=1000` for the full figure.
    changes: usize,
}

impl Scene {
    /// On the built-in engine.
    pub async fn set(pool: &str) -> Self {
        Self::set_on(pool, "builtin", 150, &[], |_| {}).await
    }

    /// On an engine that `prepare` may put into the data directory.
    pub async fn set_on(pool: &str, engine: &str, changes: usize, flags: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let dir = envoy::DataDir::new();
        prepare(dir.path());
        let foregate = Foregate::start(dir.path(), pool, flags);
        let client = foregate.client().await;
        envoy::set_template(&client, engine).await;
        let (one, two) = (backend::start("one").await, backend::start("two").await);
        for yaml in [service("one", &[one]), service("two", &[two]), gateway("web"), route("web", "web", "/", "one")] {
            apply(&client, &yaml).await;
        }
        let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
        eventually("the route serves", || async {
            http::get(address, "web", "/").await.ok().filter(|response| response.status() == 200)
        })
        .await;
        let changes = std::env::var("FOREGATE_CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(changes);
        Self { foregate, dir, client, address, changes }
    }

    /// Load on the route.
    pub fn load(&self) -> Load {
        Load::start(4, self.address, "web", "/")
    }

    /// Runs `change` again and again under load, and expects that no request fails.
    async fn no_request_fails<F: AsyncFn(usize)>(&self, what: &str, change: F) {
        self.under(self.load(), what, change).await;
    }

    async fn under<F: AsyncFn(usize)>(&self, load: Load, what: &str, change: F) {
        let mut tick = tokio::time::interval(PERIOD);
        for index in 0..self.changes {
            tick.tick().await;
            change(index).await;
        }
        self.none_failed(load, &format!("{what}, {} changes", self.changes)).await;
    }

    /// Ends the load, and expects that no request has failed.
    pub async fn none_failed(&self, load: Load, what: &str) {
        let (sent, failures) = load.finish().await;
        assert!(
            failures.is_empty(),
            "{what}: {} of {sent} failed: {:#?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
        assert!(sent > 100, "{what}: only {sent} requests were sent");
        println!("{what}: {sent} requests, none failed");
    }

    pub async fn route_changes_its_backend(&self) {
        self.no_request_fails("a route's backend", async |index| {
            let to = ["two", "one"][index % 2];
            apply(&self.client, &route("web", "web", "/", to)).await;
        })
        .await;
    }

    /// From a Service to a Backend of Envoy Gateway's group by address, to one by name, and back.
    pub async fn route_changes_its_kind_of_backend(&self) {
        let (ip, name) = (backend::start("ip").await, backend::start("name").await);
        apply(&self.client, &direct("ip", format!("{{ip: {{address: {}, port: {}}}}}", ip.ip(), ip.port()))).await;
        apply(&self.client, &direct("name", localhost(name))).await;
        self.no_request_fails("a route's kind of backend", async |index| {
            let to = ["ip", "name", "one"][index % 3];
            let yaml = route("web", "web", "/", to);
            let yaml = if to == "one" { yaml } else { to_direct(&yaml, to) };
            apply(&self.client, &yaml).await;
        })
        .await;
        self.back_to_one().await;
    }

    /// A Backend's host name gets another port, and back.
    pub async fn host_names_of_a_backend_change(&self) {
        let both = [backend::start("name").await, backend::start("name").await];
        apply(&self.client, &direct("moving", localhost(both[0]))).await;
        apply(&self.client, &to_direct(&route("web", "web", "/", "moving"), "moving")).await;
        eventually("the route has moved", || async {
            http::get(self.address, "web", "/").await.ok().filter(|response| response.body() == "name")
        })
        .await;
        self.no_request_fails("a backend's host name", async |index| {
            apply(&self.client, &direct("moving", localhost(both[(index + 1) % 2]))).await;
        })
        .await;
        self.back_to_one().await;
    }

    /// As it was at first, for what comes after.
    async fn back_to_one(&self) {
        apply(&self.client, &route("web", "web", "/", "one")).await;
        eventually("the route is back", || async {
            http::get(self.address, "web", "/").await.ok().filter(|response| response.body() == "one")
        })
        .await;
    }

    pub async fn endpoints_are_replaced(&self) {
        let others = [backend::start("one").await, backend::start("one").await];
        self.no_request_fails("endpoints", async |index| {
            apply(&self.client, &service("one", &[others[index % 2]])).await;
        })
        .await;
    }

    /// One of two endpoints refuses connections, comes and goes, and nobody says so: Pods without readiness.
    pub async fn endpoints_refuse(&self) {
        let one = backend::start("one").await;
        let refusing = SocketAddr::new("127.0.0.2".parse().unwrap(), one.port());
        apply(&self.client, &service("one", &[one, refusing])).await;
        let load = self.load();
        let mut posted = 0;
        let mut tick = tokio::time::interval(PERIOD);
        for index in 0..self.changes {
            tick.tick().await;
            let all: &[SocketAddr] = if index % 4 == 3 { &[one] } else { &[refusing, one] };
            apply(&self.client, &service("one", all)).await;
            let response = http::post(self.address, "web", "/", "body").await.unwrap();
            assert_eq!(response.status(), 200, "a request with a body");
            posted += 1;
        }
        self.none_failed(load, &format!("endpoints that refuse, {posted} changes")).await;
    }

    pub async fn certificate_is_replaced(&self) {
        const HOST: &str = "web.test";
        let pairs = [0, 1].map(|_| rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap());
        let secret = |index: usize| {
            let pair = &pairs[index % 2];
            let data = serde_json::json!({ "tls.crt": pair.cert.pem(), "tls.key": pair.signing_key.serialize_pem() });
            let object = serde_json::json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "web" },
                "type": "kubernetes.io/tls", "stringData": data });
            object.to_string()
        };
        apply(&self.client, &secret(0)).await;
        let https = "{name: https, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: web}]}}";
        let both = gateway("web").replace("protocol: HTTP}]", &format!("protocol: HTTP}}, {https}]"));
        apply(&self.client, &both).await;
        let mut roots = rustls::RootCertStore::empty();
        pairs.iter().for_each(|pair| roots.add(pair.cert.der().clone()).unwrap());
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let tls = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
        let address = SocketAddr::new(self.address.ip(), 8443);
        eventually("HTTPS serves", || async {
            let load = Load::start_with(1, address, HOST, "/", Some(tls.clone()));
            tokio::time::sleep(PERIOD).await;
            let (sent, failures) = load.finish().await;
            (sent > 0 && failures.is_empty()).then_some(())
        })
        .await;
        let load = Load::start_with(4, address, HOST, "/", Some(tls));
        self.under(load, "a certificate", async |index| apply(&self.client, &secret(index + 1)).await).await;
    }

    pub async fn another_listener_comes_and_goes(&self) {
        let with_one = gateway("web");
        let with_two =
            gateway("web").replace("protocol: HTTP}]", "protocol: HTTP}, {name: more, port: 8081, protocol: HTTP}]");
        self.no_request_fails("a listener", async |index| {
            apply(&self.client, if index % 2 == 0 { &with_two } else { &with_one }).await;
        })
        .await;
    }

    pub async fn gateways_template_changes(&self) {
        let proxy = envoy::proxy(&self.client).await;
        let listener = proxy.spec.template.envoy.listener.clone();
        assert!(listener.contains("stat_prefix"), "the stock listener names its statistics");
        self.no_request_fails("a template", async |index| {
            let changed = listener.replace("stat_prefix: ", &format!("stat_prefix: v{index}-"));
            envoy::patch_proxy(&self.client, serde_json::json!({ "envoy": { "listener": changed } })).await;
        })
        .await;
    }
}

/// A Backend of Envoy Gateway's group.
fn direct(name: &str, endpoint: String) -> String {
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: Backend\nmetadata: {{name: {name}}}\n\
         spec: {{endpoints: [{endpoint}]}}\n"
    )
}

fn localhost(address: SocketAddr) -> String {
    format!("{{fqdn: {{hostname: localhost, port: {}}}}}", address.port())
}

/// A route to a Backend in the place of a Service.
fn to_direct(route: &str, name: &str) -> String {
    let reference = format!("{{group: gateway.envoyproxy.io, kind: Backend, name: {name}}}");
    route.replace(&format!("{{name: {name}, port: 80}}"), &reference)
}
