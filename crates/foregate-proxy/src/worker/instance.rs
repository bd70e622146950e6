//! A worker's side of an instance: its copy of the snapshot, its clusters' pools, its sockets.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::connection::ListenerState;
use super::counts::RouteCounts;
use super::upstream::Upstream;
use crate::metrics::{Registry, RouteStats};
use crate::shared::InstanceShared;
use crate::slots::Slot;
use crate::snapshot::Snapshot;

/// A worker's own reference to something shared: requests clone this, so that no count is touched that another worker
/// touches too.
pub(super) type Local<T> = Rc<Arc<T>>;

/// A worker's reference to a snapshot.
pub(super) type Held = Local<Snapshot>;

pub(super) struct Instance {
    pub(super) shared: Arc<InstanceShared>,
    /// The worker's ticks.
    tick: Rc<Cell<u32>>,
    generation: Cell<u64>,
    held: RefCell<Held>,
    upstreams: RefCell<Vec<Option<Rc<Upstream>>>>,
    sockets: RefCell<HashMap<u64, Socket>>,
    routes: RouteCounts,
}

struct Socket {
    stop: CancellationToken,
    /// Whose its new connections are.
    listener: SocketOwner,
}

/// Whose a socket's new connections are; shared with the task that accepts them.
pub(super) type SocketOwner = Rc<RefCell<Rc<ListenerState>>>;

impl Instance {
    pub(super) fn new(shared: Arc<InstanceShared>, tick: Rc<Cell<u32>>) -> Self {
        let snapshot = shared.published.load();
        Self {
            shared,
            tick,
            generation: Cell::new(snapshot.generation),
            held: RefCell::new(Rc::new(snapshot)),
            upstreams: RefCell::new(Vec::new()),
            sockets: RefCell::new(HashMap::new()),
            routes: RouteCounts::default(),
        }
    }

    /// The newest snapshot; one atomic load if it is the one that is held.
    #[inline]
    pub(super) fn snapshot(&self) -> Held {
        if self.shared.published.generation() != self.generation.get() {
            self.reload();
        }
        Rc::clone(&self.held.borrow())
    }

    #[cold]
    fn reload(&self) {
        let snapshot = self.shared.published.load();
        self.generation.set(snapshot.generation);
        let old = self.held.replace(Rc::new(snapshot));
        drop(old);
    }

    /// Takes the newest snapshot, and brings pools in line: connections to endpoints that are gone are closed.
    pub(super) fn refresh(&self, clusters: &[u32]) {
        let snapshot = self.snapshot();
        let mut upstreams = self.upstreams.borrow_mut();
        for slot in clusters {
            let Some(entry) = upstreams.get_mut(*slot as usize) else { continue };
            let Some(upstream) = entry else { continue };
            match snapshot.clusters.get(*slot) {
                Some(cluster) if cluster.config.name == *upstream.name => upstream.sync(cluster),
                // Gone, or another one's slot now: requests under way keep what they hold.
                _ => *entry = None,
            }
        }
    }

    /// The pool of a cluster, in line with a snapshot.
    #[inline]
    pub(super) fn upstream(&self, snapshot: &Snapshot, slot: u32, registry: &Registry) -> Option<Rc<Upstream>> {
        let cluster = snapshot.clusters.get(slot)?;
        let mut upstreams = self.upstreams.borrow_mut();
        let index = slot as usize;
        if let Some(Some(upstream)) = upstreams.get(index) {
            if upstream.is_current(cluster) {
                return Some(Rc::clone(upstream));
            }
            if cluster.config.name == *upstream.name {
                upstream.sync(cluster);
                return Some(Rc::clone(upstream));
            }
        }
        if upstreams.len() <= index {
            upstreams.resize_with(index + 1, || None);
        }
        let upstream = Upstream::new(&self.shared, &self.tick, cluster, registry);
        upstreams[index] = Some(Rc::clone(&upstream));
        Some(upstream)
    }

    /// A route's counters.
    #[inline]
    pub(super) fn route_stats(&self, slot: &Arc<Slot>, registry: &Registry) -> Local<RouteStats> {
        self.routes.of(slot, &self.shared.name, registry)
    }

    /// Lets go of what is gone: an old snapshot, routes' counters, and connections to endpoints that have been idle for
    /// too long.
    pub(super) fn prune(&self, now: u32) {
        drop(self.snapshot());
        self.routes.clean(self.generation.get());
        for upstream in self.upstreams.borrow().iter().flatten() {
            upstream.prune(now);
        }
    }

    pub(super) fn opened(&self, key: u64, stop: CancellationToken, listener: SocketOwner) {
        self.sockets.borrow_mut().insert(key, Socket { stop, listener });
    }

    /// Stops accepting from a socket.
    pub(super) fn close(&self, key: u64) -> Option<Rc<ListenerState>> {
        let socket = self.sockets.borrow_mut().remove(&key)?;
        socket.stop.cancel();
        let listener = Rc::clone(&socket.listener.borrow());
        Some(listener)
    }

    /// Gives a socket to another listener; returns the one that had it.
    pub(super) fn move_socket(&self, key: u64, to: Rc<ListenerState>) -> Option<Rc<ListenerState>> {
        let sockets = self.sockets.borrow();
        Some(sockets.get(&key)?.listener.replace(to))
    }

    /// Stops accepting from all sockets.
    pub(super) fn close_all(&self) -> Vec<Rc<ListenerState>> {
        let keys: Vec<u64> = self.sockets.borrow().keys().copied().collect();
        keys.into_iter().filter_map(|key| self.close(key)).collect()
    }
}
