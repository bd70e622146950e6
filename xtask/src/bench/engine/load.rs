//! The load generators.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::cases::{Case, Generator};
use super::peers::Peer;
use crate::process::{TaskError, command, output};

/// An empty message of gRPC: not compressed, no bytes.
pub const MESSAGE: [u8; 5] = [0; 5];

fn url(case: &Case, peer: &Peer) -> String {
    let ports = &peer.ports;
    let port = match case.generator {
        Generator::Grpc => ports.grpc,
        _ if case.tls => ports.tls,
        Generator::H2load => ports.h2c,
        Generator::Wrk => ports.plain,
    };
    let scheme = if case.tls { "https" } else { "http" };
    format!("{scheme}://{}:{port}{}", peer.ip, case.path)
}

/// Loads a proxy for so many seconds; returns how many requests were answered.
///
/// # Errors
/// When the generator fails or some answers are wrong.
pub fn run(case: &Case, peer: &Peer, seconds: u32, dir: &Path) -> Result<f64, TaskError> {
    let url = url(case, peer);
    let connections = case.connections.to_string();
    let mut load = match case.generator {
        Generator::Wrk => {
            let duration = format!("{seconds}s");
            command("taskset", &["-c", "1", "wrk", "-t1", "-c", &connections, "-d", &duration, &url])
        }
        Generator::H2load | Generator::Grpc => {
            let (streams, duration) = (case.streams.to_string(), seconds.to_string());
            let mut load = command("taskset", &["-c", "1", "h2load", "-t1", "-c", &connections, "-m", &streams]);
            load.args(["-D", &duration]);
            if case.generator == Generator::Grpc {
                load.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"])
                    .arg(dir.join("message"));
            }
            load.arg(&url);
            load
        }
    };
    let report = output(&mut load)?;
    let wrong = |what: &str| TaskError::Other(format!("{} {what} under load:\n{report}", peer.name));
    match case.generator {
        Generator::Wrk if report.contains("Non-2xx") || report.contains("Socket errors") => {
            Err(wrong("answered wrongly"))
        }
        Generator::Wrk => report
            .lines()
            .find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<f64>().ok())
            .ok_or_else(|| wrong("was counted by a wrk whose report isn't understood")),
        Generator::H2load | Generator::Grpc => {
            let good =
                statuses(&report).ok_or_else(|| wrong("was counted by an h2load whose report isn't understood"))?;
            if good[1..].iter().any(|count| *count > 0.0) { Err(wrong("answered wrongly")) } else { Ok(good[0]) }
        }
    }
}

/// `status codes: 12 2xx, 0 3xx, 0 4xx, 0 5xx`
fn statuses(report: &str) -> Option<Vec<f64>> {
    let line = report.lines().find_map(|line| line.strip_prefix("status codes: "))?;
    line.split(", ").map(|part| part.split(' ').next()?.parse().ok()).collect()
}

/// Waits until a proxy answers a case's request rightly.
///
/// # Errors
/// When it doesn't in 20 seconds.
pub fn wait_for(case: &Case, peer: &Peer) -> Result<(), TaskError> {
    let url = url(case, peer);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-k", "-m", "2", "-f"]);
        match case.generator {
            Generator::Wrk => {}
            Generator::H2load => drop(curl.arg("--http2-prior-knowledge")),
            Generator::Grpc => {
                curl.args(["--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H", "te: trailers"]);
                curl.args(["--data-binary", "@-"]).stdin(std::process::Stdio::null());
            }
        }
        let got = curl.arg(&url).output();
        if got.is_ok_and(|got| got.status.success() && got.stdout.len() == case.bytes) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(TaskError::Other(format!("{}: {url} doesn't answer with {} bytes", peer.name, case.bytes)));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
