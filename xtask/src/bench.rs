//! `cargo xtask bench`: measurements beside peers, in one run, as ratios.

use clap::{Args, Subcommand};

use crate::process::TaskError;

mod engine;
pub mod kubernetes;
mod routes;

/// What to measure.
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// CPU per request of the built-in engine beside haproxy, nginx and Envoy.
    Engine(engine::EngineArgs),
    /// A new route live, its status true, CPU per change and memory, at several numbers of routes.
    Routes(routes::RoutesArgs),
}

/// Measures.
///
/// # Errors
/// When a peer can't be installed or a measurement fails.
pub fn run(args: &BenchArgs) -> Result<(), TaskError> {
    match &args.what {
        What::Engine(args) => engine::run(args),
        What::Routes(args) => routes::run(args),
    }
}
