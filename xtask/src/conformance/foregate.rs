//! Foregate's two sides as processes on the test bed.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Engine;
use crate::process::{TaskError, cargo, output, root, run};
use crate::testbed::{self, Daemon};
use crate::{files, tools};

/// The workload cluster's name on the platform, with its tenant.
const CLUSTER: &str = "default/testbed";
/// Where the tenant's objects are on the platform.
const TENANT_NAMESPACE: &str = "tenant-default";
/// The platform's API, in the test bed's network.
const API_PORT: u16 = 7443;

/// Both sides.
#[derive(Debug)]
pub struct Running {
    /// Name of the GatewayClass that they serve.
    pub class: String,
    sides: Vec<Daemon>,
}

/// The binary to test: `FOREGATE_BINARY`, else the one that cargo builds.
///
/// # Errors
/// When it can't be built.
pub fn binary() -> Result<PathBuf, TaskError> {
    if let Some(binary) = std::env::var_os("FOREGATE_BINARY") {
        return Ok(binary.into());
    }
    run(&mut cargo(&["build", "--package", "foregate", "--bin", "foregate"]))?;
    Ok(crate::process::target_dir().join("debug/foregate"))
}

impl Running {
    /// Starts the platform with a fresh store, makes the cluster known to it, and starts the controller.
    ///
    /// # Errors
    /// When a side can't be started, or dies.
    pub fn start(engine: Engine, binary: &Path) -> Result<Self, TaskError> {
        let dir = testbed::state::dir().join("conformance");
        files::remove(&dir)?;
        files::make_dir(&dir)?;
        // A copy: what is built meanwhile doesn't change what is tested.
        let own = dir.join("foregate");
        std::fs::copy(binary, &own).map_err(files::at(binary))?;
        let data = dir.join("platform");
        let mut up = testbed::inside(&own.display().to_string());
        up.arg("up").arg("--data-dir").arg(&data).arg(format!("--address-pool={}", testbed::GATEWAYS));
        up.arg(format!("--api-listen={}:{API_PORT}", testbed::NODE_ADDRESS)).env("RUST_BACKTRACE", "1");
        println!("foregate up");
        let mut sides = vec![testbed::start_guest("foregate-up", &up)?];
        let ready = |text: &str| text.starts_with("ready") || text.contains("\nready");
        sides[0].wait("it says that it is ready", || ready(&testbed::log_of("foregate-up")))?;
        let started = Self::join(engine, &own, &data, &mut sides);
        match started {
            Ok(class) => Ok(Self { class, sides }),
            Err(error) => {
                testbed::stop(sides);
                Err(error)
            }
        }
    }

    /// What comes after the platform is there; the class's name.
    fn join(engine: Engine, foregate: &Path, data: &Path, sides: &mut Vec<Daemon>) -> Result<String, TaskError> {
        if engine == Engine::Envoy {
            use_envoy(foregate, data)?;
        }
        // Its own kinds that the workload cluster has to know.
        let crd = root().join("crates/foregate-api/crds/foregate/foregate.dev_gatewayclassparameters.yaml");
        output(testbed::command("kubectl")?.args(["apply", "--server-side", "-f"]).arg(&crd))?;
        output(testbed::command("kubectl")?.args(["wait", "--for=condition=Established", "-f"]).arg(&crd))?;
        let admin = data.join("admin.kubeconfig");
        let mut add = testbed::inside(&foregate.display().to_string());
        let manifests = output(add.args(["cluster", "add", CLUSTER, "--kubeconfig"]).arg(&admin))?;
        let file = data.with_file_name("cluster.yaml");
        files::write(&file, manifests)?;
        let applied =
            output(testbed::command("kubectl")?.args(["apply", "--server-side", "-o", "name", "-f"]).arg(&file))?;
        let class = applied.lines().find_map(|name| name.strip_prefix("gatewayclass.gateway.networking.k8s.io/"));
        let class = class.ok_or_else(|| TaskError::Other(format!("no GatewayClass in {}", file.display())))?;
        println!("foregate controller, GatewayClass {class}");
        let mut controller = testbed::inside(&foregate.display().to_string());
        controller.args(["controller", "--source", "kubernetes", "--kubeconfig"]).arg(testbed::kubeconfig());
        controller.env("RUST_BACKTRACE", "1");
        sides.push(testbed::start_guest("foregate-controller", &controller)?);
        // The suite reads the class's features once, at its start.
        let wanted = "jsonpath={.status.conditions[?(@.type=='Accepted')].status} {.status.supportedFeatures[0].name}";
        let status = || testbed::kubectl_says(&["get", "gatewayclass", class, "-o", wanted]);
        let accepted =
            || status().is_some_and(|text| text.strip_prefix("True ").is_some_and(|first| !first.is_empty()));
        let what = format!("GatewayClass {class} is accepted");
        sides.last_mut().map_or(Ok(()), |controller| controller.wait(&what, accepted))?;
        Ok(class.to_owned())
    }

    /// Ends both, unless they are to be kept.
    ///
    /// # Errors
    /// When one has died meanwhile.
    pub fn end(mut self, keep: bool) -> Result<(), TaskError> {
        let dead: Vec<String> =
            self.sides.iter_mut().filter_map(|side| (!side.is_alive()).then(|| side.process.name.clone())).collect();
        if !keep {
            testbed::stop(self.sides);
        }
        match dead.first() {
            Some(name) => Err(testbed::died(name, "ended while the suite ran")),
            None => Ok(()),
        }
    }
}

/// Gateways of the tenant run on the newest Envoy from now on.
fn use_envoy(foregate: &Path, data: &Path) -> Result<(), TaskError> {
    let envoys = tools::envoys()?;
    let (envoy, name) =
        envoys.last().zip(tools::envoy_names().pop()).ok_or_else(|| TaskError::Other("no Envoy".to_owned()))?;
    println!("engine {name}");
    let hash = output(Command::new("sha256sum").arg(envoy))?;
    let hash = hash.split(' ').next().unwrap_or_default();
    let add = ["engine", "add", &name, "--sha256", hash, "--data-dir"];
    output(Command::new(foregate).args(add).arg(data).arg("--from").arg(envoy))?;
    let patch = format!(r#"{{"spec":{{"engine":"{name}"}}}}"#);
    let mut kubectl = testbed::command("kubectl")?;
    kubectl.arg("--kubeconfig").arg(data.join("admin.kubeconfig")).args(["-n", TENANT_NAMESPACE]);
    output(kubectl.args(["patch", "gatewaytemplate", "default", "--type=merge", "-p", &patch])).map(drop)
}
