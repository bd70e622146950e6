//! The controller at an API server that has a bad minute, and at one that doesn't know the Gateway API yet.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use foregate_api::gateway::GatewayClass;
use foregate_apiserver::{Server, ServerOptions};
use foregate_controller::{Controller, Gate, Settings};
use harness::{apply, eventually};
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
        let api: Api<CustomResourceDefinition> = Api::all(self.server.client());
        for crd in foregate_api::crds().unwrap() {
            api.patch(&crd.name_any(), &PatchParams::apply("test"), &Patch::Apply(&crd)).await.unwrap();
        }
    }

    /// Runs a controller without a platform.
    fn run(&self) -> tokio::task::JoinHandle<()> {
        let controller = Controller {
            workload: self.client(),
            platform: None,
            settings: Settings { default_target: None, ..Settings::local() },
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
