//! Which Envoy processes an instance has, written down: the next agent finds them there.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::pid::start_time;

/// Name of the file in an instance's directory.
const FILE: &str = "processes.json";

/// One Envoy process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Process id.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did: an id that is used again isn't taken for it.
    pub started: u64,
    /// The engine, e.g. `envoy@1.40.0`.
    pub engine: String,
    /// Its hot restart version; none: it can't be restarted hot.
    pub hot_restart: Option<String>,
    /// `--base-id`: names the memory that the epochs of a hot restart share.
    pub base_id: u32,
    /// `--restart-epoch`.
    pub epoch: u32,
    /// Socket of its admin interface.
    pub admin: PathBuf,
    /// It drains and ends: another one has its place.
    pub retiring: bool,
}

/// The records of an instance, the youngest last; none if there is no file. What can't be read is said in the log: its
/// processes serve on, and nobody knows them.
pub(crate) fn read(dir: &Path) -> Vec<Record> {
    let path = dir.join(FILE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "can't read which Envoys run");
            return Vec::new();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::error!(path = %path.display(), %error, "isn't a list of processes; `pgrep -a envoy` shows what runs");
        Vec::new()
    })
}

/// Writes the records of an instance; without any the file goes.
pub(crate) fn write(dir: &Path, records: &[Record]) -> io::Result<()> {
    let path = dir.join(FILE);
    if records.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let next = dir.join("processes.next");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(&serde_json::to_vec_pretty(records)?)?;
    std::fs::rename(&next, &path)
}

/// All Envoys that run from a directory of instances, as [`socket_dir`](crate::agent::socket_dir) gives it.
pub fn running(sockets: &Path) -> Vec<Record> {
    let Ok(entries) = std::fs::read_dir(sockets) else { return Vec::new() };
    let records = entries.flatten().flat_map(|entry| read(&entry.path()));
    records.filter(|record| start_time(record.pid) == Some(record.started)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn record(pid: u32, started: u64) -> Record {
        Record {
            pid,
            started,
            engine: "envoy@1".into(),
            hot_restart: Some("11.104".into()),
            base_id: 7,
            epoch: 2,
            admin: "/run/a2".into(),
            retiring: false,
        }
    }

    #[test]
    fn what_is_written_is_found_and_who_is_gone_isnt_running() {
        let dir = tempfile::tempdir().unwrap();
        let instance = dir.path().join("i");
        std::fs::create_dir(&instance).unwrap();
        assert_eq!(read(&instance), []);
        let me = std::process::id();
        let started = start_time(me).unwrap();
        let records = [record(me, started), record(me, started + 1)];
        write(&instance, &records).unwrap();
        assert_eq!(read(&instance), records);
        assert_eq!(running(dir.path()), [record(me, started)]);
        write(&instance, &[]).unwrap();
        assert_eq!(read(&instance), []);
        std::fs::write(instance.join(FILE), "[{").unwrap();
        assert_eq!(read(&instance), []);
    }
}
