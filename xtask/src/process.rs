//! Commands that are run, and what is said when they fail.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A command can't be started.
    #[error("cannot start `{command}`: {source}")]
    Start {
        /// Which.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// A command failed.
    #[error("`{command}` failed ({status})")]
    Failed {
        /// Which.
        command: String,
        /// How.
        status: std::process::ExitStatus,
    },
    /// Something else, in words that say what to do.
    #[error("{0}")]
    Other(String),
}

/// Runs a command in the repository's root with its output shown.
///
/// # Errors
/// When it can't be started or fails.
pub fn run(command: &mut Command) -> Result<(), TaskError> {
    let shown = show(command);
    let status =
        command.current_dir(root()).status().map_err(|source| TaskError::Start { command: shown.clone(), source })?;
    if status.success() { Ok(()) } else { Err(TaskError::Failed { command: shown, status }) }
}

/// Runs a command in the repository's root and returns what it prints.
///
/// # Errors
/// When it can't be started or fails.
pub fn output(command: &mut Command) -> Result<String, TaskError> {
    let shown = show(command);
    let output =
        command.current_dir(root()).output().map_err(|source| TaskError::Start { command: shown.clone(), source })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        Err(TaskError::Failed { command: shown, status: output.status })
    }
}

/// A named step, timed.
///
/// # Errors
/// Those of the step.
pub fn step(name: &str, step: impl FnOnce() -> Result<(), TaskError>) -> Result<(), TaskError> {
    println!("\n== {name}");
    let start = Instant::now();
    step()?;
    println!("== {name}: done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Shorthand for a command with arguments.
pub fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// `cargo`, the one that runs this.
pub fn cargo(args: &[&str]) -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), args)
}

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}

/// Where cargo builds.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn show(command: &Command) -> String {
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(command.get_program().to_string_lossy().into_owned()).chain(args).collect::<Vec<_>>().join(" ")
}
