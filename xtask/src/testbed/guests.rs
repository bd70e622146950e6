//! Processes that use the test bed: started in its network, recorded, and ended with it.

use std::process::{Child, Command};

use super::record::{Process, Record};
use super::start::{self, Daemon};
use super::state;
use crate::process::TaskError;

/// Starts a process that `down`, and the next one who wants the place, ends.
///
/// # Errors
/// When it can't be started or recorded.
pub fn start_guest(name: &str, command: &Command) -> Result<Daemon, TaskError> {
    let guest = Daemon::start(name, command)?;
    Record::load()?.add_guest(guest.process.clone())?;
    Ok(guest)
}

/// Records a process that was started otherwise.
///
/// # Errors
/// When it can't be recorded.
pub fn adopt(name: &str, child: &Child) -> Result<(), TaskError> {
    Record::load()?.add_guest(Process::new(name, i32::try_from(child.id()).unwrap_or_default()))
}

/// Ends all guests that are left, with the processes that they started.
///
/// # Errors
/// When the record can't be read.
pub fn stop_guests() -> Result<(), TaskError> {
    let mut record = Record::load()?;
    super::teardown::end_guests(&record)?;
    record.forget_guests()
}

/// What a process has logged so far.
pub fn log_of(name: &str) -> String {
    std::fs::read(state::log(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Ends guests in the opposite order of their start.
pub fn stop(guests: Vec<Daemon>) {
    start::stop(guests);
}
