//! Starting a process that outlives this one, and waiting for what it must do.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::record::{Process, Record};
use super::state;
use crate::files;
use crate::process::TaskError;

/// How long a part may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const STEP: Duration = Duration::from_millis(100);
/// How much of a log is shown, in bytes.
const TAIL: u64 = 3000;

/// Runs a program without what was open where this was started, such as the lock of who waits for this to end: a program
/// that lives on would hold it.
const CLOSE_AND_RUN: &str = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec \"$@\"";

/// A process whose output goes to a log.
#[derive(Debug)]
pub struct Daemon {
    /// What is known of it.
    pub process: Process,
    child: std::process::Child,
}

impl Daemon {
    /// Starts `command` in a session of its own; its log is named after it.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(name: &str, command: &Command) -> Result<Self, TaskError> {
        let path = state::log(name);
        files::make_dir(&state::logs())?;
        let log = File::create(&path).map_err(files::at(&path))?;
        let errors = log.try_clone().map_err(files::at(&path))?;
        // Each of the chain replaces itself by the next: the id stays that of the program in the end.
        let mut started = Command::new("setsid");
        started.args(["sh", "-c", CLOSE_AND_RUN, "sh"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => started.env(name, value),
                None => started.env_remove(name),
            };
        }
        started.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = started.spawn().map_err(|source| TaskError::Start { command: name.to_owned(), source })?;
        let process = Process::new(name, i32::try_from(child.id()).unwrap_or_default());
        Ok(Self { process, child })
    }

    /// Waits until something holds, and fails with the log's end when the process dies before, or takes too long.
    ///
    /// # Errors
    /// As said.
    pub fn wait(&mut self, what: &str, mut holds: impl FnMut() -> bool) -> Result<(), TaskError> {
        let start = Instant::now();
        while !holds() {
            let name = &self.process.name;
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(died(name, &format!("ended ({status}) before {what}")));
            }
            if start.elapsed() > PATIENCE {
                return Err(died(name, &format!("isn't there after {} s: {what}", PATIENCE.as_secs())));
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    /// Ends it: asks, and forces after a while.
    pub fn end(mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.process.pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(15) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(STEP);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// Waits until something holds that a recorded process is there for, and fails with the end of that one's log.
///
/// # Errors
/// When any recorded process dies before, or it takes too long.
pub fn wait_for(name: &str, what: &str, record: &Record, mut holds: impl FnMut() -> bool) -> Result<(), TaskError> {
    let start = Instant::now();
    while !holds() {
        if let Some(dead) = record.dead().first() {
            return Err(died(dead, &format!("ended before {what}")));
        }
        if start.elapsed() > PATIENCE {
            return Err(died(name, &format!("isn't there after {} s: {what}", PATIENCE.as_secs())));
        }
        std::thread::sleep(STEP);
    }
    Ok(())
}

/// Ends several, in the opposite order of their start.
pub fn stop(daemons: Vec<Daemon>) {
    daemons.into_iter().rev().for_each(Daemon::end);
}

/// Says what happened to a process, with the end of its log.
pub fn died(name: &str, what: &str) -> TaskError {
    let path = state::log(name);
    TaskError::Other(format!("{name} {what}\n{}\n(the end of {})", tail(&path), path.display()))
}

/// The end of a file.
pub fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("{}: {error}", path.display()))
}
