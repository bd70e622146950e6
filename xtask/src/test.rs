//! `cargo xtask test`: everything that must hold, in the order in which it fails fastest.

use clap::Args;

use crate::conformance::{self, ConformanceArgs};
use crate::process::{self, TaskError, cargo, step};
use crate::{testbed, tidy, tools};

/// Flags of `test`.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Leave out what needs a build of its own: kubectl and cargo-deny.
    #[arg(long)]
    quick: bool,
    /// Also run the Gateway API's conformance suite on both engines, as root.
    #[arg(long, conflicts_with = "quick")]
    conformance: bool,
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
        println!("\nleft out by --quick: kubectl, dependencies");
        return Ok(());
    }
    step("dependencies", deny)?;
    if args.conformance { step("conformance", conformance) } else { Ok(()) }
}

/// The whole suite on both engines, with the binary that the tests have just been run with.
fn conformance() -> Result<(), TaskError> {
    let tested = conformance::run_binary(&process::target_dir().join("debug/foregate"), &ConformanceArgs::default());
    // The first error is the one that tells.
    let removed = testbed::down();
    tested.and(removed)
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
