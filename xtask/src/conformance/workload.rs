//! The workload side: `foregate controller`, beside the cluster or in it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::process::{TaskError, output};
use crate::testbed::{self, Daemon};
use crate::{files, image};

/// Where its manifests put it, and its name there and as a log's.
const NAMESPACE: &str = "foregate-system";
const NAME: &str = "foregate-controller";
/// How long it may take until the class is accepted.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where it runs.
#[derive(Debug)]
pub enum Workload {
    /// Beside the cluster, as its administrator; nothing before it is started.
    Beside(Option<Daemon>),
    /// In the cluster, with the rights that its manifests give it.
    InCluster,
}

/// Applies manifests; the names of the objects in them.
///
/// # Errors
/// When kubectl fails.
pub fn apply(file: &Path) -> Result<String, TaskError> {
    // Whoever had an object before: what a test bed is for is this run.
    let arguments = ["apply", "--server-side", "--force-conflicts", "-o", "name", "-f"];
    output(testbed::command("kubectl")?.args(arguments).arg(file))
}

impl Workload {
    /// What must be in the cluster before `foregate cluster add` prints what goes there.
    ///
    /// # Errors
    /// When the image can't be made, or the manifests aren't taken.
    pub fn install(foregate: &Path, in_cluster: bool) -> Result<Self, TaskError> {
        let manifests =
            output(testbed::inside(&foregate.display().to_string()).args(["controller", "install", "--dry-run"]))?;
        let dir = foregate.parent().unwrap_or(foregate);
        let file = dir.join("controller.yaml");
        if in_cluster {
            let archive = dir.join("image.tar");
            println!("image {}", image::make(foregate, &archive)?);
            output(testbed::command("ctr")?.args(["images", "import"]).arg(&archive))?;
            files::remove(&archive)?;
            files::write(&file, manifests)?;
        } else {
            files::write(&file, crds_of(&manifests))?;
        }
        apply(&file)?;
        output(testbed::command("kubectl")?.args([
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "crd",
            "--all",
        ]))?;
        Ok(if in_cluster { Self::InCluster } else { Self::Beside(None) })
    }

    /// Starts it, unless the cluster does, and waits until it has taken the class.
    ///
    /// # Errors
    /// When it dies or takes too long.
    pub fn start(&mut self, foregate: &Path, class: &str) -> Result<(), TaskError> {
        // The suite reads the class's features once, at its start.
        let wanted = "jsonpath={.status.conditions[?(@.type=='Accepted')].status} {.status.supportedFeatures[0].name}";
        let status = || testbed::kubectl_says(&["get", "gatewayclass", class, "-o", wanted]);
        let accepted =
            || status().is_some_and(|text| text.strip_prefix("True ").is_some_and(|first| !first.is_empty()));
        let what = format!("GatewayClass {class} is accepted");
        match self {
            Self::Beside(daemon) => {
                println!("foregate controller beside the cluster, GatewayClass {class}");
                let mut controller = testbed::inside(&foregate.display().to_string());
                controller.args(["controller", "--source", "kubernetes", "--kubeconfig"]).arg(testbed::kubeconfig());
                let started = testbed::start_guest(NAME, controller.env("RUST_BACKTRACE", "1"))?;
                daemon.insert(started).wait(&what, accepted)
            }
            Self::InCluster => {
                println!("foregate controller in the cluster, GatewayClass {class}");
                wait_for_pods(&what, accepted)
            }
        }
    }

    /// Fails when it has ended meanwhile, if only for a moment.
    ///
    /// # Errors
    /// As said.
    pub fn check(&mut self) -> Result<(), TaskError> {
        match self {
            Self::Beside(daemon) => {
                let is_alive = daemon.as_mut().is_none_or(Daemon::is_alive);
                if is_alive { Ok(()) } else { Err(testbed::died(NAME, "ended while the suite ran")) }
            }
            Self::InCluster => {
                save_logs()?;
                let restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
                let text = pods(&["-o", restarts])?;
                let is_well = !text.is_empty() && text.split_whitespace().all(|count| count == "0");
                if is_well { Ok(()) } else { Err(testbed::died(NAME, &format!("has restarted: {text}"))) }
            }
        }
    }

    /// Ends it.
    pub fn end(self) {
        match self {
            Self::Beside(daemon) => testbed::stop(daemon.into_iter().collect()),
            Self::InCluster => {
                // What stays is removed by the next run.
                let _ = testbed::kubectl_says(&["delete", "deployment", "-n", NAMESPACE, NAME]);
            }
        }
    }
}

fn pods(arguments: &[&str]) -> Result<String, TaskError> {
    let selector = "app.kubernetes.io/component=controller";
    output(testbed::command("kubectl")?.args(["get", "pods", "-n", NAMESPACE, "-l", selector]).args(arguments))
}

/// Waits, and shows what the pods say when that takes too long.
fn wait_for_pods(what: &str, holds: impl Fn() -> bool) -> Result<(), TaskError> {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > PATIENCE {
            save_logs()?;
            println!("{}", pods(&[])?);
            return Err(testbed::died(NAME, &format!("isn't there after {} s: {what}", PATIENCE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn save_logs() -> Result<(), TaskError> {
    let selector = "app.kubernetes.io/component=controller";
    let arguments = ["logs", "-n", NAMESPACE, "-l", selector, "--prefix", "--tail=-1"];
    // A pod that hasn't started has none.
    let logs = output(testbed::command("kubectl")?.args(arguments)).unwrap_or_default();
    files::write(&testbed::state::log(NAME), logs)
}

/// Only the definitions of Foregate's own kinds.
fn crds_of(manifests: &str) -> String {
    let documents = manifests.split("---\n").filter(|text| text.contains("\nkind: CustomResourceDefinition\n"));
    documents.map(|text| format!("---\n{text}")).collect()
}
