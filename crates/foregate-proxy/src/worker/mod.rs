//! A worker: one thread, one current_thread runtime, its own sockets, connections and upstream pools.
//!
//! Nothing here is shared with other workers but the published snapshot and the counters that a scrape reads.

mod accept;
mod affinity;
mod ask;
mod asked;
mod attempt;
mod balance;
mod body;
mod client_hello;
mod coalesce;
mod connection;
mod cors;
mod counts;
mod decode;
mod detect;
mod dial;
mod edits;
mod exchange;
mod flow;
mod format;
mod forward;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod head;
mod host;
mod http1;
mod http2;
mod instance;
mod io;
mod kept;
mod link;
mod local;
mod logging;
mod meter;
mod mirror;
mod multiplexed;
mod outlier;
mod payload;
mod plain;
mod pool;
mod prepared;
mod redirect;
mod replay;
mod saved;
mod service;
mod single;
mod stream;
mod strict;
mod sweep;
mod tcp;
mod trace;
mod tries;
mod udp;
mod upgrade;
mod upstream;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use crate::access_log::{LogFormat, Sink};
use crate::bind::BoundSocket;
use crate::metrics::Registry;
use crate::shared::InstanceShared;
use crate::slots::Slot;

use connection::ConnectionState;
use instance::Instance;
use logging::LogBuffer;

/// How often deadlines are looked at, and buffered log lines handed over.
const TICK: Duration = Duration::from_millis(250);

/// Bytes that are read at once where they are passed on as they are: no datagram is longer.
const SCRATCH: usize = 64 * 1024;

/// What the control thread asks of a worker.
pub(crate) enum Command {
    /// A new instance.
    Add(Arc<InstanceShared>),
    /// Accept connections from a socket.
    Listen {
        /// Whose.
        instance: u64,
        /// Names the socket.
        key: u64,
        /// The listener's slot: it is nobody else's as long as a connection of this one is open.
        slot: Arc<Slot>,
        /// The socket, non-blocking.
        socket: BoundSocket,
    },
    /// New connections of a socket are another listener's; the old one ends those that it has.
    Move {
        /// Whose.
        instance: u64,
        /// Names the socket.
        key: u64,
        /// The other listener's slot.
        slot: Arc<Slot>,
        /// For the old one's requests.
        drain: Duration,
    },
    /// Take no more connections from a socket, and end those that it has when their requests are done.
    Close {
        /// Whose.
        instance: u64,
        /// Names the socket.
        key: u64,
        /// For the requests.
        drain: Duration,
    },
    /// There is a new snapshot, with other clusters or endpoints.
    Refresh {
        /// Whose.
        instance: u64,
        /// The clusters that changed.
        clusters: Arc<[u32]>,
    },
    /// End an instance: close its sockets, drain, say when it is done.
    Remove {
        /// Which.
        instance: u64,
        /// For the requests.
        drain: Duration,
        /// Told at the end.
        done: oneshot::Sender<()>,
    },
}

/// A worker's own state.
pub(crate) struct Worker {
    /// Where counters live.
    registry: Arc<Registry>,
    /// The access log.
    log: LogBuffer,
    /// Counts ticks: a clock that costs nothing to read.
    tick: Rc<Cell<u32>>,
    /// All open client connections.
    connections: RefCell<Vec<Weak<ConnectionState>>>,
    instances: RefCell<HashMap<u64, Rc<Instance>>>,
    /// Where spans go.
    tracers: trace::Tracers,
    /// Buffers of heads, to be used again.
    heads: RefCell<Vec<Vec<u8>>>,
    /// Where connections read to what they pass on at once.
    scratch: RefCell<Box<[u8]>>,
    /// Buffers of what is to be sent, to be used again.
    outs: RefCell<Vec<Vec<u8>>>,
}

impl Worker {
    /// A worker; `format` says whether there is an access log.
    pub(crate) fn new(registry: Arc<Registry>, sink: Sink, format: Option<LogFormat>) -> Rc<Self> {
        Rc::new(Self {
            registry,
            log: LogBuffer::new(sink, format),
            tick: Rc::new(Cell::new(1)),
            connections: RefCell::new(Vec::new()),
            instances: RefCell::new(HashMap::new()),
            tracers: trace::Tracers::default(),
            heads: RefCell::new(Vec::new()),
            scratch: RefCell::new(vec![0; SCRATCH].into()),
            outs: RefCell::new(Vec::new()),
        })
    }

    /// Works until the control thread is gone.
    pub(crate) async fn run(self: Rc<Self>, mut commands: UnboundedReceiver<Command>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.execute(command),
                    None => break,
                },
                _ = ticks.tick() => {
                    self.tick.set(self.tick.get().wrapping_add(1));
                    self.sweep();
                    self.log.flush();
                }
            }
        }
        self.log.flush();
    }

    fn execute(self: &Rc<Self>, command: Command) {
        match command {
            Command::Add(shared) => {
                let key = shared.key;
                self.instances.borrow_mut().insert(key, Rc::new(Instance::new(shared, Rc::clone(&self.tick))));
            }
            Command::Listen { instance, key, slot, socket } => {
                if let Some(instance) = self.instance(instance) {
                    match socket {
                        BoundSocket::Tcp(socket) => accept::listen(self, &instance, key, slot, socket),
                        BoundSocket::Udp(socket) => udp::listen(self, &instance, key, slot, socket),
                    }
                }
            }
            Command::Move { instance, key, slot, drain } => {
                if let Some(instance) = self.instance(instance)
                    && let Some(old) = instance.move_socket(key, accept::listener_state(self, &instance, slot))
                {
                    tokio::task::spawn_local(Rc::clone(self).drain(old, drain));
                }
            }
            Command::Close { instance, key, drain } => {
                if let Some(instance) = self.instance(instance)
                    && let Some(listener) = instance.close(key)
                {
                    tokio::task::spawn_local(Rc::clone(self).drain(listener, drain));
                }
            }
            Command::Refresh { instance, clusters } => {
                if let Some(instance) = self.instance(instance) {
                    instance.refresh(&clusters);
                }
            }
            Command::Remove { instance, drain, done } => {
                let key = instance;
                let removed = self.instances.borrow_mut().remove(&key);
                let worker = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    if let Some(instance) = removed {
                        let drains = instance.close_all().into_iter().map(|l| Rc::clone(&worker).drain(l, drain));
                        futures::future::join_all(drains).await;
                    }
                    worker.tracers.finish(key).await;
                    worker.log.flush();
                    let _ = done.send(());
                });
            }
        }
    }

    /// An empty buffer for a head.
    fn head_buffer(&self) -> Vec<u8> {
        self.heads.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    /// Takes a buffer back.
    fn keep_head_buffer(&self, buffer: Vec<u8>) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() < 64 && buffer.capacity() <= 16 * 1024 {
            heads.push(buffer);
        }
    }

    /// An empty buffer for what is to be sent.
    fn out_buffer(&self, capacity: usize) -> Vec<u8> {
        self.outs.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    /// Takes a buffer back.
    fn keep_out_buffer(&self, mut buffer: Vec<u8>) {
        let mut outs = self.outs.borrow_mut();
        if outs.len() < 16 {
            buffer.clear();
            outs.push(buffer);
        }
    }

    fn instance(&self, key: u64) -> Option<Rc<Instance>> {
        self.instances.borrow().get(&key).cloned()
    }
}
