//! Counters with one writer: no lock and no locked instruction on the request path.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread changes and any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the owning worker may call it: two writers would lose counts.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Adds one.
    #[inline]
    pub(crate) fn inc(&self) {
        self.add(1);
    }

    /// Takes one away.
    #[inline]
    pub(crate) fn dec(&self) {
        self.add(u64::MAX);
    }

    /// Adds, from any thread.
    pub(crate) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the number.
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}

/// Upper bounds of the latency buckets, in microseconds.
pub(crate) const BUCKETS: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000, 30_000_000,
];

/// A latency histogram.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// One more than bounds: the last one has none.
    pub(crate) buckets: [Counter; BUCKETS.len() + 1],
    /// Sum of all, in microseconds.
    pub(crate) sum: Counter,
}

impl Histogram {
    /// Counts a duration.
    #[inline]
    pub(crate) fn observe(&self, micros: u64) {
        let bucket = BUCKETS.iter().position(|bound| micros <= *bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket].inc();
        self.sum.add(micros);
    }
}
