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
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let run = async {
        let (out, err, status) = tokio::join!(read(stdout), read(stderr), child.wait());
        (out, err, status)
    };
    let (out, err, status) = tokio::time::timeout(PATIENCE, run)
        .await
        .map_err(|_| format!("`{flag}` isn't answered within {} s", PATIENCE.as_secs()))?;
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
    command.arg(flag).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
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
