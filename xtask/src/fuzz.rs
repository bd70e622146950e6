//! `cargo xtask fuzz`: every fuzz target, each for a while.
//!
//! Targets are the binaries of `crates/*/fuzz`. They are built with the toolchain at hand: libFuzzer needs coverage
//! counters, which stable Rust can emit; what sanitizers find, a workspace without `unsafe` doesn't have.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::process::{TaskError, cargo, root, run, step};

/// Flags of `fuzz`.
#[derive(Args, Debug)]
pub struct FuzzArgs {
    /// Only targets whose `crate/target` contains this.
    filter: Option<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Coverage counters and comparisons, as libFuzzer reads them.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";

/// Memory that one target may take, in MiB.
const MEMORY: u32 = 2048;
/// Seconds that one input may take.
const SLOW: u32 = 10;

/// Builds and runs them.
///
/// # Errors
/// When one can't be built, or finds something: its input is kept, and named.
pub fn run_all(args: &FuzzArgs) -> Result<(), TaskError> {
    for folder in folders()? {
        for target in targets(&folder)? {
            let name = format!("{}/{target}", crate_name(&folder));
            if args.filter.as_ref().is_none_or(|filter| name.contains(filter)) {
                step(&name, || fuzz(&folder, &target, &name, args.seconds))?;
            }
        }
    }
    Ok(())
}

fn fuzz(folder: &Path, target: &str, name: &str, seconds: u32) -> Result<(), TaskError> {
    // The versions of the workspace, not the newest ones.
    let io = |error: std::io::Error| TaskError::Other(format!("{}: {error}", folder.display()));
    if !folder.join("Cargo.lock").exists() {
        std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).map_err(io)?;
    }
    let built = root().join("target/fuzz");
    let host = host()?;
    run(cargo(&["build", "--release", "--bin", target, "--target", &host, "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_TARGET_DIR", &built)
        .env("CARGO_PROFILE_RELEASE_LTO", "off"))?;
    let corpus = built.join("corpus").join(name);
    let found = built.join("found").join(name);
    for dir in [&corpus, &found] {
        std::fs::create_dir_all(dir).map_err(io)?;
    }
    let mut fuzzer = Command::new(built.join(host).join("release").join(target));
    fuzzer.arg(format!("-max_total_time={seconds}")).arg(format!("-rss_limit_mb={MEMORY}"));
    fuzzer.arg(format!("-timeout={SLOW}")).arg("-verbosity=0").arg("-print_final_stats=1");
    fuzzer.arg(format!("-artifact_prefix={}/", found.display())).arg(&corpus);
    let seeds = folder.join("seeds").join(target);
    if seeds.is_dir() {
        fuzzer.arg(seeds);
    }
    run(&mut fuzzer)
}

/// The target triple of this machine: naming it keeps the flags away from build scripts.
fn host() -> Result<String, TaskError> {
    let text = crate::process::output(&mut crate::process::command("rustc", &["-vV"]))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| TaskError::Other("rustc -vV names no host".to_owned()))
}

fn folders() -> Result<Vec<PathBuf>, TaskError> {
    let crates = root().join("crates");
    let entries =
        std::fs::read_dir(&crates).map_err(|error| TaskError::Other(format!("{}: {error}", crates.display())))?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path().join("fuzz")).collect();
    folders.retain(|folder| folder.join("Cargo.toml").exists());
    folders.sort();
    Ok(folders)
}

fn targets(folder: &Path) -> Result<Vec<String>, TaskError> {
    let dir = folder.join("fuzz_targets");
    let entries = std::fs::read_dir(&dir).map_err(|error| TaskError::Other(format!("{}: {error}", dir.display())))?;
    let name = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut targets: Vec<String> = entries.flatten().filter_map(|entry| name(entry.path())).collect();
    targets.sort();
    Ok(targets)
}

fn crate_name(folder: &Path) -> String {
    folder.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
