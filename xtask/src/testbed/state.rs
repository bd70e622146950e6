//! Where the test bed keeps what.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::files;
use crate::process::TaskError;

/// All but the sockets.
pub fn dir() -> &'static Path {
    Path::new("/var/lib/foregate-testbed")
}

/// Sockets, whose paths must be short, and what is gone after a boot anyway.
pub fn run() -> &'static Path {
    Path::new("/run/foregate-testbed")
}

/// Logs, one per process; they outlive `down`.
pub fn logs() -> PathBuf {
    dir().join("logs")
}

/// The log of one process.
pub fn log(name: &str) -> PathBuf {
    logs().join(format!("{name}.log"))
}

/// Programs for those who work on the test bed: kubectl and ctr.
pub fn bin() -> PathBuf {
    dir().join("bin")
}

/// Held by whoever changes the test bed; lets go when dropped.
///
/// # Errors
/// When it can't be made.
pub fn lock() -> Result<File, TaskError> {
    lock_file("lock", "another `testbed` command")
}

/// Held by whoever runs Foregate on the test bed.
///
/// # Errors
/// When it can't be made.
pub fn turn() -> Result<File, TaskError> {
    lock_file("turn", "another one who uses it")
}

fn lock_file(name: &str, holder: &str) -> Result<File, TaskError> {
    let path = dir().join(name);
    files::make_dir(dir())?;
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(files::at(&path))?;
    if file.try_lock().is_err() {
        println!("test bed: waiting for {holder}");
        file.lock().map_err(files::at(&path))?;
    }
    Ok(file)
}
