//! A platform with two nodes, each on a host of its own, and gateways of two instances.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use foregate_api::{DEFAULT_NAME, DEFAULT_TENANT_NAMESPACE, GatewayTemplate};
use kube::Api;
use kube::api::{Patch, PatchParams};
use rustix::process::Signal;
use serde_json::json;

use crate::bed::{Bed, Role};
use crate::harness::{self, Foregate, envoy};
use crate::network::Far;
use crate::scene::{SETTLED, Scene};
use crate::ways::{BOTH, Way, Ways};

/// A scene on two nodes.
pub struct Split {
    pub scene: Scene,
    pub ways: Ways,
    nodes: Vec<Node>,
}

struct Node {
    way: Way,
    dir: envoy::DataDir,
    credential: PathBuf,
    process: Option<Foregate>,
}

impl Split {
    /// Starts everything, with so many controllers, and gateways on this engine.
    pub async fn set(controllers: usize, engine: &str) -> Self {
        let far = Arc::new(Far::make());
        let mut bed = Bed::begin(Role::Platform).await;
        let template: Api<GatewayTemplate> = Api::namespaced(bed.platform().await, DEFAULT_TENANT_NAMESPACE);
        let patch = Patch::Merge(json!({"spec": {"engine": engine, "replicas": 2}}));
        template.patch(DEFAULT_NAME, &PatchParams::default(), &patch).await.unwrap();
        let mut nodes: Vec<Node> = BOTH.into_iter().map(|way| Node::add(way, &bed)).collect();
        nodes.iter_mut().for_each(|node| node.start(&far));
        bed.complete(controllers).await;
        let scene = Scene::on(bed).await;
        let ways = Ways { address: scene.address, far };
        ways.until_both_serve("web").await;
        // What a killed node starts with is on its disk about a second after it serves.
        tokio::time::sleep(SETTLED).await;
        Self { scene, ways, nodes }
    }

    /// Kills the agent of a node; the built-in engine is the same process.
    pub fn kill_node(&mut self, way: Way) {
        self.node(way).process.take().unwrap().stop(Signal::KILL);
    }

    /// Starts it again.
    pub fn start_node(&mut self, way: Way) {
        let far = self.ways.far.clone();
        self.node(way).start(&far);
    }

    /// Kills a node's Envoys.
    pub fn kill_engines(&mut self, way: Way) {
        let processes = envoy::processes(self.node(way).dir.path());
        let pids = processes.iter().map(|record| u32::try_from(record["pid"].as_u64().unwrap()).unwrap());
        let alive: Vec<u32> = pids.filter(|&pid| envoy::lives(pid)).collect();
        assert!(!alive.is_empty(), "{way:?}: no engine runs");
        alive.into_iter().for_each(|pid| envoy::signal(pid, Signal::KILL));
    }

    fn node(&mut self, way: Way) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.way == way).unwrap()
    }
}

impl Node {
    fn add(way: Way, bed: &Bed) -> Self {
        let (dir, name) = (envoy::DataDir::new(), format!("{way:?}").to_lowercase());
        envoy::install_all(dir.path());
        let credential = dir.path().join("credential.yaml");
        let mut add = Command::new(harness::binary());
        add.args(["node", "add", &name, "--data-dir"]).arg(bed.up_dir()).arg("--output").arg(&credential);
        let added = add.output().unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        Self { way, dir, credential, process: None }
    }

    fn start(&mut self, far: &Far) {
        let launch = || launch(self.dir.path(), &self.credential);
        self.process = Some(match self.way {
            Way::Near => launch(),
            Way::Far => far.run(launch),
        });
    }
}

fn launch(dir: &Path, credential: &Path) -> Foregate {
    Foregate::launch("node", dir, &["--workers", "1", "--credential", credential.to_str().unwrap()])
}

/// Where a platform listens that another host must reach: not a port that others of this network may be given.
pub fn reachable(port: u16) -> String {
    SocketAddr::new([192, 168, 77, 1].into(), port).to_string()
}
