//! gRPC for Python from PyPI, its hashes pinned in `tools/grpc/requirements.txt`: a client that speaks xDS itself.

use std::path::PathBuf;
use std::process::Command;

use super::{cache_dir, make_venv};
use crate::process::{TaskError, root, run};

/// As `tools/grpc/requirements.txt` pins it.
const VERSION: &str = "1.85.1";

/// Makes an environment with it, unless it is in the cache, and returns that one's Python.
///
/// # Errors
/// When Python can't be had, a download fails, or its hash isn't one of the pinned.
pub fn grpc() -> Result<PathBuf, TaskError> {
    let venv = cache_dir()?.join(format!("grpc-{VERSION}"));
    let (python, done) = (venv.join("bin/python"), venv.join("complete"));
    if !done.exists() {
        println!("downloading gRPC {VERSION} for Python");
        make_venv(&venv)?;
        let flags = ["install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--disable-pip-version-check"];
        let requirements = root().join("tools/grpc/requirements.txt");
        run(Command::new(venv.join("bin/pip")).args(flags).arg("-r").arg(requirements))?;
        std::fs::write(&done, "").map_err(|error| TaskError::Other(format!("{}: {error}", done.display())))?;
    }
    Ok(python)
}
