//! `cargo xtask testbed`: Kubernetes with a real kubelet on this machine, from package registries only.
//!
//! Everything runs in a network namespace of its own, [`network::NAMESPACE`], so that nothing of it is seen outside,
//! and nothing in it reaches out. Containerd and the kubelet share a mount namespace, too: what they mount goes with
//! them. There is no kube-proxy and no DNS: gateways outside of the cluster dial pods' addresses.
//!
//! State is in [`state::dir`]. Processes are recorded there before they are waited for, each with its start time, so
//! that `down` ends those and no others, after a crash, too.

mod certificates;
mod control_plane;
mod guests;
mod network;
mod node;
mod objects;
mod record;
mod start;
pub mod state;
mod teardown;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use clap::{Args, Subcommand};

use crate::process::TaskError;
use crate::tools;

pub use control_plane::kubectl_says;
pub use guests::{adopt, log_of, start_guest, stop, stop_guests};
pub use network::{GATEWAYS, NODE_ADDRESS, UNUSABLE_ADDRESS, USABLE_ADDRESS, inside};
pub use start::{Daemon, died};

/// What to do with it.
#[derive(Args, Debug)]
pub struct TestbedArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Builds what is missing, starts it and waits until a pod could run. Seconds when it is up.
    Up,
    /// Ends and removes everything but the logs, after a crash, too.
    Down,
    /// Says what runs; fails when something doesn't.
    Status,
    /// Runs a command in the test bed's network, with KUBECONFIG, kubectl and ctr at hand.
    Exec {
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
}

/// Does it.
///
/// # Errors
/// When this isn't root, or a part can't be had or started.
pub fn run(args: &TestbedArgs) -> Result<(), TaskError> {
    require_root()?;
    match &args.what {
        What::Up => {
            up()?;
            println!("KUBECONFIG={}", kubeconfig().display());
            println!("try: cargo xtask testbed exec -- kubectl get pods -A");
            Ok(())
        }
        What::Down => down(),
        What::Status => status(),
        What::Exec { command } => exec(command),
    }
}

/// Refuses to go on as anybody else.
///
/// # Errors
/// When this isn't root.
pub fn require_root() -> Result<(), TaskError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(TaskError::Other("the test bed makes namespaces and mounts: run it as root".to_owned()))
}

/// Brings the test bed up, unless it is.
///
/// # Errors
/// When a part can't be had or started.
pub fn up() -> Result<(), TaskError> {
    let parts = Parts::get()?;
    let _lock = state::lock()?;
    let record = record::Record::load()?;
    if record.complete && record.dead().is_empty() {
        println!("test bed: up already");
        return Ok(());
    }
    if !record.is_empty() {
        for dead in record.dead() {
            println!("test bed: {dead} isn't running any more; its log: {}", state::log(&dead).display());
        }
        println!("test bed: what is left of an earlier one is removed, with its objects");
    }
    teardown::down()?;
    let start = Instant::now();
    bring_up(&parts)?;
    println!("test bed: up after {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Ends and removes everything but the logs.
///
/// # Errors
/// When something stays.
pub fn down() -> Result<(), TaskError> {
    let _lock = state::lock()?;
    teardown::down()
}

fn bring_up(parts: &Parts) -> Result<(), TaskError> {
    files_of_up()?;
    let mut record = record::Record::begin()?;
    network::make()?;
    certificates::make()?;
    control_plane::start(parts, &mut record)?;
    node::start(parts, &mut record)?;
    objects::install(parts)?;
    node::wait_ready(&record)?;
    record.finish()
}

/// Logs of the last one go only now, so that they can be read after a `down`.
fn files_of_up() -> Result<(), TaskError> {
    crate::files::remove(&state::logs())?;
    crate::files::make_dir(&state::logs())
}

/// Programs that it is made of.
#[derive(Debug)]
struct Parts {
    kubernetes: PathBuf,
    etcd: PathBuf,
    containerd: PathBuf,
    kubectl: PathBuf,
    gateway_api: tools::GatewayApi,
}

impl Parts {
    fn get() -> Result<Self, TaskError> {
        let plugins = std::path::Path::new(node::CNI_PLUGINS).join("bridge");
        let plugins = plugins.display().to_string();
        tools::apt_install(&[
            ("runc", "runc"),
            (&plugins, "containernetworking-plugins"),
            ("ip", "iproute2"),
            ("iptables", "iptables"),
            ("openssl", "openssl"),
            ("nsenter", "util-linux"),
        ])?;
        Ok(Self {
            kubernetes: tools::kubernetes()?,
            etcd: tools::etcd()?,
            containerd: tools::containerd()?,
            kubectl: tools::newest_kubectl()?,
            gateway_api: tools::gateway_api()?,
        })
    }
}

/// The administrator's credentials.
pub fn kubeconfig() -> PathBuf {
    certificates::kubeconfig("admin")
}

/// A command in the test bed's network whose KUBECONFIG and PATH lead to it.
///
/// # Errors
/// When kubectl can't be built.
pub fn command(program: &str) -> Result<Command, TaskError> {
    let mut command = inside(program);
    let own = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(state::bin()).chain(std::env::split_paths(&own)));
    command.env("PATH", path.map_err(|error| TaskError::Other(error.to_string()))?).env("KUBECONFIG", kubeconfig());
    // So that `ctr images import FILE` puts an image where pods find it.
    command.env("CONTAINERD_ADDRESS", node::socket()).env("CONTAINERD_NAMESPACE", node::IMAGES);
    Ok(command)
}

fn exec(arguments: &[String]) -> Result<(), TaskError> {
    let record = record::Record::load()?;
    if !record.complete {
        return Err(TaskError::Other("the test bed isn't up: cargo xtask testbed up".to_owned()));
    }
    let Some((program, arguments)) = arguments.split_first() else { return Ok(()) };
    let source = command(program)?.args(arguments).exec();
    Err(TaskError::Start { command: program.clone(), source })
}

fn status() -> Result<(), TaskError> {
    let record = record::Record::load()?;
    if record.is_empty() {
        return Err(TaskError::Other("the test bed is down: cargo xtask testbed up".to_owned()));
    }
    for process in &record.processes {
        let state = if process.is_alive() { "runs" } else { "DEAD" };
        println!("{:<26} {state}  pid {:<8} {}", process.name, process.pid, state::log(&process.name).display());
    }
    let dead = record.dead();
    if !record.complete || !dead.is_empty() {
        let what = if dead.is_empty() { "its start wasn't finished".to_owned() } else { dead.join(", ") + " died" };
        return Err(TaskError::Other(format!(
            "the test bed isn't whole, {what}: `cargo xtask testbed up` makes it anew"
        )));
    }
    println!("KUBECONFIG={}", kubeconfig().display());
    Ok(())
}
