//! Processes by id and start time, so that an id that was used again is never taken for the process that it was.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

/// A process that is there, or was: it can't be mistaken for another.
#[derive(Debug)]
pub(crate) struct Handle {
    /// Its id.
    pub(crate) pid: u32,
    /// When it started, in clock ticks since the machine did.
    pub(crate) started: u64,
    fd: AsyncFd<OwnedFd>,
}

impl Handle {
    /// The process of this id; with a start time, only if that is its own.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn open(pid: u32, started: Option<u64>) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "no such process");
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        let fd = pidfd_open(id, PidfdFlags::NONBLOCK)?;
        // Asked after the descriptor was opened: it is that process's, or the process is gone.
        let found = start_time(pid).ok_or_else(gone)?;
        if started.is_some_and(|started| started != found) {
            return Err(gone());
        }
        Ok(Self { pid, started: found, fd: register(fd)? })
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) {
        // Readable once the process has ended, and for ever after.
        let _ = self.fd.readable().await;
    }

    /// Sends a signal to exactly this process; nothing happens if it is gone.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(self.fd.get_ref(), signal);
    }

    /// For what needs the descriptor itself.
    pub(crate) fn fd(&self) -> &OwnedFd {
        self.fd.get_ref()
    }
}

#[allow(unsafe_code, reason = "tokio has no safe way to register a descriptor")]
fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is the same open file as long as it is there, and closes it once, after it was deregistered.
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}

/// When a process started, in clock ticks since the machine did (field 22 of `/proc/PID/stat`); none if it is gone, or
/// has ended and only waits for its parent.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses, and may contain some.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    (!matches!(state, "Z" | "X")).then(|| fields.nth(18)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn a_process_is_known_by_its_start() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let handle = Handle::open(child.id(), None).unwrap();
        assert!(Handle::open(child.id(), Some(handle.started)).is_ok());
        assert!(Handle::open(child.id(), Some(handle.started + 1)).is_err());
        handle.signal(Signal::KILL);
        handle.ended().await;
        assert!(Handle::open(child.id(), None).is_err(), "though nobody has waited for it");
        child.wait().unwrap();
        assert!(Handle::open(handle.pid, Some(handle.started)).is_err());
        handle.signal(Signal::KILL);
    }
}
