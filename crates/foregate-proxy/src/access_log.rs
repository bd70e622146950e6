//! The access log: lines gather in a buffer per worker, one thread writes them; when it can't keep up, lines are
//! dropped and counted, and no request waits.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::metrics::Registry;

/// Bytes at which a worker hands its buffer over without waiting for the next tick.
pub(crate) const FLUSH_AT: usize = 32 * 1024;
/// Buffers that may wait for the writer.
const QUEUE: usize = 64;

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    #[default]
    Off,
    /// To standard output.
    Stdout(LogFormat),
    /// To a file, which is appended to.
    File(PathBuf, LogFormat),
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For eyes: fields in a fixed order, `-` for what isn't there.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

impl fmt::Display for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Stdout(_) => f.write_str("stdout"),
            Self::File(path, _) => path.display().fmt(f),
        }
    }
}

impl AccessLog {
    /// The form of its lines, if there are any.
    pub(crate) fn format(&self) -> Option<LogFormat> {
        match self {
            Self::Off => None,
            Self::Stdout(format) | Self::File(_, format) => Some(*format),
        }
    }
}

/// The writer's thread.
pub(crate) struct Writer {
    sender: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

/// A worker's way to the writer.
pub(crate) struct Sink {
    sender: Option<SyncSender<Vec<u8>>>,
    registry: Arc<Registry>,
}

impl Writer {
    /// Opens the log and starts the thread.
    pub(crate) fn start(log: &AccessLog) -> io::Result<Self> {
        let target: Box<dyn Write + Send> = match log {
            AccessLog::Off => return Ok(Self::none()),
            AccessLog::Stdout(_) => Box::new(io::stdout()),
            AccessLog::File(path, _) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let (sender, receiver) = sync_channel(QUEUE);
        let thread =
            std::thread::Builder::new().name("proxy-log".to_owned()).spawn(move || write_all(receiver, target))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// A log that goes nowhere.
    pub(crate) fn none() -> Self {
        Self { sender: None, thread: None }
    }

    /// A way to it.
    pub(crate) fn sink(&self, registry: Arc<Registry>) -> Sink {
        Sink { sender: self.sender.clone(), registry }
    }

    /// Waits until everything is written; all sinks must be gone.
    pub(crate) fn finish(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the access log's writer died");
        }
    }
}

fn write_all(receiver: Receiver<Vec<u8>>, mut target: Box<dyn Write + Send>) {
    let mut failing = false;
    for buffer in receiver {
        match target.write_all(&buffer).and_then(|()| target.flush()) {
            Ok(()) => failing = false,
            // Said once per streak: a full disk must not fill the other log.
            Err(error) if !failing => {
                tracing::error!(%error, "can't write the access log");
                failing = true;
            }
            Err(_) => {}
        }
    }
}

impl Sink {
    /// Hands lines over; leaves the buffer empty.
    pub(crate) fn send(&self, buffer: &mut Vec<u8>) {
        let Some(sender) = &self.sender else { return buffer.clear() };
        if buffer.is_empty() {
            return;
        }
        let full = std::mem::replace(buffer, Vec::with_capacity(FLUSH_AT + 1024));
        if let Err(TrySendError::Full(lines) | TrySendError::Disconnected(lines)) = sender.try_send(full) {
            let count = lines.iter().filter(|byte| **byte == b'\n').count();
            self.registry.log_dropped.add_shared(count as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_find_no_room_are_counted() {
        let (sender, receiver) = sync_channel(1);
        let registry = Arc::new(Registry::default());
        let sink = Sink { sender: Some(sender), registry: Arc::clone(&registry) };
        for text in ["a\n", "b\nc\n", "d\n"] {
            let mut buffer = text.as_bytes().to_vec();
            sink.send(&mut buffer);
            assert!(buffer.is_empty());
        }
        assert_eq!(registry.log_dropped.get(), 3);
        assert_eq!(receiver.try_recv().ok(), Some(b"a\n".to_vec()));
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_an_error() {
        let log = AccessLog::File("/nonexistent/directory/log".into(), LogFormat::Text);
        assert!(Writer::start(&log).is_err());
    }
}
