//! Foregate in front of a real Kubernetes cluster: `cargo xtask bench routes --kubernetes`, and with `--check` what
//! must hold there on every run.
//!
//! It runs inside the test bed (`cargo xtask testbed`), with `KUBECONFIG` set, and starts what it measures itself: the
//! gateway side (`foregate up`), and controllers that watch the cluster, each a process of its own. Backends are pods.
//! Each scenario is a module, named on the command line.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a measurement stops at the first surprise")]

#[path = "../../tests/harness/mod.rs"]
mod harness;
#[path = "../shared/measure.rs"]
mod measure;

mod away;
mod bed;
mod churn;
mod endpoints;
mod flips;
mod kills;
mod network;
mod propagation;
mod rollout;
mod scale;
mod scene;
mod split;
mod ways;
mod writes;

use std::time::Duration;

/// How much is done.
pub struct Args {
    scenarios: Vec<String>,
    at: Vec<usize>,
    changes: usize,
    check: bool,
}

impl Args {
    /// A time for a scenario that goes on until it has lasted long enough.
    fn lasting(&self, whole: Duration) -> Duration {
        if self.check { whole.min(Duration::from_secs(20)) } else { whole }
    }

    /// A number for a scenario that does something often enough.
    fn times(&self, whole: usize) -> usize {
        if self.check { whole.div_ceil(20) } else { whole }
    }
}

#[tokio::main]
async fn main() {
    let args = parse();
    let (apart, together): (Vec<_>, Vec<_>) = args.scenarios.iter().partition(|name| APART.contains(&name.as_str()));
    if !together.is_empty() {
        let scene = scene::Scene::set(1).await;
        for scenario in together {
            println!("\n{scenario}");
            run(scenario, &scene, &args).await;
        }
    }
    for scenario in apart {
        println!("\n{scenario}");
        match scenario.as_str() {
            "kills" => kills::run(&args).await,
            _ => away::run(&args).await,
        }
    }
}

/// Scenarios that start what they measure themselves.
const APART: [&str; 2] = ["kills", "away"];
/// The others.
const TOGETHER: [&str; 6] = ["propagation", "churn", "scale", "flips", "rollout", "endpoints"];

async fn run(scenario: &str, scene: &scene::Scene, args: &Args) {
    match scenario {
        "propagation" => propagation::run(scene, args).await,
        "churn" => churn::run(scene, args).await,
        "scale" => scale::run(scene, args).await,
        "flips" => flips::run(scene, args).await,
        "rollout" => rollout::run(scene, args).await,
        "endpoints" => endpoints::run(scene, args).await,
        other => panic!("no scenario {other}: {}, {}", TOGETHER.join(", "), APART.join(", ")),
    }
}

fn parse() -> Args {
    let mut args = Args { scenarios: vec![], at: vec![10, 1000, 5000], changes: 300, check: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--at" => args.at = words.next().unwrap().split(',').map(|n| n.parse().unwrap()).collect(),
            "--changes" => args.changes = words.next().unwrap().parse().unwrap(),
            "--check" => args.check = true,
            flag if flag.starts_with('-') => {}
            scenario => args.scenarios.push(scenario.to_owned()),
        }
    }
    if args.scenarios.is_empty() {
        args.scenarios = TOGETHER.into_iter().chain(APART).map(str::to_owned).collect();
    }
    args
}
