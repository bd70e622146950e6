//! The controller at an API server that has a bad minute, and at one that doesn't know the Gateway API yet.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use foregate_api::GatewayClaim;
use foregate_api::gateway::{Gateway, GatewayClass};
use foregate_apiserver::{Server, ServerOptions};
use foregate_controller::{Controller, DefaultTarget, Gate, Settings};
use harness::{apply, condition, eventually, gateway};
use http::{Request, Response};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::client::Body;
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

/// An API server, and a way to it that can be bad.
struct World {
    server: Server,
    is_bad: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::open(ServerOptions::new(dir.path())).unwrap();
        Self { server, is_bad: Arc::default(), refused: Arc::default(), stop: CancellationToken::new(), _dir: dir }
    }

    /// A client that is answered 429 and 500, by turns, while it is bad.
    fn client(&self) -> Client {
        let (inner, is_bad, refused) = (self.server.client(), self.is_bad.clone(), self.refused.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (inner, turn) = (inner.clone(), refused.clone());
            let is_bad = is_bad.load(Ordering::Relaxed);
            async move {
                if !is_bad {
                    return inner.send(request).await;
                }
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                let response = if turn.is_multiple_of(2) {
                    Response::builder().status(429).header("Retry-After", "1").body("too many".to_owned().into_bytes())
                } else {
                    Response::builder().status(500).body("oh".to_owned().into_bytes())
                };
                Ok(response.unwrap().map(Body::from))
            }
        });
        Client::new(service, "default")
    }

    async fn install_kinds(&self) {
        self.install_kinds_but(&[]).await;
    }

    /// Installs all kinds but some, by plural, as a release that doesn't have these.
    async fn install_kinds_but(&self, missing: &[&str]) {
        let api: Api<CustomResourceDefinition> = Api::all(self.server.client());
        let all = foregate_api::crds().unwrap().into_iter();
        for mut crd in all.filter(|crd| !missing.contains(&crd.spec.names.plural.as_str())) {
            let version = if missing.is_empty() { "v1.7.0" } else { "v1.4.0" };
            crd.annotations_mut().insert("gateway.networking.k8s.io/bundle-version".to_owned(), version.to_owned());
            api.patch(&crd.name_any(), &PatchParams::apply("test"), &Patch::Apply(&crd)).await.unwrap();
        }
    }

    /// Runs a controller without a platform.
    fn run(&self) -> tokio::task::JoinHandle<()> {
        self.run_with(self.client(), None)
    }

    /// Runs one with a default platform, perhaps.
    fn run_with(&self, workload: Client, platform: Option<Client>) -> tokio::task::JoinHandle<()> {
        let default_target = platform.is_some().then(|| DefaultTarget::remote("edge".to_owned()));
        let controller = Controller {
            workload,
            platform,
            settings: Settings { default_target, host_local_backends: false, ..Settings::local() },
            gate: Gate::open(),
            caught_up: Arc::default(),
        };
        let run = foregate_controller::run(controller, self.stop.clone());
        tokio::spawn(async move { run.await.unwrap() })
    }

    async fn class(&self, name: &str) {
        let yaml = format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: {name}}}\n\
             spec: {{controllerName: {}}}\n",
            foregate_api::CONTROLLER_NAME
        );
        apply(&self.server.client(), &yaml).await;
    }

    /// Waits until a class says something.
    async fn says(&self, name: &str, kind: &str, status: &str, part: &str) {
        let api: Api<GatewayClass> = Api::all(self.server.client());
        eventually(&format!("GatewayClass {name} is {kind}={status} with {part:?}"), || async {
            let class = serde_json::to_value(api.get(name).await.unwrap()).unwrap();
            let (is, _, message) = condition(&class, "/status/conditions", kind)?;
            (is == status && message.contains(part)).then_some(())
        })
        .await;
    }

    /// Waits until the controller has said something about a class.
    async fn told(&self, name: &str) {
        let api: Api<GatewayClass> = Api::all(self.server.client());
        eventually(&format!("GatewayClass {name} has a condition"), || async {
            let status = api.get(name).await.unwrap().status?;
            (!status.conditions.is_empty()).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_minute_of_the_api_server_is_got_over() {
    let world = World::new();
    world.install_kinds().await;
    world.is_bad.store(true, Ordering::Relaxed);
    let running = world.run();
    eventually("it was refused", || async { (world.refused.load(Ordering::Relaxed) > 4).then_some(()) }).await;
    world.is_bad.store(false, Ordering::Relaxed);
    world.class("first").await;
    world.told("first").await;

    let before = world.refused.load(Ordering::Relaxed);
    world.is_bad.store(true, Ordering::Relaxed);
    world.class("second").await;
    eventually("a write was refused", || async { (world.refused.load(Ordering::Relaxed) > before).then_some(()) })
        .await;
    // It doesn't ask as fast as it can.
    let start = (tokio::time::Instant::now(), world.refused.load(Ordering::Relaxed));
    // Over a second at least: several questions may come at once.
    eventually("it goes on asking", || async {
        let more = world.refused.load(Ordering::Relaxed) > start.1 + 3;
        (more && start.0.elapsed() > Duration::from_secs(1)).then_some(())
    })
    .await;
    let asked = world.refused.load(Ordering::Relaxed) - start.1;
    let per_second = asked as f64 / start.0.elapsed().as_secs_f64();
    assert!(per_second < 1000.0, "{per_second} requests a second");
    assert!(!running.is_finished());
    world.is_bad.store(false, Ordering::Relaxed);
    world.told("second").await;
    world.stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_that_are_installed_later_are_read() {
    let world = World::new();
    let running = world.run();
    world.install_kinds().await;
    world.class("first").await;
    world.told("first").await;
    assert!(!running.is_finished());
    world.stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_release_is_used_as_far_as_it_goes_and_a_newer_one_taken_up() {
    let world = World::new();
    let newer = ["backendtlspolicies", "listenersets", "tcproutes", "tlsroutes", "udproutes"];
    world.install_kinds_but(&newer).await;
    let running = world.run();
    world.class("first").await;
    world.says("first", "SupportedVersion", "False", "v1.4.0 and doesn't serve backendtlspolicies, listenersets").await;
    world.install_kinds().await;
    world.says("first", "SupportedVersion", "True", "v1.7.0").await;
    assert!(!running.is_finished());
    world.stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_minute_of_a_platform_loses_no_change() {
    let (world, platform) = (World::new(), World::new());
    for each in [&world, &platform] {
        each.install_kinds().await;
    }
    let namespace = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {tenant}}}\n---\n\
         apiVersion: foregate.dev/v1alpha1\nkind: GatewayTemplate\nmetadata: {{name: default, namespace: {tenant}}}\nspec: {{envoy: {{listener: \"{{}}\"}}}}\n",
        tenant = foregate_api::DEFAULT_TENANT_NAMESPACE
    );
    apply(&platform.server.client(), &namespace).await;
    let running = world.run_with(world.server.client(), Some(platform.client()));
    world.class("foregate").await;
    world.says("foregate", "Accepted", "True", "").await;
    let claims: Api<GatewayClaim> = Api::namespaced(platform.server.client(), foregate_api::DEFAULT_TENANT_NAMESPACE);
    let are = async |expected: &[&str]| {
        eventually(&format!("claims of {expected:?}"), || async {
            let all = claims.list(&Default::default()).await.unwrap();
            let mut names: Vec<_> = all.items.iter().map(|claim| claim.spec.origin.name.clone()).collect();
            names.sort();
            (names == expected).then_some(())
        })
        .await;
    };
    for name in ["a", "b"] {
        apply(&world.server.client(), &gateway(name)).await;
    }
    are(&["a", "b"]).await;

    platform.is_bad.store(true, Ordering::Relaxed);
    let before = platform.refused.load(Ordering::Relaxed);
    apply(&world.server.client(), &gateway("c")).await;
    let gateways: Api<Gateway> = Api::default_namespaced(world.server.client());
    gateways.delete("a", &Default::default()).await.unwrap();
    world.says("foregate", "Accepted", "Unknown", "the platform answers").await;
    let start = (tokio::time::Instant::now(), platform.refused.load(Ordering::Relaxed));
    eventually("it goes on asking", || async {
        let more = platform.refused.load(Ordering::Relaxed) > start.1;
        (more && start.0.elapsed() > Duration::from_secs(1)).then_some(())
    })
    .await;
    let asked = platform.refused.load(Ordering::Relaxed) - before;
    assert!(asked as f64 / start.0.elapsed().as_secs_f64() < 1000.0, "{asked} requests");
    are(&["a", "b"]).await;
    platform.is_bad.store(false, Ordering::Relaxed);
    are(&["b", "c"]).await;
    world.says("foregate", "Accepted", "True", "").await;
    world.stop.cancel();
    running.await.unwrap();
}
