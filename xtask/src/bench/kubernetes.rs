//! The bench `kubernetes` of crate `foregate`, inside the test bed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::process::{TaskError, cargo, output, run as run_command};
use crate::{testbed, tools};

/// How the bench and the `foregate` that it starts are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// As for packages.
    Dist,
    /// As for tests.
    Test,
}

/// Builds, brings the test bed up, and runs the bench there with these arguments.
///
/// # Errors
/// When a part can't be had, or the bench fails.
pub fn run(build: Build, args: &[OsString]) -> Result<(), TaskError> {
    testbed::require_root()?;
    let envoys = std::env::join_paths(tools::envoys()?).map_err(|error| TaskError::Other(error.to_string()))?;
    let bench = built(build)?;
    testbed::up()?;
    let _turn = testbed::state::turn()?;
    testbed::stop_guests()?;
    let mut command = testbed::inside(&bench.display().to_string());
    run_command(command.args(args).env("KUBECONFIG", testbed::kubeconfig()).env("FOREGATE_ENVOYS", envoys))
}

/// The path of the bench's program.
fn built(build: Build) -> Result<PathBuf, TaskError> {
    let mut command = match build {
        Build::Dist => cargo(&["bench", "--profile", "dist", "--package", "foregate"]),
        // With the features that all other tests are built with, so that nothing is built twice.
        Build::Test => cargo(&["test", "--workspace"]),
    };
    let which = ["--bench", "kubernetes", "--no-run", "--message-format", "json"];
    let messages = output(command.args(which).stderr(Stdio::inherit()))?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "kubernetes")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| TaskError::Other("cargo doesn't say where the bench is".to_owned()))
}
