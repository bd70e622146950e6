//! `cargo xtask bench routes`: runs the bench of that name, which drives a `foregate up` of its own.

use clap::Args;

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
}

/// Builds as for packages, and measures.
///
/// # Errors
/// When the build or the bench fails.
pub fn run(args: &RoutesArgs) -> Result<(), TaskError> {
    let at = args.at.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let changes = args.changes.to_string();
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
