//! Foregate's two sides as processes on the test bed.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Engine;
use super::workload::{self, Workload};
use crate::process::{TaskError, cargo, output, run};
use crate::testbed::{self, Daemon};
use crate::{files, tools};

/// The workload cluster's name on the platform, with its tenant.
const CLUSTER: &str = "default/testbed";
/// Where the tenant's objects are on the platform.
const TENANT_NAMESPACE: &str = "tenant-default";
/// What the platform writes its administrator's credentials to, in its data directory.
const ADMIN: &str = "admin.kubeconfig";
/// The platform's API, in the test bed's network.
const API_PORT: u16 = 7443;

/// Both sides.
#[derive(Debug)]
pub struct Running {
    /// Name of the GatewayClass that they serve.
    pub class: String,
    platform: Daemon,
    workload: Workload,
    /// The platform's administrator.
    admin: PathBuf,
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
    pub fn start(engine: Engine, binary: &Path, in_cluster: bool) -> Result<Self, TaskError> {
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
        let mut platform = testbed::start_guest("foregate-up", &up)?;
        let ready = |text: &str| text.starts_with("ready") || text.contains("\nready");
        platform.wait("it says that it is ready", || ready(&testbed::log_of("foregate-up")))?;
        match Self::join(engine, &own, &data, in_cluster) {
            Ok((class, workload)) => Ok(Self { class, platform, workload, admin: data.join(ADMIN) }),
            Err(error) => {
                testbed::stop(vec![platform]);
                Err(error)
            }
        }
    }

    /// What comes after the platform is there: the class's name, and the workload side.
    fn join(engine: Engine, foregate: &Path, data: &Path, in_cluster: bool) -> Result<(String, Workload), TaskError> {
        if engine == Engine::Envoy {
            use_envoy(foregate, data)?;
        }
        let mut workload = Workload::install(foregate, in_cluster)?;
        let mut add = testbed::inside(&foregate.display().to_string());
        let manifests = output(add.args(["cluster", "add", CLUSTER, "--kubeconfig"]).arg(data.join(ADMIN)))?;
        let file = data.with_file_name("cluster.yaml");
        files::write(&file, manifests)?;
        let applied = workload::apply(&file)?;
        let class = applied.lines().find_map(|name| name.strip_prefix("gatewayclass.gateway.networking.k8s.io/"));
        let class = class.ok_or_else(|| TaskError::Other(format!("no GatewayClass in {}", file.display())))?;
        workload.start(foregate, class)?;
        Ok((class.to_owned(), workload))
    }

    /// The engines that gateways' instances run on now, by name.
    ///
    /// # Errors
    /// When the platform doesn't answer.
    pub fn engines(&self) -> Result<Vec<String>, TaskError> {
        let mut kubectl = testbed::command("kubectl")?;
        kubectl.arg("--kubeconfig").arg(&self.admin).args(["get", "gatewayinstances", "-A", "-o"]);
        let text = output(kubectl.arg("jsonpath={.items[*].status.engine.name}"))?;
        let mut engines: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        engines.sort_unstable();
        engines.dedup();
        Ok(engines)
    }

    /// Ends both, unless they are to be kept.
    ///
    /// # Errors
    /// When one has died meanwhile.
    pub fn end(mut self, keep: bool) -> Result<(), TaskError> {
        let platform = if self.platform.is_alive() {
            Ok(())
        } else {
            Err(testbed::died("foregate-up", "ended while the suite ran"))
        };
        let workload = self.workload.check();
        if !keep {
            self.workload.end();
            testbed::stop(vec![self.platform]);
        }
        platform.and(workload)
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
    kubectl.arg("--kubeconfig").arg(data.join(ADMIN)).args(["-n", TENANT_NAMESPACE]);
    output(kubectl.args(["patch", "gatewaytemplate", "default", "--type=merge", "-p", &patch])).map(drop)
}
