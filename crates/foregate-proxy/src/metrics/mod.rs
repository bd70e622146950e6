//! Prometheus metrics: kept per worker, summed when they are read.

pub(crate) mod counter;
mod text;

use std::sync::Arc;

use parking_lot::Mutex;

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

/// All numbers of an engine.
#[derive(Default)]
pub(crate) struct Registry {
    listeners: Mutex<Vec<Entry<ListenerStats>>>,
    clusters: Mutex<Vec<Entry<ClusterStats>>>,
    instances: Mutex<Vec<Entry<ControlStats>>>,
    /// Access log lines that found no room.
    pub(crate) log_dropped: Counter,
}

/// Entries that nobody else holds are gone; their numbers go with them.
fn register<S: Default>(list: &Mutex<Vec<Entry<S>>>, instance: &Arc<str>, name: &Arc<str>) -> Arc<S> {
    let stats = Arc::new(S::default());
    let mut list = list.lock();
    list.retain(|entry| Arc::strong_count(&entry.stats) > 1);
    list.push(Entry { instance: Arc::clone(instance), name: Arc::clone(name), stats: Arc::clone(&stats) });
    stats
}

impl Registry {
    /// A worker's shard of a listener.
    pub(crate) fn listener(&self, instance: &Arc<str>, name: &Arc<str>) -> Arc<ListenerStats> {
        register(&self.listeners, instance, name)
    }

    /// A worker's shard of a cluster.
    pub(crate) fn cluster(&self, instance: &Arc<str>, name: &Arc<str>) -> Arc<ClusterStats> {
        register(&self.clusters, instance, name)
    }

    /// An instance's numbers.
    pub(crate) fn instance(&self, instance: &Arc<str>) -> Arc<ControlStats> {
        register(&self.instances, instance, instance)
    }
}
