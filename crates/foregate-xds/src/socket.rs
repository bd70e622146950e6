//! Listening on a unix socket that nobody else can reach at any moment.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The longest path of a unix socket on Linux, in bytes (`sun_path` without its final zero).
const MAX_PATH: usize = 107;

/// A listening socket; its file goes with it, if it is still its own.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Listens at `path`, mode 0600. The directory is created, mode 0700, if it isn't there. The socket is made in a
    /// private directory and moved to its place, so that it never has other modes there, and a stale file is replaced.
    pub(crate) async fn bind(path: &Path) -> io::Result<(Self, UnixListener)> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path of the socket has no file name"))?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there"));
        }
        let private = directory.join(format!(".{:08x}", rand::random::<u32>()));
        let new = private.join("s");
        for path in [path, &new] {
            if path.as_os_str().len() > MAX_PATH {
                let text = format!("{} has more than {MAX_PATH} bytes: use a shorter directory", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
        std::fs::DirBuilder::new().mode(0o700).create(&private)?;
        let bound = Self::bind_in(&new, &directory.join(name));
        let _ = std::fs::remove_file(&new);
        let _ = std::fs::remove_dir(&private);
        bound
    }

    fn bind_in(new: &Path, path: &Path) -> io::Result<(Self, UnixListener)> {
        let listener = UnixListener::bind(new)?;
        std::fs::set_permissions(new, std::fs::Permissions::from_mode(0o600))?;
        let inode = std::fs::symlink_metadata(new)?.ino();
        std::fs::rename(new, path)?;
        Ok((Self { path: path.to_owned(), inode }, listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
