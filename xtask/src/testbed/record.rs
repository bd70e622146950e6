//! What of the test bed has been started, on disk before anything is waited for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::state;
use crate::files;
use crate::process::TaskError;

/// What has been started.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Record {
    /// The boot in which it was; pids of another one mean nothing.
    boot: String,
    /// In the order in which they were started.
    pub processes: Vec<Process>,
    /// Processes that use it.
    #[serde(default)]
    pub guests: Vec<Process>,
    /// Whether the start went through to its end.
    pub complete: bool,
}

/// A process that was started.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Process {
    /// What its log is named after.
    pub name: String,
    /// Its id.
    pub pid: i32,
    /// When it was started, in ticks since boot: an id that was given again isn't taken for it.
    started: u64,
}

impl Process {
    /// Notes a process that has just been started.
    pub fn new(name: &str, pid: i32) -> Self {
        Self { name: name.to_owned(), pid, started: start_time(pid).unwrap_or_default() }
    }

    /// Whether it is still that process, and no zombie.
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Ends it for good.
    pub fn kill(&self) {
        if self.is_alive() {
            kill(self.pid);
        }
    }
}

/// Ends a process for good; one that is gone is fine.
pub fn kill(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        // Fails only where there is no such process any more.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

impl Record {
    fn path() -> PathBuf {
        state::dir().join("processes.json")
    }

    /// What is on disk; nothing where there is none, or it is of another boot.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn load() -> Result<Self, TaskError> {
        let path = Self::path();
        if !path.exists() {
            return Ok(Self::default());
        }
        // Half-written when the machine went down.
        let mut record: Self = serde_json::from_slice(&files::read(&path)?).unwrap_or_default();
        if record.boot != boot()? {
            record.processes.clear();
            record.guests.clear();
            record.complete = false;
        }
        Ok(record)
    }

    /// A new one.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn begin() -> Result<Self, TaskError> {
        let record = Self { boot: boot()?, ..Self::default() };
        record.save()?;
        Ok(record)
    }

    /// Whether nothing was ever begun.
    pub fn is_empty(&self) -> bool {
        self.boot.is_empty()
    }

    /// Notes a process.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn add(&mut self, process: Process) -> Result<(), TaskError> {
        self.processes.push(process);
        self.save()
    }

    /// Notes a process that uses it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn add_guest(&mut self, process: Process) -> Result<(), TaskError> {
        self.guests.retain(Process::is_alive);
        self.guests.push(process);
        self.save()
    }

    /// Notes that nobody uses it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn forget_guests(&mut self) -> Result<(), TaskError> {
        self.guests.clear();
        self.save()
    }

    /// Notes that all is up.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(&mut self) -> Result<(), TaskError> {
        self.complete = true;
        self.save()
    }

    /// Names of processes that aren't there any more.
    pub fn dead(&self) -> Vec<String> {
        self.processes.iter().filter(|process| !process.is_alive()).map(|process| process.name.clone()).collect()
    }

    fn save(&self) -> Result<(), TaskError> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| TaskError::Other(error.to_string()))?;
        let (path, partial) = (Self::path(), state::dir().join("processes.json.partial"));
        files::write(&partial, text)?;
        std::fs::rename(&partial, &path).map_err(files::at(&path))
    }
}

fn boot() -> Result<String, TaskError> {
    let path = std::path::Path::new("/proc/sys/kernel/random/boot_id");
    Ok(String::from_utf8_lossy(&files::read(path)?).trim().to_owned())
}

/// Field 22 of `/proc/PID/stat`; none for zombies.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses, too.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
