//! What an Envoy prints becomes log lines of the agent: bounded, and rate limited.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest part of a line that is kept, in bytes.
const MAX_LINE: usize = 2048;
/// Lines within a [`PERIOD`] that are logged; more are counted.
const BURST: u32 = 50;
const PERIOD: Duration = Duration::from_secs(5);

/// `--log-format`, with `--log-format-escaped`: a message is one line.
pub(crate) const FORMAT: &str = "%l %n: %v";

/// What it warns of when the agent itself has told it to take over, to drain or to end, or has closed its stream.
const ROUTINE: [&str; 4] = [
    "shutting down admin due to child startup",
    "terminating parent process",
    "caught ENVOY_SIGTERM",
    "gRPC config stream to foregate-agent closed",
];

/// The last thing that an Envoy said before it ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastWords(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    error: Option<String>,
    any: Option<String>,
}

impl LastWords {
    /// The last error, or else the last line; empty if it said nothing.
    pub(crate) fn get(&self) -> String {
        let said = self.0.lock();
        said.error.clone().or_else(|| said.any.clone()).unwrap_or_default()
    }

    fn hear(&self, level: Level, text: &str) {
        // "exiting" is the last line of every Envoy that can't start, with nothing in it.
        if text.is_empty() || text.ends_with("exiting") {
            return;
        }
        let mut said = self.0.lock();
        let place = if level >= Level::Error { &mut said.error } else { &mut said.any };
        *place = Some(text.to_owned());
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Info,
    Warning,
    Error,
}

/// Reads a stream to its end.
pub(crate) async fn take_in(instance: String, stream: impl AsyncRead + Unpin, words: LastWords) {
    let mut lines = Lines::new(stream);
    let mut rate = Rate::new(Instant::now());
    while let Some(line) = lines.next().await {
        let (level, text) = read(&line);
        words.hear(level, text);
        let (allowed, dropped) = rate.allow(Instant::now());
        if dropped > 0 {
            tracing::warn!(%instance, dropped, "Envoy said more than is logged");
        }
        if allowed {
            log(&instance, level, text);
        }
    }
}

fn log(instance: &str, level: Level, text: &str) {
    match level {
        _ if ROUTINE.iter().any(|words| text.contains(words)) => tracing::debug!(target: "envoy", %instance, "{text}"),
        Level::Info => tracing::info!(target: "envoy", %instance, "{text}"),
        Level::Warning => tracing::warn!(target: "envoy", %instance, "{text}"),
        Level::Error => tracing::error!(target: "envoy", %instance, "{text}"),
    }
}

/// A line's level, and the line without it. What isn't in our format didn't come through Envoy's logger: an abort, or a
/// script's error.
fn read(line: &str) -> (Level, &str) {
    let known = |word| match word {
        "trace" | "debug" | "info" => Some(Level::Info),
        "warning" | "warn" => Some(Level::Warning),
        "error" | "critical" => Some(Level::Error),
        _ => None,
    };
    match line.split_once(' ').and_then(|(word, rest)| Some((known(word)?, rest))) {
        Some((level, text)) => (level, text.trim_end()),
        None => (Level::Warning, line.trim_end()),
    }
}

/// Lines of a stream; longer ones are cut.
struct Lines<R> {
    stream: R,
    buffer: Vec<u8>,
    line: Vec<u8>,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(stream: R) -> Self {
        Self { stream, buffer: Vec::with_capacity(4096), line: Vec::new(), ended: false }
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let part = std::mem::replace(&mut self.buffer, rest);
                self.keep(&part[..end]);
                return Some(self.take());
            }
            let part = std::mem::take(&mut self.buffer);
            self.keep(&part);
            if self.ended {
                return (!self.line.is_empty()).then(|| self.take());
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).await {
                Ok(0) | Err(_) => self.ended = true,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }

    fn keep(&mut self, part: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn take(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        text
    }
}

/// So many lines in a period.
struct Rate {
    since: Instant,
    count: u32,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self { since: now, count: 0 }
    }

    /// Whether a line may be logged, and how many were not in a period that is over.
    fn allow(&mut self, now: Instant) -> (bool, u32) {
        let mut dropped = 0;
        if now.duration_since(self.since) >= PERIOD {
            dropped = self.count.saturating_sub(BURST);
            *self = Self::new(now);
        }
        self.count = self.count.saturating_add(1);
        (self.count <= BURST, dropped)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn levels_are_read_and_the_rest_is_a_warning() {
        assert_eq!(read("critical main: error initializing"), (Level::Error, "main: error initializing"));
        assert_eq!(read("warning config: x "), (Level::Warning, "config: x"));
        assert_eq!(read("info main: y"), (Level::Info, "main: y"));
        assert_eq!(read("/bin/sh: no such thing"), (Level::Warning, "/bin/sh: no such thing"));
    }

    #[tokio::test]
    async fn the_last_error_is_remembered_and_a_flood_is_cut() {
        let words = LastWords::default();
        let text = format!("critical main: cannot bind\ninfo main: {}\nwarning main: exiting\n", "x".repeat(10_000));
        take_in("i".into(), text.as_bytes(), words.clone()).await;
        assert_eq!(words.get(), "main: cannot bind");
        let mut lines = Lines::new(text.as_bytes());
        lines.next().await.unwrap();
        assert_eq!(lines.next().await.unwrap().len(), MAX_LINE);
        assert_eq!(lines.next().await.unwrap(), "warning main: exiting");
        assert_eq!(lines.next().await, None);
        let unfinished = LastWords::default();
        take_in("i".into(), "sh: not found".as_bytes(), unfinished.clone()).await;
        assert_eq!(unfinished.get(), "sh: not found");
    }

    #[test]
    fn a_burst_is_logged_and_the_rest_counted() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        assert_eq!((0..60).filter(|_| rate.allow(start).0).count(), BURST as usize);
        assert_eq!(rate.allow(start + PERIOD), (true, 10));
        assert_eq!(rate.allow(start + PERIOD), (true, 0));
    }
}
