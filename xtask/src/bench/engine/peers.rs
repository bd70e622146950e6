//! The proxies under measurement, and the backend.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::configs;
use crate::process::{TaskError, output};
use crate::tools;

/// Where a proxy listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// HTTP/1.1.
    pub plain: u16,
    /// HTTP/2 without TLS.
    pub h2c: u16,
    /// TLS.
    pub tls: u16,
    /// gRPC without TLS.
    pub grpc: u16,
}

impl Ports {
    const fn from(base: u16) -> Self {
        Self { plain: base, h2c: base + 1, tls: base + 2, grpc: base + 3 }
    }
}

/// A child that is ended with its owner.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A proxy under measurement.
pub struct Peer {
    pub name: &'static str,
    pub ip: &'static str,
    pub ports: Ports,
    process: Running,
}

impl Peer {
    /// Nanoseconds of processor time of all its threads and of its children.
    pub fn cpu_nanos(&self) -> u64 {
        cpu_nanos(self.process.0.id())
    }
}

fn cpu_nanos(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut nanos = 0;
    for task in tasks {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanos += stat.split(' ').next().and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        nanos += children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(cpu_nanos).sum::<u64>();
    }
    nanos
}

fn spawn(cpu: u8, program: &Path, args: &[String]) -> Result<Running, TaskError> {
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu.to_string()]).arg(program).args(args).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(Running).map_err(|source| TaskError::Start { command: program.display().to_string(), source })
}

/// The backend: nginx, HTTP/1.1 on one port, gRPC on another.
///
/// # Errors
/// When it can't be started.
pub fn backend(dir: &Path) -> Result<Running, TaskError> {
    spawn(1, Path::new("nginx"), &["-c".into(), configs::backend(dir)?])
}

/// Starts the peers that are asked for; none: all.
///
/// # Errors
/// When one can't be started.
pub fn start(only: &[String], dir: &Path) -> Result<Vec<Peer>, TaskError> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let ip = "127.0.0.1";
    let mut peers = Vec::new();
    if wanted("haproxy") {
        let ports = Ports::from(19100);
        let process = spawn(0, Path::new("haproxy"), &["-f".into(), configs::haproxy(dir, ports)?])?;
        peers.push(Peer { name: "haproxy", ip, ports, process });
    }
    if wanted("nginx") {
        let ports = Ports::from(19200);
        let process = spawn(0, Path::new("nginx"), &["-c".into(), configs::nginx(dir, ports)?])?;
        peers.push(Peer { name: "nginx", ip, ports, process });
    }
    if wanted("envoy") {
        let ports = Ports::from(19300);
        let binary = tools::envoys()?.pop().unwrap_or_else(|| PathBuf::from("envoy"));
        let flags = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "off", "-c"];
        let mut flags: Vec<String> = flags.map(String::from).into();
        flags.push(configs::envoy(dir, ports)?);
        peers.push(Peer { name: "envoy", ip, ports, process: spawn(0, &binary, &flags)? });
    }
    Ok(peers)
}

/// Foregate, with its gateway applied.
///
/// # Errors
/// When it can't be started, or doesn't take its objects.
pub fn foregate(binary: &Path, dir: &Path) -> Result<Peer, TaskError> {
    let data = dir.join("data").display().to_string();
    let log = dir.join("access.log").display().to_string();
    let flags = ["up", "--data-dir", &data, "--api-listen", "127.0.0.1:0", "--workers", "1", "--access-log", &log];
    let process = spawn(0, binary, &flags.map(String::from))?;
    // HTTP/1.1 and HTTP/2 come on one port.
    let ports = Ports { h2c: 19400, ..Ports::from(19400) };
    let kubeconfig = dir.join("data/admin.kubeconfig");
    let deadline = Instant::now() + Duration::from_secs(20);
    let kubectl = tools::kubectls()?.pop().unwrap_or_else(|| PathBuf::from("kubectl"));
    let manifest = configs::foregate(dir, ports)?;
    while !kubeconfig.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    loop {
        let mut apply = Command::new(&kubectl);
        apply.arg("--kubeconfig").arg(&kubeconfig).args(["apply", "-f", &manifest]);
        match output(&mut apply) {
            Ok(_) => return Ok(Peer { name: "foregate", ip: "127.100.0.1", ports, process }),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
