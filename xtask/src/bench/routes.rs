//! `cargo xtask bench routes`: runs the bench of that name, which drives a `foregate up` of its own.

use std::ffi::OsString;

use clap::Args;

use super::kubernetes::{self, Build};
use crate::process::{TaskError, cargo, run as run_command};

/// Flags of `bench routes`.
#[derive(Args, Debug)]
pub struct RoutesArgs {
    /// Numbers of routes to measure at.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1000, 5000])]
    at: Vec<usize>,
    /// Changes to measure at each.
    #[arg(long, default_value_t = 300)]
    changes: usize,
    /// In front of a real Kubernetes cluster, the test bed's, with everything that follows there: many routes at a
    /// steady rate, changes and restarts under load, thousands of endpoints.
    #[arg(long)]
    kubernetes: bool,
    /// With `--kubernetes`, only these: propagation, scale, flips, rollout, endpoints, kills, away.
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    scenario: Vec<String>,
}

/// Builds as for packages, and measures.
///
/// # Errors
/// When the build or the bench fails.
pub fn run(args: &RoutesArgs) -> Result<(), TaskError> {
    let at = args.at.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let changes = args.changes.to_string();
    if args.kubernetes {
        let flags = ["--at", &at, "--changes", &changes].map(OsString::from);
        let scenarios = args.scenario.iter().map(OsString::from);
        return kubernetes::run(Build::Dist, &flags.into_iter().chain(scenarios).collect::<Vec<_>>());
    }
    run_command(&mut cargo(&[
        "bench",
        "-p",
        "foregate",
        "--bench",
        "routes",
        "--profile",
        "dist",
        "--",
        "--at",
        &at,
        "--changes",
        &changes,
    ]))
}
