//! Pauses between attempts.

use std::time::Duration;

/// Pauses that double, with chance in them so that many who failed together don't come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        // The clock's last digits are chance enough.
        let chance = jiff::Timestamp::now().subsec_nanosecond().unsigned_abs() % 1000;
        Some(whole / 2 + whole * chance / 2000)
    }
}

impl kube::runtime::utils::Backoff for Backoff {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest() {
        let pauses: Vec<Duration> = Backoff::default().take(12).collect();
        for (pause, whole) in pauses.iter().zip([200, 400, 800, 1600, 3200, 5000, 5000]) {
            let whole = Duration::from_millis(whole);
            assert!(*pause >= whole / 2 && *pause <= whole, "{pauses:?}");
        }
    }
}
