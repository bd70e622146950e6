//! A cluster as a worker sees it: hosts with their pools, limits, counters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::balance::Turns;
use super::dial::Speak;
use super::host::Host;
use super::instance::Local;
use super::outlier::may_leave_out;
use super::sweep::ticks;
use crate::config::cluster::Balance;
use crate::config::protocol::Protocol;
use crate::metrics::{ClusterStats, Registry};
use crate::shared::InstanceShared;
use crate::snapshot::{Address, Cluster, Endpoint};

/// Requests don't wait longer for endpoints that aren't known yet.
const WARMING: Duration = Duration::from_secs(5);

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
    /// Requests that wait for a connection.
    pub(super) pending: Cell<u32>,
    /// Connections that are open.
    pub(super) open: Rc<Cell<u32>>,
    /// The worker's ticks.
    tick: Rc<Cell<u32>>,
    /// Hosts that are left out, or were until a moment ago.
    out: Cell<u32>,
    /// Told when there is a newer version of the cluster.
    changed: Notify,
}

impl Upstream {
    pub(super) fn new(
        instance: &InstanceShared,
        tick: &Rc<Cell<u32>>,
        cluster: &Arc<Cluster>,
        registry: &Registry,
    ) -> Rc<Self> {
        let name = Arc::clone(&cluster.slot.name);
        let upstream = Rc::new(Self {
            stats: registry.cluster(&instance.name, &name),
            name,
            current: RefCell::new(Rc::new(Arc::clone(cluster))),
            hosts: RefCell::new(Vec::new()),
            turns: RefCell::new(Turns::default()),
            active: Cell::new(0),
            retrying: Cell::new(0),
            pending: Cell::new(0),
            tick: Rc::clone(tick),
            out: Cell::new(0),
            changed: Notify::new(),
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
        if old.config.transport != cluster.config.transport {
            // Connections of the old kind are no use: all hosts are new ones.
            self.hosts.take().iter().for_each(|host| host.retire());
            self.replace_hosts(cluster);
        } else if old.endpoints != cluster.endpoints {
            self.replace_hosts(cluster);
        }
        self.changed.notify_waiters();
    }

    /// Chooses a host of a cluster whose endpoints will be known in a moment.
    pub(super) async fn choose_when_warm(&self, hash: Option<u64>) -> Option<Rc<Host>> {
        let warm = async {
            loop {
                let changed = self.changed.notified();
                if !self.current.borrow().warming {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(WARMING, warm).await;
        self.choose(hash, None)
    }

    pub(super) fn cluster(&self) -> Local<Cluster> {
        Rc::clone(&self.current.borrow())
    }

    /// Hosts that stay keep their connections; the others' idle ones are closed, busy ones finish.
    fn replace_hosts(&self, cluster: &Cluster) {
        let mut old: HashMap<Address, Rc<Host>> =
            self.hosts.take().into_iter().map(|host| (host.address.clone(), host)).collect();
        let mut known = |endpoint: &Endpoint| {
            let same = old.get(&endpoint.address).is_some_and(|host| host.name == endpoint.name);
            same.then(|| old.remove(&endpoint.address)).flatten()
        };
        let hosts: Vec<Rc<Host>> =
            cluster.endpoints.iter().map(|endpoint| known(endpoint).unwrap_or_else(|| Host::new(endpoint))).collect();
        for gone in old.into_values() {
            gone.retire();
        }
        *self.turns.borrow_mut() = Turns::new(cluster.endpoints.iter().map(|endpoint| endpoint.weight));
        *self.hosts.borrow_mut() = hosts;
    }

    /// Closes connections that have been idle for too long.
    pub(super) fn prune(&self, now: u32) {
        let cluster = self.current.borrow();
        let http = &cluster.config.http;
        let (idle, age) = (ticks(http.idle_timeout), ticks(http.max_connection_duration));
        let over = |since: u32, limit: u32| limit > 0 && now.wrapping_sub(since) > limit;
        for host in self.hosts.borrow().iter() {
            host.prune(|since| over(since, idle), |opened| over(opened, age));
        }
    }

    /// The worker's tick.
    pub(super) fn tick(&self) -> u32 {
        self.tick.get()
    }

    /// Whether a connection that has carried so many requests may carry more.
    pub(super) fn may_keep(&self, used: u32, opened: u32, now: u32) -> bool {
        let cluster = self.current.borrow();
        let http = &cluster.config.http;
        let age = ticks(http.max_connection_duration);
        http.max_requests_per_connection.is_none_or(|max| used < max) && (age == 0 || now.wrapping_sub(opened) <= age)
    }

    /// What is spoken with an endpoint for a request.
    pub(super) fn speak(&self, version: http::Version, upgrading: bool) -> Speak {
        match self.current.borrow().config.http.protocol {
            // Connections that become something else begin as HTTP/1.1.
            _ if upgrading => Speak::Http1,
            Protocol::Http1 => Speak::Http1,
            Protocol::Http2 => Speak::Http2,
            Protocol::Negotiated => Speak::Either,
            Protocol::AsClient if version == http::Version::HTTP_2 => Speak::Http2,
            Protocol::AsClient => Speak::Http1,
        }
    }

    /// The host with this address.
    pub(super) fn host_at(&self, address: &str) -> Option<Rc<Host>> {
        self.hosts.borrow().iter().find(|host| *host.text == *address).cloned()
    }

    /// Chooses a host, the one that `hash` belongs to if the cluster goes by that; not `avoid`, if there is another.
    pub(super) fn choose(&self, hash: Option<u64>, avoid: Option<&Rc<Host>>) -> Option<Rc<Host>> {
        let hosts = self.hosts.borrow();
        let cluster = self.current.borrow();
        let choice = self.choose_any(&hosts, &cluster, hash, avoid)?;
        if self.out.get() == 0 || !choice.record.is_out(self.tick.get()) {
            return Some(choice);
        }
        Some(self.in_place_of(choice, &hosts, &cluster))
    }

    /// Another one for a host that is left out: the next that isn't, unless too few are left.
    fn in_place_of(&self, choice: Rc<Host>, hosts: &[Rc<Host>], cluster: &Cluster) -> Rc<Host> {
        let now = self.tick.get();
        let out = hosts.iter().filter(|host| host.record.is_out(now)).count();
        self.out.set(u32::try_from(out).unwrap_or(u32::MAX));
        let left = (hosts.len() - out) as f64 * 100.0 / hosts.len() as f64;
        if left < cluster.config.panic_percent {
            return choice;
        }
        let start = rand::random_range(0..hosts.len());
        let (before, after) = hosts.split_at(start);
        let other = after.iter().chain(before).find(|host| !host.record.is_out(now));
        other.map_or(choice, Rc::clone)
    }

    /// Notes what came of an endpoint: the status of an answer, or nothing.
    pub(super) fn judge(&self, host: &Host, status: Option<u16>) {
        let cluster = self.current.borrow();
        let Some(outlier) = &cluster.config.outlier else { return };
        let now = self.tick.get();
        if !host.record.note(outlier, status) || host.record.is_out(now) {
            return;
        }
        let hosts = self.hosts.borrow();
        let out = hosts.iter().filter(|host| host.record.is_out(now)).count();
        if may_leave_out(outlier, out, hosts.len()) {
            host.record.leave_out(outlier, now);
            self.out.set(self.out.get() + 1);
            self.stats.ejections.inc();
            tracing::info!(cluster = %self.name, endpoint = %host.address, "an endpoint that only fails is left out");
        }
    }

    fn choose_any(
        &self,
        hosts: &[Rc<Host>],
        cluster: &Cluster,
        hash: Option<u64>,
        avoid: Option<&Rc<Host>>,
    ) -> Option<Rc<Host>> {
        if let Some(table) = &cluster.table {
            let avoid = avoid.and_then(|avoid| hosts.iter().position(|host| host.address == avoid.address));
            return hosts.get(table.choose(hash.unwrap_or_else(rand::random), avoid)).cloned();
        }
        let mut turns = self.turns.borrow_mut();
        let mut choice = None;
        // Two tries are enough unless the weights say otherwise; a bounded number never hangs.
        for _ in 0..4 {
            let index = match cluster.config.balance {
                Balance::RoundRobin => turns.next()?,
                Balance::Random | Balance::Hash { .. } => turns.random()?,
                Balance::LeastRequest { of } => least_busy(hosts, &turns, of)?,
            };
            choice = Some(&hosts[index]);
            // By address: it may have gone and come again meanwhile.
            if hosts.len() == 1 || avoid.is_none_or(|avoid| avoid.address != hosts[index].address) {
                break;
            }
        }
        choice.cloned()
    }
}

/// The one with the fewest requests under way of some by chance.
fn least_busy(hosts: &[Rc<Host>], turns: &Turns, of: u32) -> Option<usize> {
    let mut best = turns.random()?;
    for _ in 1..of {
        let other = turns.random()?;
        if hosts[other].active.get() < hosts[best].active.get() {
            best = other;
        }
    }
    Some(best)
}

impl Drop for Upstream {
    fn drop(&mut self) {
        for host in self.hosts.get_mut() {
            host.retire();
        }
    }
}
