//! A cluster as a worker sees it: hosts with their pools, limits, counters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::balance::Turns;
use super::host::Host;
use super::instance::Local;
use super::sweep::ticks;
use crate::config::cluster::Balance;
use crate::metrics::{ClusterStats, Registry};
use crate::shared::InstanceShared;
use crate::snapshot::Cluster;

/// A worker's state of one cluster.
pub(super) struct Upstream {
    pub(super) name: Arc<str>,
    current: RefCell<Local<Cluster>>,
    hosts: RefCell<Vec<Rc<Host>>>,
    turns: RefCell<Turns>,
    pub(super) stats: Arc<ClusterStats>,
    /// Requests under way.
    pub(super) active: Cell<u32>,
    /// Retries under way.
    pub(super) retrying: Cell<u32>,
    /// Connections that are open.
    pub(super) open: Rc<Cell<u32>>,
}

impl Upstream {
    pub(super) fn new(instance: &InstanceShared, cluster: &Arc<Cluster>, registry: &Registry) -> Rc<Self> {
        let name = Arc::clone(&cluster.slot.name);
        let upstream = Rc::new(Self {
            stats: registry.cluster(&instance.name, &name),
            name,
            current: RefCell::new(Rc::new(Arc::clone(cluster))),
            hosts: RefCell::new(Vec::new()),
            turns: RefCell::new(Turns::default()),
            active: Cell::new(0),
            retrying: Cell::new(0),
            open: Rc::new(Cell::new(0)),
        });
        upstream.replace_hosts(cluster);
        upstream
    }

    #[inline]
    pub(super) fn is_current(&self, cluster: &Arc<Cluster>) -> bool {
        Arc::ptr_eq(&self.current.borrow(), cluster)
    }

    /// Brings it in line with a newer version of the same cluster.
    pub(super) fn sync(&self, cluster: &Arc<Cluster>) {
        if self.is_current(cluster) {
            return;
        }
        let old = self.current.replace(Rc::new(Arc::clone(cluster)));
        if old.endpoints != cluster.endpoints {
            self.replace_hosts(cluster);
        }
    }

    pub(super) fn cluster(&self) -> Local<Cluster> {
        Rc::clone(&self.current.borrow())
    }

    /// Hosts that stay keep their connections; the others' idle ones are closed, busy ones finish.
    fn replace_hosts(&self, cluster: &Cluster) {
        let mut old: HashMap<SocketAddr, Rc<Host>> =
            self.hosts.take().into_iter().map(|host| (host.address, host)).collect();
        let hosts: Vec<Rc<Host>> = cluster
            .endpoints
            .iter()
            .map(|endpoint| old.remove(&endpoint.address).unwrap_or_else(|| Host::new(endpoint.address)))
            .collect();
        for gone in old.into_values() {
            gone.retire();
        }
        *self.turns.borrow_mut() = Turns::new(cluster.endpoints.iter().map(|endpoint| endpoint.weight));
        *self.hosts.borrow_mut() = hosts;
    }

    /// Closes connections that have been idle for too long.
    pub(super) fn prune(&self, now: u32) {
        let limit = ticks(self.current.borrow().config.idle_timeout);
        for host in self.hosts.borrow().iter() {
            host.prune(|since| limit > 0 && now.wrapping_sub(since) > limit);
        }
    }

    /// Chooses a host; not `avoid`, if there is another.
    pub(super) fn choose(&self, avoid: Option<SocketAddr>) -> Option<Rc<Host>> {
        let hosts = self.hosts.borrow();
        let balance = self.current.borrow().config.balance;
        let mut turns = self.turns.borrow_mut();
        let mut choice = None;
        // Two tries are enough unless the weights say otherwise; a bounded number never hangs.
        for _ in 0..4 {
            let index = match balance {
                Balance::RoundRobin => turns.next()?,
                Balance::Random => turns.random()?,
                Balance::LeastRequest => {
                    let (one, other) = (turns.random()?, turns.random()?);
                    if hosts[one].active.get() <= hosts[other].active.get() { one } else { other }
                }
            };
            choice = Some(&hosts[index]);
            if hosts.len() == 1 || avoid.is_none_or(|avoid| hosts[index].address != avoid) {
                break;
            }
        }
        choice.cloned()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        for host in self.hosts.get_mut() {
            host.retire();
        }
    }
}
