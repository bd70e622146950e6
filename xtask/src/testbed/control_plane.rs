//! etcd, the API server, its controllers and the scheduler.

use std::process::Command;

use super::certificates::{file, kubeconfig};
use super::network::{API_PORT, NODE_ADDRESS, PODS, SERVICES, inside};
use super::record::Record;
use super::start::Daemon;
use super::{Parts, command, state};
use crate::files;
use crate::process::{TaskError, output};

const ETCD: &str = "http://127.0.0.1:2379";

/// Starts all of them, and waits for the API server alone.
///
/// # Errors
/// When one can't be started, or dies.
pub fn start(parts: &Parts, record: &mut Record) -> Result<(), TaskError> {
    println!("test bed: etcd, kube-apiserver, kube-controller-manager, kube-scheduler");
    link_programs(parts)?;
    let mut etcd = Daemon::start("etcd", &etcd(parts))?;
    record.add(etcd.process.clone())?;
    let mut server = Daemon::start("kube-apiserver", &api_server(parts))?;
    record.add(server.process.clone())?;
    server.wait("its API is ready", || kubectl_says(&["get", "--raw", "/readyz"]).is_some_and(|text| text == "ok"))?;
    if !etcd.is_alive() {
        return Err(super::start::died("etcd", "ended"));
    }
    for (name, program) in
        [("kube-controller-manager", controller_manager(parts)), ("kube-scheduler", scheduler(parts))]
    {
        record.add(Daemon::start(name, &program)?.process)?;
    }
    Ok(())
}

/// What kubectl prints, when it succeeds.
pub fn kubectl_says(arguments: &[&str]) -> Option<String> {
    let output = command("kubectl").ok()?.args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs kubectl.
///
/// # Errors
/// When it fails; what it says is shown.
pub fn kubectl(arguments: &[&str]) -> Result<String, TaskError> {
    output(command("kubectl")?.args(arguments))
}

/// kubectl and ctr, at hand for `exec`.
fn link_programs(parts: &Parts) -> Result<(), TaskError> {
    let bin = state::bin();
    files::make_dir(&bin)?;
    for (name, program) in [("kubectl", &parts.kubectl), ("ctr", &parts.containerd.join("ctr"))] {
        let link = bin.join(name);
        files::remove(&link)?;
        std::os::unix::fs::symlink(program, &link).map_err(files::at(&link))?;
    }
    Ok(())
}

fn etcd(parts: &Parts) -> Command {
    let mut etcd = inside(&parts.etcd.display().to_string());
    etcd.arg("--data-dir").arg(state::dir().join("etcd"));
    // What is in it is gone with the test bed anyway.
    etcd.args(["--unsafe-no-fsync", "--log-level=warn"]);
    let peer = "http://127.0.0.1:2380";
    etcd.arg(format!("--listen-client-urls={ETCD}")).arg(format!("--advertise-client-urls={ETCD}"));
    etcd.arg(format!("--listen-peer-urls={peer}")).arg(format!("--initial-advertise-peer-urls={peer}"));
    etcd.arg(format!("--initial-cluster=default={peer}"));
    etcd
}

fn api_server(parts: &Parts) -> Command {
    let mut server = inside(&parts.kubernetes.join("kube-apiserver").display().to_string());
    for (flag, value) in [
        ("etcd-servers", ETCD.to_owned()),
        ("bind-address", NODE_ADDRESS.to_owned()),
        ("advertise-address", NODE_ADDRESS.to_owned()),
        ("secure-port", API_PORT.to_owned()),
        ("tls-cert-file", file("apiserver.crt")),
        ("tls-private-key-file", file("apiserver.key")),
        ("client-ca-file", file("ca.crt")),
        ("service-account-key-file", file("service-accounts.key")),
        ("service-account-signing-key-file", file("service-accounts.key")),
        ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
        ("service-cluster-ip-range", SERVICES.to_owned()),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("allow-privileged", "true".to_owned()),
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        ("kubelet-client-certificate", file("apiserver-kubelet-client.crt")),
        ("kubelet-client-key", file("apiserver-kubelet-client.key")),
        ("kubelet-certificate-authority", file("ca.crt")),
    ] {
        server.arg(format!("--{flag}={value}"));
    }
    server
}

fn controller_manager(parts: &Parts) -> Command {
    let mut manager = dials(parts, "kube-controller-manager");
    for (flag, value) in [
        ("cluster-cidr", PODS.to_owned()),
        ("service-account-private-key-file", file("service-accounts.key")),
        ("root-ca-file", file("ca.crt")),
        ("use-service-account-credentials", "true".to_owned()),
        // Its own limits are for large clusters' API servers.
        ("kube-api-qps", "300".to_owned()),
        ("kube-api-burst", "500".to_owned()),
    ] {
        manager.arg(format!("--{flag}={value}"));
    }
    manager
}

fn scheduler(parts: &Parts) -> Command {
    let mut scheduler = dials(parts, "kube-scheduler");
    scheduler.args(["--kube-api-qps=300", "--kube-api-burst=500"]);
    scheduler
}

/// A client of the API server that is alone, with no port that others reach.
fn dials(parts: &Parts, name: &str) -> Command {
    let mut program = inside(&parts.kubernetes.join(name).display().to_string());
    program.arg(format!("--kubeconfig={}", kubeconfig(name).display()));
    program.args(["--leader-elect=false", "--bind-address=127.0.0.1"]);
    program
}
