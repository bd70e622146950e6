//! `foregate controller --source kubernetes`: a workload API, platforms and controllers, each a process of its own.
//!
//! The workload API is a `foregate up` whose own controller doesn't serve the classes of these tests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use foregate_api::gateway::{Gateway, GatewayClass, HTTPRoute};
use foregate_api::{GatewayClaim, GatewayRoute};
use harness::{Foregate, apply, backend, condition, eventually, free_port, gateway, gateway_address, http, service};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use rustix::process::Signal;

/// The `controllerName` of these tests' classes.
const NAME: &str = "test.example/controller";

/// A platform that comes back where it was.
struct Platform {
    data: tempfile::TempDir,
    pool: &'static str,
    port: u16,
    up: Option<Foregate>,
}

impl Platform {
    fn start(pool: &'static str) -> Self {
        let mut platform = Self { data: tempfile::tempdir().unwrap(), pool, port: free_port(), up: None };
        platform.back();
        platform
    }

    fn back(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        // The tests' backends are on this host.
        let config = self.data.path().join("config.yaml");
        std::fs::write(&config, "hostLocalEndpoints: true\n").unwrap();
        let flags = ["--api-listen", &listen, "--config", config.to_str().unwrap()];
        self.up = Some(Foregate::start(self.data.path(), self.pool, &flags));
    }

    fn away(&mut self) {
        self.up.take().unwrap().stop(Signal::KILL);
    }

    /// Makes a workload cluster known to it, and the class that leads to it known to the workload cluster.
    async fn join(&self, workload: &Client, class: &str) {
        let kubeconfig = self.data.path().join("admin.kubeconfig");
        let mut add = Command::new(harness::binary());
        add.args(["cluster", "add", "default/edge", "--class", class, "--controller-name", NAME, "--namespace", class]);
        let added = add.arg("--kubeconfig").arg(kubeconfig).output().unwrap();
        assert!(added.status.success(), "{added:?}");
        apply(workload, std::str::from_utf8(&added.stdout).unwrap()).await;
    }

    async fn routes(&self) -> usize {
        let client = self.up.as_ref().unwrap().client().await;
        let api: Api<GatewayRoute> = Api::namespaced(client, foregate_api::DEFAULT_TENANT_NAMESPACE);
        api.list(&ListParams::default()).await.unwrap().items.len()
    }
}

/// A workload API with two Services.
struct Workload {
    up: Foregate,
    client: Client,
    _data: tempfile::TempDir,
}

impl Workload {
    async fn start(pool: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let up = Foregate::start(data.path(), pool, &[]);
        let client = up.client().await;
        for name in ["blue", "green"] {
            apply(&client, &service(name, &[backend::start(name).await])).await;
        }
        Self { up, client, _data: data }
    }

    fn controller(&self, data: &Path) -> Foregate {
        let kubeconfig = self.up.kubeconfig();
        let kubeconfig = kubeconfig.to_str().unwrap();
        let flags = ["--source", "kubernetes", "--kubeconfig", kubeconfig, "--controller-name", NAME];
        let flags = [&flags[..], &["--lease-namespace", "default"]].concat();
        let mut controller = Foregate::launch("controller", data, &flags);
        controller.wait_ready();
        controller
    }

    async fn gateway(&self, name: &str, class: &str) -> SocketAddr {
        let yaml = gateway(name).replace("gatewayClassName: foregate", &format!("gatewayClassName: {class}"));
        apply(&self.client, &yaml).await;
        SocketAddr::new(gateway_address(&self.client, name).await, 8080)
    }

    /// Status and reason of a class's condition Accepted.
    async fn accepted(&self, class: &str) -> (String, String) {
        let api: Api<GatewayClass> = Api::all(self.client.clone());
        let class = serde_json::to_value(api.get(class).await.unwrap()).unwrap();
        condition(&class, "/status/conditions", "Accepted")
            .map(|(status, reason, _)| (status, reason))
            .unwrap_or_default()
    }

    async fn until_accepted(&self, class: &str, status: &str, reason: &str) {
        eventually(&format!("GatewayClass {class} is {status} for {reason}"), || async {
            (self.accepted(class).await == (status.to_owned(), reason.to_owned())).then_some(())
        })
        .await;
    }
}

/// A route `r` of Gateways, from `/` to a Service.
fn route(name: &str, gateways: &[&str], prefix: &str, service: &str) -> String {
    let [first, ..] = gateways else { panic!("a gateway") };
    let parents: Vec<String> = gateways.iter().map(|gateway| format!("{{name: {gateway}}}")).collect();
    let one = format!("parentRefs: [{{name: {first}}}]");
    harness::route(name, first, prefix, service).replace(&one, &format!("parentRefs: [{}]", parents.join(", ")))
}

async fn answers(address: SocketAddr, path: &str, expected: &str) {
    eventually(&format!("{address}{path} answers {expected}"), || async {
        http::get(address, "any.test", path).await.ok().filter(|r| r.status() == 200 && r.body() == expected).map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_is_away_for_a_while_misses_nothing() {
    let mut platform = Platform::start("127.165.1.0/24");
    let workload = Workload::start("127.165.2.0/24").await;
    let state = tempfile::tempdir().unwrap();
    let _controller = workload.controller(state.path());
    platform.join(&workload.client, "far").await;
    workload.until_accepted("far", "True", "Accepted").await;
    let address = workload.gateway("web", "far").await;
    apply(&workload.client, &route("old", &["web"], "/old", "blue")).await;
    answers(address, "/old", "blue").await;

    platform.away();
    workload.until_accepted("far", "Unknown", "PlatformUnreachable").await;
    let routes: Api<HTTPRoute> = Api::default_namespaced(workload.client.clone());
    routes.delete("old", &DeleteParams::default()).await.unwrap();
    apply(&workload.client, &route("new", &["web"], "/new", "green")).await;
    let gateways: Api<Gateway> = Api::default_namespaced(workload.client.clone());
    let seen = serde_json::to_value(gateways.get("web").await.unwrap()).unwrap();
    let (programmed, ..) = condition(&seen, "/status/conditions", "Programmed").unwrap();
    assert_eq!(programmed, "True", "what is there serves on");

    platform.back();
    workload.until_accepted("far", "True", "Accepted").await;
    answers(address, "/new", "green").await;
    eventually("the deleted route is gone", || async { (platform.routes().await == 1).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_platforms_end_is_nothing_to_another() {
    let (near, mut far) = (Platform::start("127.165.3.0/24"), Platform::start("127.165.4.0/24"));
    let workload = Workload::start("127.165.5.0/24").await;
    let state = tempfile::tempdir().unwrap();
    let _controller = workload.controller(state.path());
    near.join(&workload.client, "near").await;
    far.join(&workload.client, "far").await;
    let (a, b) = (workload.gateway("a", "near").await, workload.gateway("b", "far").await);
    apply(&workload.client, &route("r", &["a", "b"], "/", "blue")).await;
    answers(a, "/", "blue").await;
    answers(b, "/", "blue").await;

    far.away();
    apply(&workload.client, &route("r", &["a", "b"], "/", "green")).await;
    answers(a, "/", "green").await;
    let routes: Api<HTTPRoute> = Api::default_namespaced(workload.client.clone());
    eventually("both parents are told of this generation", || async {
        let route = routes.get("r").await.ok()?;
        let parents = serde_json::to_value(route.status?.parents).ok()?;
        let generations: Vec<i64> =
            parents.as_array()?.iter().filter_map(|p| p["conditions"][0]["observedGeneration"].as_i64()).collect();
        (generations.len() == 2 && generations.iter().all(|g| Some(*g) == route.metadata.generation)).then_some(())
    })
    .await;
    far.back();
    answers(b, "/", "green").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_replicas_another_takes_over() {
    let platform = Platform::start("127.165.6.0/24");
    let workload = Workload::start("127.165.7.0/24").await;
    platform.join(&workload.client, "far").await;
    let states = [0, 1, 2].map(|_| tempfile::tempdir().unwrap());
    let first = workload.controller(states[0].path());
    let leases: Api<Lease> = Api::default_namespaced(workload.client.clone());
    let led_by = async |controller: &Foregate| {
        let pid = format!("_{}_", controller.pid());
        eventually("it leads", || async {
            let holder = leases.get("foregate-controller").await.ok()?.spec?.holder_identity?;
            holder.contains(&pid).then_some(())
        })
        .await;
    };
    led_by(&first).await;
    let address = workload.gateway("web", "far").await;
    let second = workload.controller(states[1].path());
    apply(&workload.client, &route("r", &["web"], "/", "blue")).await;
    answers(address, "/", "blue").await;

    first.stop(Signal::KILL);
    apply(&workload.client, &route("r", &["web"], "/", "green")).await;
    answers(address, "/", "green").await;
    led_by(&second).await;

    let third = workload.controller(states[2].path());
    let holder = async || leases.get("foregate-controller").await.unwrap().spec.unwrap().holder_identity.unwrap();
    let before = holder().await;
    assert!(second.stop(Signal::TERM).success());
    assert_ne!(holder().await, before, "who ends gives the lease back before it is gone");
    led_by(&third).await;
    apply(&workload.client, &route("r", &["web"], "/", "blue")).await;
    answers(address, "/", "blue").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_outlive_the_controller_that_was_told_of_them() {
    let mut platform = Platform::start("127.165.8.0/24");
    let workload = Workload::start("127.165.9.0/24").await;
    platform.join(&workload.client, "far").await;
    let state = tempfile::tempdir().unwrap();
    let controller = workload.controller(state.path());
    workload.gateway("web", "far").await;

    platform.away();
    let gateways: Api<Gateway> = Api::default_namespaced(workload.client.clone());
    let classes: Api<GatewayClass> = Api::all(workload.client.clone());
    gateways.delete("web", &DeleteParams::default()).await.unwrap();
    classes.delete("far", &DeleteParams::default()).await.unwrap();
    controller.stop(Signal::KILL);
    let _controller = workload.controller(state.path());
    eventually("the class says what it waits for", || async {
        let class = serde_json::to_value(classes.get_opt("far").await.unwrap().expect("it stays")).unwrap();
        let (.., message) = condition(&class, "/status/conditions", "Accepted")?;
        message.contains("still to be deleted").then_some(())
    })
    .await;

    platform.back();
    eventually("the class is gone", || async { classes.get_opt("far").await.unwrap().is_none().then_some(()) }).await;
    let client = platform.up.as_ref().unwrap().client().await;
    let claims: Api<GatewayClaim> = Api::namespaced(client, foregate_api::DEFAULT_TENANT_NAMESPACE);
    assert!(claims.list(&ListParams::default()).await.unwrap().items.is_empty(), "it goes last");
}
