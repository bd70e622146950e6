//! `cargo xtask bench engine`: CPU per request beside haproxy and nginx.
//!
//! Each proxy has processor 0 and one worker; the load generator and the backend share processor 1. The peers take
//! turns, round by round, so that a machine whose speed drifts slows all of them. CPU is what the scheduler charged to
//! all threads of the proxy, so that a helper thread (access log, statistics) counts as well. Foregate runs with metrics
//! and access log on and its control plane beside it, the peers without logs: the comparison is to our disadvantage.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::process::{TaskError, cargo, command, output, root, run as run_command};
use crate::tools;

/// Flags of `bench engine`.
#[derive(Args, Debug)]
pub struct EngineArgs {
    /// Rounds; in each, every proxy is measured once.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of load per measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Bytes of the response's body.
    #[arg(long, default_value_t = 1024)]
    body: usize,
    /// Connections of the load generator.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Measure this binary instead of one built from this tree.
    #[arg(long)]
    binary: Option<PathBuf>,
}

const BACKEND: &str = "127.0.0.1:19080";
const HAPROXY: &str = "127.0.0.1:19081";
const NGINX: &str = "127.0.0.1:19082";
const FOREGATE: &str = "127.100.0.1:19083";

/// A child that is ended with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A proxy under measurement.
struct Peer {
    name: &'static str,
    address: &'static str,
    process: Running,
    micros_per_request: Vec<f64>,
}

/// Measures, and prints a table.
///
/// # Errors
/// When something can't be installed or started, or a proxy answers wrongly.
pub fn run(args: &EngineArgs) -> Result<(), TaskError> {
    tools::apt_install(&[("haproxy", "haproxy"), ("nginx", "nginx-light"), ("wrk", "wrk"), ("curl", "curl")])?;
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => {
            run_command(&mut cargo(&["build", "-p", "foregate", "--profile", "dist"]))?;
            root().join("target/dist/foregate")
        }
    };
    let dir = std::env::temp_dir().join(format!("foregate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|error| TaskError::Other(format!("{}: {error}", dir.display())))?;
    let result = measure(args, &binary, &dir);
    let _ = std::fs::remove_dir_all(&dir);
    result
}

fn measure(args: &EngineArgs, binary: &Path, dir: &Path) -> Result<(), TaskError> {
    let backend = start(1, "nginx", &["-c".into(), backend_config(dir, args.body)?])?;
    wait_for(BACKEND, args.body)?;
    let peer = |name, address, process| Peer { name, address, process, micros_per_request: Vec::new() };
    let mut peers = vec![
        peer("haproxy", HAPROXY, start(0, "haproxy", &["-f".into(), haproxy_config(dir)?])?),
        peer("nginx", NGINX, start(0, "nginx", &["-c".into(), nginx_config(dir)?])?),
        peer("foregate", FOREGATE, start_foregate(binary, dir)?),
    ];
    for peer in &peers {
        wait_for(peer.address, args.body)?;
    }
    for round in 0..=args.rounds {
        for peer in &mut peers {
            let micros = one_measurement(args, peer)?;
            // Round 0 warms up.
            if round > 0 {
                peer.micros_per_request.push(micros);
            }
        }
    }
    print_table(args, &peers);
    drop(backend);
    Ok(())
}

fn one_measurement(args: &EngineArgs, peer: &Peer) -> Result<f64, TaskError> {
    let before = cpu_nanos(peer.process.0.id());
    let connections = args.connections.to_string();
    let duration = format!("{}s", args.seconds);
    let url = format!("http://{}/", peer.address);
    let report =
        output(&mut command("taskset", &["-c", "1", "wrk", "-t1", "-c", &connections, "-d", &duration, &url]))?;
    let nanos = cpu_nanos(peer.process.0.id()) - before;
    if report.contains("Non-2xx") || report.contains("Socket errors") {
        return Err(TaskError::Other(format!("{} answered wrongly under load:\n{report}", peer.name)));
    }
    let requests = report
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<f64>().ok())
        .ok_or_else(|| TaskError::Other(format!("wrk's report has no count of requests:\n{report}")))?;
    Ok(nanos as f64 / 1000.0 / requests)
}

/// Nanoseconds of processor time of all threads of a process and of its children.
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

fn print_table(args: &EngineArgs, peers: &[Peer]) {
    println!(
        "\nHTTP/1.1, {} B, {} connections, {} rounds of {} s: CPU µs per request, and the ratio to haproxy of the same round",
        args.body, args.connections, args.rounds, args.seconds
    );
    println!("{:<10} {:>8} {:>8} {:>8}   {:>7} {:>7} {:>7}", "", "min", "median", "max", "min", "median", "max");
    let base = &peers[0].micros_per_request;
    for peer in peers {
        let ratios = peer.micros_per_request.iter().zip(base).map(|(own, base)| own / base).collect::<Vec<_>>();
        let (micros, ratios) = (spread(&peer.micros_per_request), spread(&ratios));
        println!(
            "{:<10} {:>8.1} {:>8.1} {:>8.1}   {:>6.2}x {:>6.2}x {:>6.2}x",
            peer.name, micros[0], micros[1], micros[2], ratios[0], ratios[1], ratios[2]
        );
    }
}

/// Least, median and greatest.
fn spread(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    [at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1))]
}

fn start(cpu: u8, program: &str, args: &[String]) -> Result<Running, TaskError> {
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu.to_string(), program]).args(args).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(Running).map_err(|source| TaskError::Start { command: program.to_owned(), source })
}

fn start_foregate(binary: &Path, dir: &Path) -> Result<Running, TaskError> {
    let data = dir.join("data").display().to_string();
    let log = dir.join("access.log").display().to_string();
    let flags = ["up", "--data-dir", &data, "--api-listen", "127.0.0.1:0", "--workers", "1", "--access-log", &log];
    let foregate = start(0, &binary.display().to_string(), &flags.map(String::from))?;
    let kubeconfig = dir.join("data/admin.kubeconfig");
    let deadline = Instant::now() + Duration::from_secs(20);
    let kubectl = tools::kubectls()?.pop().unwrap_or_else(|| PathBuf::from("kubectl"));
    let manifest = write(dir, "foregate.yaml", &foregate_manifest())?;
    loop {
        let mut apply = Command::new(&kubectl);
        apply.arg("--kubeconfig").arg(&kubeconfig).args(["apply", "-f", &manifest]);
        match output(&mut apply) {
            Ok(_) => return Ok(foregate),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// Waits until a proxy answers with a body of the right length.
fn wait_for(address: &str, body: usize) -> Result<(), TaskError> {
    let url = format!("http://{address}/");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let got = Command::new("curl").args(["-s", "-m", "2", "-f", &url]).output();
        if got.is_ok_and(|got| got.status.success() && got.stdout.len() == body) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(TaskError::Other(format!("{url} doesn't answer with {body} bytes")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<String, TaskError> {
    let path = dir.join(name);
    std::fs::write(&path, text).map_err(|error| TaskError::Other(format!("{}: {error}", path.display())))?;
    Ok(path.display().to_string())
}

fn backend_config(dir: &Path, body: usize) -> Result<String, TaskError> {
    std::fs::write(dir.join("index.html"), "x".repeat(body))
        .map_err(|error| TaskError::Other(format!("{}: {error}", dir.display())))?;
    let (pid, root) = (dir.join("backend.pid"), dir.display());
    let text = format!(
        "daemon off; master_process off; pid {}; error_log stderr;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; open_file_cache max=10; sendfile on; tcp_nopush on;\n\
         server {{ listen {BACKEND}; root {root}; }} }}\n",
        pid.display()
    );
    write(dir, "backend.conf", &text)
}

fn nginx_config(dir: &Path) -> Result<String, TaskError> {
    let pid = dir.join("nginx.pid");
    let text = format!(
        "daemon off; master_process off; pid {}; error_log stderr;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000;\n\
         upstream backend {{ server {BACKEND}; keepalive 128; keepalive_requests 100000000; }}\n\
         server {{ listen {NGINX}; location / {{ proxy_pass http://backend; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}\n",
        pid.display()
    );
    write(dir, "nginx.conf", &text)
}

fn haproxy_config(dir: &Path) -> Result<String, TaskError> {
    let text = format!(
        "global\n  nbthread 1\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n  \
         option forwardfor\n  http-reuse always\n\
         frontend front\n  bind {HAPROXY}\n  default_backend back\n\
         backend back\n  server one {BACKEND}\n"
    );
    write(dir, "haproxy.cfg", &text)
}

fn foregate_manifest() -> String {
    let (ip, port) = BACKEND.split_once(':').unwrap_or_default();
    let (_, listen) = FOREGATE.split_once(':').unwrap_or_default();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: backend, namespace: default}}\nspec:\n  ports: [{{name: http, port: 80}}]\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: backend-1, namespace: default, labels: {{kubernetes.io/service-name: backend}}}}\n\
         addressType: IPv4\nports: [{{name: http, port: {port}, protocol: TCP}}]\nendpoints: [{{addresses: [{ip}]}}]\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: bench, namespace: default}}\nspec:\n  gatewayClassName: foregate\n  \
         listeners: [{{name: http, port: {listen}, protocol: HTTP}}]\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: bench, namespace: default}}\nspec:\n  parentRefs: [{{name: bench}}]\n  \
         rules: [{{backendRefs: [{{name: backend, port: 80}}]}}]\n"
    )
}
