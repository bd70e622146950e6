//! `cargo xtask bench engine`: CPU per request beside haproxy, nginx and Envoy.
//!
//! Each proxy has processor 0 and one worker; the load generator and the backends share processor 1. The peers take
//! turns, round by round, so that a machine whose speed drifts slows all of them. CPU is what the scheduler charged to
//! all threads of the proxy, so that a helper thread (access log, statistics) counts as well. Foregate runs with metrics
//! and access log on and its control plane beside it, the peers without logs: the comparison is to our disadvantage.

mod cases;
mod configs;
mod load;
mod peers;
mod table;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::process::{TaskError, cargo, root, run as run_command};
use crate::tools;
use cases::{CASES, Case};
use peers::Peer;

/// Flags of `bench engine`.
#[derive(Args, Debug)]
pub struct EngineArgs {
    /// Rounds; in each, every proxy is measured once per case.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of load per measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Only these cases; may be given several times. Without it, all.
    #[arg(long, value_parser = CASES.map(|case| case.name))]
    only: Vec<String>,
    /// Only these peers beside Foregate: haproxy, nginx, envoy; may be given several times.
    #[arg(long, value_parser = ["haproxy", "nginx", "envoy"])]
    peer: Vec<String>,
    /// Measure this binary instead of one built from this tree.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// What was measured of one case: by peer, CPU microseconds per request of each round.
pub struct Measured {
    case: &'static Case,
    micros: Vec<(&'static str, Vec<f64>)>,
}

/// Measures, and prints a table per case.
///
/// # Errors
/// When something can't be installed or started, or a proxy answers wrongly.
pub fn run(args: &EngineArgs) -> Result<(), TaskError> {
    tools::apt_install(&[
        ("haproxy", "haproxy"),
        ("nginx", "nginx-light"),
        ("wrk", "wrk"),
        ("h2load", "nghttp2-client"),
        ("curl", "curl"),
        ("openssl", "openssl"),
    ])?;
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
    configs::write_shared(dir)?;
    let _backend = peers::backend(dir)?;
    let mut running = peers::start(&args.peer, dir)?;
    running.push(peers::foregate(binary, dir)?);
    let chosen = CASES.iter().filter(|case| args.only.is_empty() || args.only.iter().any(|only| only == case.name));
    for case in chosen {
        for peer in &running {
            load::wait_for(case, peer)?;
        }
        table::print(args, &one_case(args, case, &running, dir)?);
    }
    Ok(())
}

/// All rounds of a case; the first warms up.
fn one_case(args: &EngineArgs, case: &'static Case, peers: &[Peer], dir: &Path) -> Result<Measured, TaskError> {
    let mut micros: Vec<(&'static str, Vec<f64>)> = peers.iter().map(|peer| (peer.name, Vec::new())).collect();
    for round in 0..=args.rounds {
        for (peer, (_, micros)) in peers.iter().zip(&mut micros) {
            let before = peer.cpu_nanos();
            let requests = load::run(case, peer, args.seconds, dir)?;
            let spent = (peer.cpu_nanos() - before) as f64 / 1000.0 / requests;
            if round > 0 {
                micros.push(spent);
            }
        }
    }
    Ok(Measured { case, micros })
}
