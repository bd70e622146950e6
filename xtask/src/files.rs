//! Files and folders, with errors that name them.

use std::io;
use std::path::{Path, PathBuf};

use crate::process::TaskError;

/// Names the file that an error is about.
pub fn at(path: &Path) -> impl FnOnce(io::Error) -> TaskError {
    let path = path.display().to_string();
    move |error| TaskError::Other(format!("{path}: {error}"))
}

/// The bytes of a file.
///
/// # Errors
/// When it can't be read.
pub fn read(path: &Path) -> Result<Vec<u8>, TaskError> {
    std::fs::read(path).map_err(at(path))
}

/// Writes a file, and the folders above it.
///
/// # Errors
/// When that can't be done.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), TaskError> {
    if let Some(above) = path.parent() {
        make_dir(above)?;
    }
    std::fs::write(path, content).map_err(at(path))
}

/// Makes a folder, and those above it.
///
/// # Errors
/// When that can't be done.
pub fn make_dir(path: &Path) -> Result<(), TaskError> {
    std::fs::create_dir_all(path).map_err(at(path))
}

/// What is in a folder, in no order.
///
/// # Errors
/// When it can't be read.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, TaskError> {
    let entries = std::fs::read_dir(folder).map_err(at(folder))?;
    entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(at(folder))
}

/// Copies the files of a folder, not those of folders in it.
///
/// # Errors
/// When one can't be read or written.
pub fn copy_dir(from: &Path, to: &Path) -> Result<(), TaskError> {
    make_dir(to)?;
    for file in list(from)?.iter().filter(|file| file.is_file()) {
        write(&to.join(file.file_name().unwrap_or_default()), read(file)?)?;
    }
    Ok(())
}

/// Removes a file or a folder with all in it; one that isn't there is fine.
///
/// # Errors
/// When it can't be removed.
pub fn remove(path: &Path) -> Result<(), TaskError> {
    let Ok(kind) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let removed = if kind.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.map_err(at(path))
}
