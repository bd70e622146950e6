//! Envoys that nobody has written down: their agent was killed in the moment after their start.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::inventory::Record;
use super::pid::Handle;

/// How the name of a bootstrap file begins.
pub(super) const BOOTSTRAP: &str = "bootstrap-";
/// After SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// Ends the Envoys that were started for an instance and that aren't among the known ones: they would go on listening
/// beside those that get the configuration.
pub(crate) fn end_all_but(known: &[Record], dir: &Path) {
    for pid in find(dir).into_iter().filter(|pid| !known.iter().any(|record| record.pid == *pid)) {
        let Ok(handle) = Handle::open(pid, None) else { continue };
        tracing::warn!(pid, dir = %dir.display(), "an Envoy that an agent before this one didn't write down is ended");
        tokio::spawn(async move {
            handle.signal(Signal::TERM);
            if tokio::time::timeout(GRACE, handle.ended()).await.is_err() {
                handle.signal(Signal::KILL);
            }
        });
    }
}

/// The processes that were started with a bootstrap file of this directory, without those that only wait for them.
fn find(dir: &Path) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        is_envoy_of(&line, dir)
    })
    .collect()
}

/// A command line is a list of texts, each with a zero at its end.
fn is_envoy_of(line: &[u8], dir: &Path) -> bool {
    let start = dir.join(BOOTSTRAP);
    let mut args = line.split(|byte| *byte == 0);
    args.next().is_some_and(|program| !program.ends_with(b"/sh"))
        && args.any(|arg| arg.starts_with(start.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn who_was_started_for_an_instance_is_found_and_ended() {
        let dir = tempfile::tempdir().unwrap();
        let start = |program: &str, dir: &Path| {
            let mut command = Command::new("/bin/sh");
            command.arg0(program).args(["-c", "while :; do sleep 0.1; done", "x", "-c"]);
            command.arg(dir.join("bootstrap-0.json")).spawn().unwrap()
        };
        let mut stray = start("/engines/envoy", dir.path());
        let mut keeper = start("/bin/sh", dir.path());
        let mut other = start("/engines/envoy", &dir.path().join("other"));
        let handle = Handle::open(stray.id(), None).unwrap();
        let patience = Duration::from_secs(60);
        let found = async {
            while find(dir.path()) != [stray.id()] {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(patience, found).await.unwrap();
        end_all_but(&[], dir.path());
        tokio::time::timeout(patience, handle.ended()).await.unwrap();
        assert!(keeper.try_wait().unwrap().is_none() && other.try_wait().unwrap().is_none());
        for child in [&mut stray, &mut keeper, &mut other] {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }
}
