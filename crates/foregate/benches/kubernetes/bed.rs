//! The gateway side and the controllers, as processes.

use std::path::PathBuf;
use std::process::Command;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::process::Signal;

use crate::harness::{self, Foregate};
use crate::split::reachable;

/// Addresses that are local to the test bed's network namespace.
pub const POOL: &str = "192.168.78.0/24";

/// What the gateway side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `foregate up`: engines, too.
    Up,
    /// `foregate platform`, for nodes elsewhere.
    Platform,
}

/// A running platform with its controllers.
pub struct Bed {
    dir: tempfile::TempDir,
    role: Role,
    ports: [u16; 2],
    /// The gateway side: API, platform and engines. None while it is dead.
    pub up: Option<Foregate>,
    /// None: one that is dead.
    pub controllers: Vec<Option<Foregate>>,
    /// The cluster.
    pub workload: Client,
}

impl Bed {
    /// Starts everything, with so many controllers.
    pub async fn start(controllers: usize) -> Self {
        let mut bed = Self::begin(Role::Up).await;
        bed.complete(controllers).await;
        bed
    }

    /// Starts the gateway side alone.
    pub async fn begin(role: Role) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = PathBuf::from(std::env::var_os("KUBECONFIG").expect("KUBECONFIG: `cargo xtask testbed exec`"));
        let config = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        let workload = Client::try_from(config).unwrap();
        let ports = [harness::free_port(), harness::free_port()];
        let mut bed = Self { dir, role, ports, up: None, controllers: vec![], workload };
        bed.start_up();
        bed
    }

    /// Makes the cluster known, and starts its controllers.
    pub async fn complete(&mut self, controllers: usize) {
        self.join_the_cluster().await;
        for index in 0..controllers {
            let controller = self.controller(index);
            self.controllers.push(Some(controller));
        }
    }

    /// Data of the gateway side.
    pub fn up_dir(&self) -> PathBuf {
        self.dir.path().join("up")
    }

    /// A client of the gateway side's administrator.
    pub async fn platform(&self) -> Client {
        self.up.as_ref().unwrap().client().await
    }

    /// Starts the gateway side, or starts it again.
    pub fn start_up(&mut self) {
        let dir = self.up_dir();
        if self.role == Role::Platform {
            let [api, xds] = self.ports.map(reachable);
            let flags = ["--api-listen", &api, "--xds-listen", &xds, "--address-pool", POOL];
            let mut platform = Foregate::launch("platform", &dir, &flags);
            platform.wait_ready();
            self.up = Some(platform);
            return;
        }
        let mut flags = vec![];
        let api;
        if let Ok(text) = std::fs::read_to_string(dir.join("admin.kubeconfig")) {
            // Whoever has its address must find it again.
            let line = text.lines().find_map(|line| line.trim().strip_prefix("server: https://")).unwrap();
            api = line.to_owned();
            flags.extend(["--api-listen", &api]);
        }
        self.up = Some(Foregate::start(&dir, POOL, &flags));
    }

    /// Applies what `foregate cluster add` prints.
    async fn join_the_cluster(&self) {
        let crd = foregate_api::crds::own().unwrap().into_iter();
        let crd = crd.filter(|crd| crd.spec.names.kind == "GatewayClassParameters");
        for crd in crd {
            harness::try_apply(&self.workload, serde_json::to_value(crd).unwrap()).await.unwrap();
        }
        harness::eventually("the kind is served", || async {
            let kind = kube::core::GroupVersionKind::gvk("foregate.dev", "v1alpha1", "GatewayClassParameters");
            kube::discovery::pinned_kind(&self.workload, &kind).await.ok()
        })
        .await;
        let admin = self.up.as_ref().unwrap().kubeconfig();
        let mut add = Command::new(harness::binary());
        add.args(["cluster", "add", "default/bed", "--kubeconfig"]).arg(admin);
        let output = add.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        harness::apply(&self.workload, &String::from_utf8(output.stdout).unwrap()).await;
    }

    /// A controller, on the cluster that `KUBECONFIG` names.
    pub fn controller(&self, index: usize) -> Foregate {
        let dir = self.dir.path().join(format!("controller-{index}"));
        Foregate::launch("controller", &dir, &["--source", "kubernetes"])
    }

    /// Ids of what is alive.
    pub fn pids(&self) -> Vec<u32> {
        self.controllers.iter().flatten().chain(&self.up).map(Foregate::pid).collect()
    }

    /// Kills the gateway side.
    pub fn kill_up(&mut self) {
        self.up.take().unwrap().stop(Signal::KILL);
    }
}
