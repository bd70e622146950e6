//! Pauses between attempts to watch the platform's API.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
/// As for the configuration itself: what a platform that is back wants is done soon.
const LONGEST: Duration = Duration::from_secs(3);

/// Pauses that double, with chance in them so that many nodes don't come back together.
#[derive(Clone, Debug)]
pub(super) struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        Some(whole.mul_f64(rand::random_range(0.5..1.0)))
    }
}

impl kube::runtime::utils::Backoff for Pauses {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest() {
        let pauses: Vec<Duration> = Pauses::default().take(10).collect();
        for (pause, whole) in pauses.iter().zip([200, 400, 800, 1600, 3000, 3000]) {
            let whole = Duration::from_millis(whole);
            assert!(*pause >= whole / 2 && *pause <= whole, "{pauses:?}");
        }
    }
}
