//! Starting a binary once, to see what it is.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// How long a binary may take to print its version.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often, and after what pause, a busy binary is tried again.
const BUSY_TRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// Bytes of its output that are read.
const MAX_OUTPUT: u64 = 4096;

/// Runs a binary with one flag; returns the last line that it prints, or what went wrong. Envoy prints its version to
/// stdout and its hot restart version to stderr.
pub(super) async fn ask(binary: &Path, flag: &str) -> Result<String, String> {
    let mut child = spawn(binary, flag).await.map_err(|error| error.to_string())?;
    let mut group = Group(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let run = async {
        let (out, err, status) = tokio::join!(read(stdout), read(stderr), child.wait());
        (out, err, status)
    };
    let (out, err, status) = tokio::time::timeout(PATIENCE, run)
        .await
        .map_err(|_| format!("`{flag}` isn't answered within {} s", PATIENCE.as_secs()))?;
    group.0 = None;
    let status = status.map_err(|error| error.to_string())?;
    if !status.success() {
        let said =
            if err.trim().is_empty() { "it says nothing".to_owned() } else { format!("it says {:?}", err.trim()) };
        return Err(format!("`{flag}` ends with {status}; {said}"));
    }
    let last = out.lines().rev().chain(err.lines().rev()).map(str::trim).find(|line| !line.is_empty());
    last.map(ToOwned::to_owned).ok_or_else(|| format!("`{flag}` prints nothing"))
}

/// A binary that was just written may still be open for writing in a process that another thread is about to start: that
/// is over within moments.
async fn spawn(binary: &Path, flag: &str) -> io::Result<Child> {
    let mut command = Command::new(binary);
    command.arg(flag).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true).process_group(0);
    for _ in 0..BUSY_TRIES {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => tokio::time::sleep(BUSY_PAUSE).await,
            spawned => return spawned,
        }
    }
    command.spawn()
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut text = Vec::new();
    if let Some(stream) = stream {
        // What comes after the limit is left in the pipe: its writer is ended with the time limit.
        let _ = stream.take(MAX_OUTPUT).read_to_end(&mut text).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Who doesn't answer, or isn't waited for any more, ends with all that it has started.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?));
        if let Some(leader) = leader {
            // Nobody may be left of the group.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn what_a_script_has_started_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let (script, told) = (dir.path().join("script"), dir.path().join("pid"));
        std::fs::write(&script, format!("#!/bin/sh\nsleep 1000 &\necho $! > {}\nwait\n", told.display())).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let started = async {
            loop {
                match std::fs::read_to_string(&told) {
                    Ok(pid) if pid.ends_with('\n') => break pid.trim().to_owned(),
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let pid = tokio::select! {
            pid = started => pid,
            answer = ask(&script, "--version") => unreachable!("{answer:?}"),
        };
        // A zombie has no command line any more.
        let runs = || std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
        let ended = async {
            while runs() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
    }
}
