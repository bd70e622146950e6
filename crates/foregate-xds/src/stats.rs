//! Counters.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters over all streams of a cache; all but `streams` only grow.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64),* }

        /// A copy of the counters.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats { $($(#[$doc])* pub $name: u64),* }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counters! {
    /// Streams that are open now.
    streams,
    /// Responses sent.
    responses,
    /// Resources in them.
    resources,
    /// Removals in them.
    removals,
    /// Responses acknowledged.
    acks,
    /// Responses refused.
    nacks,
    /// Resources refused alone: culprits.
    culprits,
    /// Requests with an outdated nonce.
    stale_nonces,
    /// Resources sent though what they name was not acknowledged in time.
    forced,
    /// Requests for a type that isn't served.
    unknown_types,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        if n > 0 {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }
}
