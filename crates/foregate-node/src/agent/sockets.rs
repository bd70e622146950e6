//! A directory for sockets, that only this user may enter, and that is found again after a start.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::AgentError;

/// The longest path of a unix socket.
const LONGEST_PATH: usize = 107;
/// What instances and Envoys add to it: `/12345678/hr_udp_parent_4294967290`.
const ROOM: usize = 40;

/// The directory: `run` in the data directory, or where its path is too long, one in `XDG_RUNTIME_DIR` or the temporary
/// directory that is named after it. It is absolute: an Envoy's working directory is another one.
///
/// # Errors
/// When it can't be made, or somebody else has made it.
pub fn socket_dir(data_dir: &Path) -> Result<PathBuf, AgentError> {
    let data_dir =
        &std::path::absolute(data_dir).map_err(|source| AgentError::Sockets { path: data_dir.to_owned(), source })?;
    let near = data_dir.join("run");
    let dir = if near.as_os_str().len() + ROOM <= LONGEST_PATH { near } else { elsewhere(data_dir) };
    make(&dir).map_err(|source| AgentError::Sockets { path: dir.clone(), source })?;
    Ok(dir)
}

fn elsewhere(data_dir: &Path) -> PathBuf {
    let hash: [u8; 32] = Sha256::digest(data_dir.as_os_str().as_encoded_bytes()).into();
    let name: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    runtime.unwrap_or_else(std::env::temp_dir).join(format!("foregate-{name}"))
}

/// Makes a directory of mode 0700, or takes one that is this user's.
pub(crate) fn make(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let found = std::fs::symlink_metadata(dir)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it isn't a directory of this user"));
    }
    if found.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_long_path_gives_way_to_a_short_one_that_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let near = dir.path().join("data");
        std::fs::create_dir(&near).unwrap();
        assert_eq!(socket_dir(&near).unwrap(), near.join("run"));
        let (up, here) = ("../".repeat(32), near.strip_prefix("/").unwrap());
        assert!(socket_dir(&Path::new(&up).join(here)).unwrap().is_absolute());
        let far = dir.path().join("x".repeat(100));
        assert_eq!(elsewhere(&far), elsewhere(&far));
        assert!(elsewhere(&far).as_os_str().len() + ROOM <= LONGEST_PATH);
        assert_ne!(elsewhere(&far), elsewhere(&near));
    }

    #[test]
    fn what_others_could_enter_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("run");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        make(&open).unwrap();
        assert_eq!(std::fs::metadata(&open).unwrap().permissions().mode() & 0o777, 0o700);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(make(&file).is_err());
    }
}
