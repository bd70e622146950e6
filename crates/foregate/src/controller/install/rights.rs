//! The controller works with exactly the rights that are installed with it: it is refused nothing, and uses all.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use foregate_apiserver::{Caller, Decision, Server, ServerOptions};
use foregate_controller::leader::Candidate;
use foregate_controller::{Controller, DefaultTarget, Gate, Settings};
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{SetOnce, watch};
use tokio_util::sync::CancellationToken;

use super::far::Far;
use super::{CREDENTIAL, InstallArgs, apply, manifests, rules};

pub const NAMESPACE: &str = "foregate-system";
pub const USER: &str = "system:serviceaccount:foregate-system:foregate-controller";
const PATIENCE: Duration = Duration::from_secs(60);
/// Read only where the API has them, and the embedded one hasn't.
const NOT_SERVED: [&str; 2] = ["pods", "clustertrustbundles"];

/// A right: verb, group, resource.
type Right = (String, String, String);

pub fn server(namespace: &str) -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = ServerOptions::new(dir.path());
    options.namespaces.push(namespace.to_owned());
    (Server::open(options).unwrap(), dir)
}

/// All that the rules grant.
fn granted() -> BTreeSet<Right> {
    let texts = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
    let mut rights = BTreeSet::new();
    for rule in rules::everywhere().iter().chain(&rules::own(&[CREDENTIAL.to_owned()])) {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                rights.extend(texts(&rule["verbs"]).into_iter().map(|verb| (verb, group.clone(), resource.clone())));
            }
        }
    }
    rights.retain(|(_, _, resource)| !NOT_SERVED.contains(&resource.as_str()));
    rights
}

/// What the controller was allowed and what it was refused.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<BTreeSet<Decision>>>);

impl Log {
    fn note(&self, decision: Decision) {
        if decision.user == USER {
            self.0.lock().insert(decision);
        }
    }

    fn refused(&self) -> Vec<Decision> {
        self.0.lock().iter().filter(|decision| !decision.allowed).cloned().collect()
    }

    fn unused(&self) -> Vec<Right> {
        let used: BTreeSet<Right> =
            self.0.lock().iter().map(|it| (it.verb.clone(), it.group.clone(), it.resource.clone())).collect();
        granted().difference(&used).cloned().collect()
    }
}

/// Installs what the embedded API has a kind for.
pub async fn install(admin: &Client, credential: &str) {
    let args = InstallArgs {
        dry_run: false,
        namespace: NAMESPACE.to_owned(),
        image: String::new(),
        replicas: 2,
        credentials: vec![credential.to_owned()],
        kubeconfig: None,
    };
    for manifest in manifests(&args) {
        if !matches!(manifest["kind"].as_str(), Some("Deployment" | "PodDisruptionBudget")) {
            apply(admin, manifest).await.unwrap();
        }
    }
}

/// Runs a controller, which is elected, until it is dropped.
pub fn run(workload: Client, platform: Client) -> tokio_util::sync::DropGuard {
    let (stop, leads) = (CancellationToken::new(), watch::Sender::new(false));
    let controller = Controller {
        workload: workload.clone(),
        platform: Some(platform),
        settings: Settings {
            default_target: Some(DefaultTarget::remote("edge".to_owned())),
            host_local_backends: false,
            ..Settings::local()
        },
        gate: Gate::of(leads.subscribe()),
        caught_up: Arc::new(SetOnce::new()),
    };
    tokio::spawn(foregate_controller::run(controller, stop.clone()));
    let candidate = Candidate::new(workload, NAMESPACE, super::NAME, "me");
    tokio::spawn(candidate.run(leads, stop.clone()));
    stop.drop_guard()
}

pub async fn until<T>(what: impl AsyncFn() -> Result<(), T>) -> Result<(), T> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match what().await {
            Ok(()) => return Ok(()),
            Err(_) if tokio::time::Instant::now() < end => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(left) => return Err(left),
        }
    }
}

#[tokio::test]
async fn the_installed_rights_are_needed_and_enough() {
    let (workload, _workload_dir) = server(NAMESPACE);
    let (platform, _platform_dir) = server(foregate_api::DEFAULT_TENANT_NAMESPACE);
    let admin = workload.client();
    for client in [admin.clone(), platform.client()] {
        crate::up::seed::kinds(&client).await.unwrap();
    }
    install(&admin, CREDENTIAL).await;
    let far = Far::start().await;
    far.join(&admin).await;
    let log = Log::default();
    let listener = log.clone();
    workload.on_decision(move |decision| listener.note(decision));
    let account = workload.client_as(Caller::new(USER, vec!["system:serviceaccounts".to_owned()]));
    let _running = run(account, platform.client());
    for object in serde_saphyr::from_multiple::<Value>(include_str!("rights.yaml")).unwrap() {
        apply(&admin, object).await.unwrap();
    }
    // A Service that stands for a Gateway is made, and goes when the Gateway wants none any more.
    let services: Api<Service> = Api::namespaced(admin.clone(), "default");
    let standing = ListParams::default().labels("gateway.networking.k8s.io/gateway-name=all");
    let count = async |wanted: usize| {
        let found = services.list(&standing).await.unwrap().items.len();
        if found == wanted { Ok(()) } else { Err(found) }
    };
    until(async || count(1).await).await.expect("a Service for the Gateway");
    let plain = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "name": "all", "namespace": "default" },
        "spec": { "gatewayClassName": "foregate", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] } });
    apply(&admin, plain).await.unwrap();
    until(async || count(0).await).await.expect("no Service for the Gateway");
    let unused = until(async || {
        let unused = log.unused();
        if unused.is_empty() { Ok(()) } else { Err(unused) }
    });
    assert_eq!(unused.await, Ok(()), "granted, and used for nothing");
    // A class that is let go of is left by the controller, too.
    let gateways: Api<foregate_api::gateway::Gateway> = Api::namespaced(admin.clone(), "default");
    gateways.delete("all", &DeleteParams::default()).await.unwrap();
    let classes: Api<foregate_api::gateway::GatewayClass> = Api::all(admin.clone());
    classes.delete("foregate", &DeleteParams::default()).await.unwrap();
    until(async || if classes.get_opt("foregate").await.unwrap().is_none() { Ok(()) } else { Err(()) })
        .await
        .expect("the finalizer goes");
    assert_eq!(log.refused(), [], "needed, and not granted");
}
