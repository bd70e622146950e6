//! How long to wait before an engine that has failed is started again.

use std::time::{Duration, Instant};

/// The first pause after a second failure in a row.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);
/// Who has run for so long has recovered: the next failure is a first one again.
const RECOVERED: Duration = Duration::from_secs(60);

/// Pauses that grow with failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// An engine that was started at `started` has failed at `now`: how long to wait. A first failure after a long run
    /// costs no pause.
    pub(crate) fn failed(&mut self, started: Instant, now: Instant) -> Duration {
        if now.duration_since(started) >= RECOVERED {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        match self.failures {
            1 => Duration::ZERO,
            failures => FIRST.saturating_mul(1 << (failures - 2).min(16)).min(LONGEST),
        }
    }

    /// Something else is tried.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_cap_and_end_with_a_long_run() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..10).map(|_| backoff.failed(start, start).as_millis() as u64).collect();
        assert_eq!(pauses, [0, 250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(backoff.failed(start, start + RECOVERED), Duration::ZERO);
        assert_eq!(backoff.failed(start, start), FIRST);
        for _ in 0..100 {
            backoff.failed(start, start);
        }
        assert_eq!(backoff.failed(start, start), LONGEST);
    }
}
