//! Counters.

use std::sync::atomic::{AtomicU64, Ordering};

use foregate_envoy::ResourceKind;

use crate::store::Entry;
use crate::stream::Response;

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

/// Bytes of resources that were sent, by kind: names, versions and bodies, before any encryption.
#[derive(Debug, Default)]
pub(crate) struct SentBytes([AtomicU64; ResourceKind::ALL.len()]);

impl SentBytes {
    /// A response to an engine.
    pub(crate) fn response(&self, response: &Response) {
        let sent = response.resources.iter().map(|sent| sent.name.len() + sent.version.len() + sent.body.len());
        let removed = response.removed.iter().map(|name| name.len());
        self.add(response.kind, sent.chain(removed).sum());
    }

    /// A resource to a relay.
    pub(crate) fn entry(&self, entry: &Entry) {
        let resource = &entry.resource;
        self.add(resource.id.kind, resource.id.name.len() + resource.version.len() + resource.body.len());
    }

    /// So many bytes of a kind.
    pub(crate) fn add(&self, kind: ResourceKind, bytes: usize) {
        self.0[kind as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// All kinds, with what was sent of each.
    pub(crate) fn read(&self) -> Vec<(ResourceKind, u64)> {
        let bytes = |kind: ResourceKind| self.0[kind as usize].load(Ordering::Relaxed);
        ResourceKind::ALL.into_iter().map(|kind| (kind, bytes(kind))).collect()
    }
}
