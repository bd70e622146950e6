//! Prometheus metrics: kept per worker, summed when they are read.

pub(crate) mod counter;
mod text;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::limit::ConnectionLimit;
use counter::{Counter, Histogram};
pub(crate) use text::render;

/// One worker's numbers of one listener.
#[derive(Debug, Default)]
pub(crate) struct ListenerStats {
    /// Requests by the hundreds of their status; 0 for none.
    pub(crate) requests: [Counter; 6],
    /// From the first byte of a request to the last of its response.
    pub(crate) duration: Histogram,
    /// Bytes of request bodies.
    pub(crate) bytes_in: Counter,
    /// Bytes of response bodies.
    pub(crate) bytes_out: Counter,
    /// Connections since the beginning.
    pub(crate) connections: Counter,
    /// Connections now.
    pub(crate) connections_active: Counter,
    /// Requests now.
    pub(crate) requests_active: Counter,
    /// TLS handshakes that failed.
    pub(crate) handshake_failures: Counter,
    /// What was no HTTP, or too large, or too slow.
    pub(crate) bad_requests: Counter,
    /// Connections that no filter chain is for.
    pub(crate) unmatched: Counter,
    /// Connections, and sessions of UDP, for which there is no endpoint.
    pub(crate) unconnected: Counter,
    /// Questions about requests: those that let it pass, those that didn't, those without an answer.
    pub(crate) asked: [Counter; 3],
    /// Bytes of clients that are passed on as they are.
    pub(crate) received: Counter,
    /// Bytes to clients that are passed on as they are.
    pub(crate) sent: Counter,
}

/// One worker's numbers of one cluster.
#[derive(Debug, Default)]
pub(crate) struct ClusterStats {
    /// Requests by the hundreds of their status; 0 for none.
    pub(crate) requests: [Counter; 6],
    /// Connections since the beginning.
    pub(crate) connections: Counter,
    /// Connections now.
    pub(crate) connections_active: Counter,
    /// Connections that couldn't be made.
    pub(crate) connect_failures: Counter,
    /// And those among them that failed in the TLS handshake.
    pub(crate) tls_failures: Counter,
    /// Connections that broke before a response.
    pub(crate) resets: Counter,
    /// Requests that took too long.
    pub(crate) timeouts: Counter,
    /// Requests that were sent again.
    pub(crate) retries: Counter,
    /// Requests that found no endpoint.
    pub(crate) no_endpoint: Counter,
    /// Copies of requests.
    pub(crate) mirrored: Counter,
    /// How often endpoints were left out, as they only failed.
    pub(crate) ejections: Counter,
    /// Bytes to endpoints that are passed on as they are.
    pub(crate) sent: Counter,
    /// Bytes of endpoints that are passed on as they are.
    pub(crate) received: Counter,
}

/// Upper bounds of the latency buckets of routes, in microseconds: few, as there may be many routes.
pub(crate) const ROUTE_BUCKETS: [u64; 6] = [1_000, 5_000, 25_000, 100_000, 500_000, 2_500_000];

/// One worker's numbers of one route.
#[derive(Debug, Default)]
pub(crate) struct RouteStats {
    /// Requests by the hundreds of their status; 0 for none.
    pub(crate) requests: [Counter; 6],
    /// One more than bounds: the last one has none.
    pub(crate) buckets: [Counter; ROUTE_BUCKETS.len() + 1],
    /// Sum of all durations, in microseconds.
    pub(crate) sum: Counter,
}

impl RouteStats {
    /// Counts a request.
    #[inline]
    pub(crate) fn observe(&self, status: u16, micros: u64) {
        self.requests[usize::from(status / 100).min(5)].inc();
        let bucket = ROUTE_BUCKETS.iter().position(|bound| micros <= *bound).unwrap_or(ROUTE_BUCKETS.len());
        self.buckets[bucket].inc();
        self.sum.add(micros);
    }
}

/// An instance's numbers of its control side.
#[derive(Debug, Default)]
pub(crate) struct ControlStats {
    /// Version of the snapshot.
    pub(crate) generation: Counter,
    /// Refused responses.
    pub(crate) nacks: Counter,
    /// Accepted responses.
    pub(crate) acks: Counter,
    /// Whether the stream is up.
    pub(crate) connected: Counter,
}

struct Entry<S> {
    instance: Arc<str>,
    name: Arc<str>,
    stats: Arc<S>,
}

/// Shards of one sort.
struct Shards<S> {
    entries: Vec<Entry<S>>,
    /// Above this length, entries that nobody else holds are looked for.
    clean_at: usize,
}

impl<S> Default for Shards<S> {
    fn default() -> Self {
        Self { entries: Vec::new(), clean_at: 64 }
    }
}

/// All numbers of an engine.
#[derive(Default)]
pub(crate) struct Registry {
    listeners: Mutex<Shards<ListenerStats>>,
    clusters: Mutex<Shards<ClusterStats>>,
    routes: Mutex<Shards<RouteStats>>,
    instances: Mutex<Shards<ControlStats>>,
    /// Access log lines that found no room.
    pub(crate) log_dropped: Counter,
    /// Spans that collectors have taken.
    pub(crate) spans_exported: Counter,
    /// Spans that found no room, or no collector that takes them.
    pub(crate) spans_dropped: Counter,
    /// How many connections there may be.
    pub(crate) limit: ConnectionLimit,
}

/// Entries that nobody else holds are gone; their numbers go with them.
fn clean<S>(shards: &mut Shards<S>) {
    shards.entries.retain(|entry| Arc::strong_count(&entry.stats) > 1);
    shards.clean_at = (shards.entries.len() * 2).max(64);
}

fn register<S: Default>(shards: &Mutex<Shards<S>>, instance: &Arc<str>, name: &Arc<str>) -> Arc<S> {
    let stats = Arc::new(S::default());
    let mut shards = shards.lock();
    if shards.entries.len() >= shards.clean_at {
        clean(&mut shards);
    }
    shards.entries.push(Entry { instance: Arc::clone(instance), name: Arc::clone(name), stats: Arc::clone(&stats) });
    stats
}

impl Registry {
    /// An engine's numbers, with a bound on its connections.
    pub(crate) fn limited(limit: ConnectionLimit) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Lets go of what is gone, before the numbers are read.
    fn clean(&self) {
        clean(&mut self.listeners.lock());
        clean(&mut self.clusters.lock());
        clean(&mut self.routes.lock());
        clean(&mut self.instances.lock());
    }

    /// A worker's shard of a listener.
    pub(crate) fn listener(&self, instance: &Arc<str>, name: &Arc<str>) -> Arc<ListenerStats> {
        register(&self.listeners, instance, name)
    }

    /// A worker's shard of a cluster.
    pub(crate) fn cluster(&self, instance: &Arc<str>, name: &Arc<str>) -> Arc<ClusterStats> {
        register(&self.clusters, instance, name)
    }

    /// A worker's shard of a route.
    pub(crate) fn route(&self, instance: &Arc<str>, name: &Arc<str>) -> Arc<RouteStats> {
        register(&self.routes, instance, name)
    }

    /// An instance's numbers.
    pub(crate) fn instance(&self, instance: &Arc<str>) -> Arc<ControlStats> {
        register(&self.instances, instance, instance)
    }
}
