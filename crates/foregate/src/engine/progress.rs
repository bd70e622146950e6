//! A line on the terminal that says how a download goes, once that takes long.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What is faster needs no words, in milliseconds.
const QUICK: u64 = 2000;
/// Between two lines, in milliseconds.
const PACE: u64 = 200;

/// The line.
pub struct Line {
    begun: Instant,
    terminal: bool,
    /// Milliseconds after the beginning; 0: not yet.
    shown: AtomicU64,
}

impl Line {
    pub fn new() -> Self {
        Self { begun: Instant::now(), terminal: std::io::stderr().is_terminal(), shown: AtomicU64::new(0) }
    }

    /// So many bytes are there, of so many.
    pub fn show(&self, done: u64, total: Option<u64>) {
        let now = self.begun.elapsed().as_millis() as u64;
        if !self.terminal || now < QUICK || now < self.shown.load(Ordering::Relaxed) + PACE {
            return;
        }
        self.shown.store(now, Ordering::Relaxed);
        let of = total.map_or_else(String::new, |total| format!(" of {}", total >> 20));
        eprint!("\r{}{of} MiB ", done >> 20);
        let _ = std::io::stderr().flush();
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.shown.load(Ordering::Relaxed) > 0 {
            eprint!("\r{:30}\r", "");
        }
    }
}
