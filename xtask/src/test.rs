//! `cargo xtask test`: everything that must hold, in the order in which it fails fastest.

use std::ffi::OsString;

use clap::Args;

use crate::bench::kubernetes::Build;
use crate::conformance::{self, ConformanceArgs, Engine};
use crate::process::{self, TaskError, cargo, step};
use crate::{bench, testbed, tidy, tools};

/// Flags of `test`.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Leave out what needs builds of its own, or root: kubectl, cargo-deny and Kubernetes.
    #[arg(long)]
    quick: bool,
}

/// Version of cargo-deny, compiled once into the cache.
const CARGO_DENY: &str = "0.20.2";

/// Runs all steps.
///
/// # Errors
/// Those of the first step that fails.
pub fn run(args: &TestArgs) -> Result<(), TaskError> {
    step("format", || run_cargo(&["fmt", "--all", "--check"]))?;
    step("tidy", tidy::run)?;
    step("lints", || run_cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let kubectls = if args.quick { Vec::new() } else { tools::kubectls()? };
    let kubectls = std::env::join_paths(kubectls).map_err(|error| TaskError::Other(error.to_string()))?;
    let envoys = std::env::join_paths(tools::envoys()?).map_err(|error| TaskError::Other(error.to_string()))?;
    let grpc = tools::grpc()?;
    step("tests", || {
        let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
        tests.env("FOREGATE_ENVOYS", &envoys).env("FOREGATE_GRPC", &grpc);
        if !args.quick {
            tests.env("FOREGATE_KUBECTLS", &kubectls);
        }
        process::run(&mut tests)
    })?;
    if args.quick {
        println!("\nleft out by --quick: kubectl, dependencies, conformance, Kubernetes");
        return Ok(());
    }
    step("dependencies", deny)?;
    let tested = step("conformance", conformance).and_then(|()| step("Kubernetes", kubernetes));
    // The first error is the one that tells.
    tested.and(testbed::down())
}

/// The whole suite on both engines, with the binary that the tests have just been run with: once with the controller
/// beside the cluster, once with it in the cluster.
fn conformance() -> Result<(), TaskError> {
    let binary = process::target_dir().join("debug/foregate");
    let one = |engine, in_cluster| {
        conformance::run_binary(&binary, &ConformanceArgs { engine: Some(engine), in_cluster, ..Default::default() })
    };
    one(Engine::Builtin, false)?;
    one(Engine::Envoy, true)
}

/// What must hold in front of a real cluster: changes, rolling restarts, killed processes and a platform that is away,
/// all under load.
fn kubernetes() -> Result<(), TaskError> {
    let scenarios = ["--check", "propagation", "flips", "rollout", "endpoints", "kills", "away"];
    bench::kubernetes::run(Build::Test, &scenarios.map(OsString::from))
}

fn run_cargo(args: &[&str]) -> Result<(), TaskError> {
    process::run(&mut cargo(args))
}

/// Licences, bans and sources of all dependencies.
fn deny() -> Result<(), TaskError> {
    let dir = tools::cache_dir()?.join(format!("cargo-deny-{CARGO_DENY}"));
    let binary = dir.join("bin/cargo-deny");
    if !binary.exists() {
        println!("building cargo-deny {CARGO_DENY} (a few minutes, once)");
        process::run(
            cargo(&["install", "--quiet", "--locked", "--version", CARGO_DENY, "cargo-deny", "--root"]).arg(&dir),
        )?;
    }
    process::run(std::process::Command::new(binary).args(["--workspace", "check", "bans", "licenses", "sources"]))
}
