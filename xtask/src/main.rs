//! Foregate's own tasks, as `cargo xtask <task>`.
//!
//! `test` is what CI runs; it installs what it needs. Each task is a module.

mod bench;
mod codegen;
mod conformance;
mod files;
mod fuzz;
mod image;
mod oci;
mod process;
mod test;
mod testbed;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything that must hold: format, lints, dependencies, structure, all tests. Installs what it needs.
    Test(test::TestArgs),
    /// Only installs what the tests need: Envoys, and kubectls unless `--quick`.
    Tools {
        /// Leave out what has to be built.
        #[arg(long)]
        quick: bool,
    },
    /// Measurements, side by side with peers, as ratios.
    Bench(bench::BenchArgs),
    /// Kubernetes with a real kubelet on this machine, in a network of its own.
    Testbed(testbed::TestbedArgs),
    /// The Gateway API's conformance suite on the test bed.
    Conformance(conformance::ConformanceArgs),
    /// An OCI image of Foregate, made without a container engine.
    Image(image::ImageArgs),
    /// Fuzz targets, each for a while.
    Fuzz(fuzz::FuzzArgs),
    /// The structure: arrows between crates, file sizes, words that don't belong here.
    Tidy,
    /// Makes the committed generated files again.
    Codegen,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Tools { quick } => tools::install(quick),
        Task::Bench(args) => bench::run(&args),
        Task::Conformance(args) => conformance::run(&args),
        Task::Image(args) => image::run(&args),
        Task::Testbed(args) => testbed::run(&args),
        Task::Fuzz(args) => fuzz::run_all(&args),
        Task::Tidy => tidy::run(),
        Task::Codegen => codegen::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
