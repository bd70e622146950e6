//! The state of a client's connection, and of the listener that it came through.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use http::HeaderValue;
use tokio::sync::Notify;

use super::Worker;
use super::framing::Framing;
use super::instance::Instance;
use crate::metrics::ListenerStats;
use crate::slots::Slot;
use crate::snapshot::Listener;

/// A listener as a worker sees it.
pub(super) struct ListenerState {
    pub(super) instance: Rc<Instance>,
    pub(super) name: Arc<str>,
    pub(super) slot: Arc<Slot>,
    pub(super) stats: Arc<ListenerStats>,
    /// Its configuration, as far as it was needed.
    pub(super) config: RefCell<Option<Arc<Listener>>>,
    /// New requests are the last of their connections.
    pub(super) draining: Cell<bool>,
    /// Open connections.
    pub(super) open: Cell<usize>,
    /// Told when the last one closes.
    pub(super) empty: Notify,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between two requests.
    Idle,
    /// A request's head has begun, or the connection is new.
    Head,
    /// A request is under way; no response yet.
    Request,
    /// A response is under way.
    Response,
}

/// What a sweep or a drain wants of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Close between two requests.
    Drain,
    /// Answer 408 and close.
    Timeout,
    /// Close now.
    Kill,
}

/// A client's connection.
pub(super) struct ConnectionState {
    pub(super) worker: Rc<Worker>,
    pub(super) listener: Rc<ListenerState>,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    /// The peer's address as a header's value.
    pub(super) remote_text: HeaderValue,
    pub(super) tls: bool,
    pub(super) phase: Cell<Phase>,
    /// The tick at which the phase began.
    pub(super) since: Cell<u32>,
    /// The tick of the last byte.
    pub(super) last: Cell<u32>,
    pub(super) opened: u32,
    /// The client has said something.
    pub(super) heard: Cell<bool>,
    /// The request's body isn't there yet.
    pub(super) receiving: Cell<bool>,
    /// The request's body is broken: its chunks are no chunks, or the client is gone.
    pub(super) broken_body: Cell<bool>,
    /// The request asks the endpoint for another protocol.
    pub(super) upgrading: Cell<bool>,
    /// How the request that is being read says where its body ends.
    pub(super) framing: Cell<Framing>,
    /// Requests so far.
    pub(super) requests: Cell<u32>,
    /// Deadlines in ticks, 0 for none; as the HTTP options of the last request say.
    pub(super) limits: Cell<Limits>,
    order: Cell<Option<Order>>,
    waker: RefCell<Option<Waker>>,
}

/// Deadlines in ticks, 0 for none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) idle: u32,
    pub(super) head: u32,
    pub(super) stream_idle: u32,
    pub(super) request: u32,
    pub(super) lifetime: u32,
}

impl ConnectionState {
    pub(super) fn new(
        worker: &Rc<Worker>,
        listener: &Rc<ListenerState>,
        (remote, local): (SocketAddr, SocketAddr),
        tls: bool,
    ) -> Rc<Self> {
        let now = worker.tick.get();
        listener.open.set(listener.open.get() + 1);
        listener.stats.connections_active.inc();
        let remote_text = HeaderValue::from_str(&remote.ip().to_canonical().to_string());
        let state = Rc::new(Self {
            worker: Rc::clone(worker),
            listener: Rc::clone(listener),
            remote,
            local,
            remote_text: remote_text.unwrap_or_else(|_| HeaderValue::from_static("")),
            tls,
            phase: Cell::new(Phase::Head),
            since: Cell::new(now),
            last: Cell::new(now),
            opened: now,
            heard: Cell::new(false),
            receiving: Cell::new(false),
            broken_body: Cell::new(false),
            upgrading: Cell::new(false),
            framing: Cell::new(Framing::default()),
            requests: Cell::new(0),
            limits: Cell::new(Limits::default()),
            order: Cell::new(None),
            waker: RefCell::new(None),
        });
        worker.connections.borrow_mut().push(Rc::downgrade(&state));
        state
    }

    #[inline]
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        let now = self.worker.tick.get();
        self.since.set(now);
        self.last.set(now);
    }

    #[inline]
    pub(super) fn read_something(&self, bytes: &[u8]) {
        match self.phase.get() {
            Phase::Idle => {
                self.enter(Phase::Head);
                self.framing.set(Framing::of(bytes));
            }
            Phase::Head => {
                self.heard.set(true);
                self.last.set(self.worker.tick.get());
                self.framing.set(self.framing.get().and(Framing::of(bytes)));
            }
            Phase::Request | Phase::Response => self.last.set(self.worker.tick.get()),
        }
    }

    #[inline]
    pub(super) fn wrote_something(&self) {
        self.last.set(self.worker.tick.get());
    }

    /// A connection that has said nothing yet must soon, or nothing is lost by closing it.
    pub(super) fn hurry(&self) {
        if !self.heard.get() {
            let limits = self.limits.get();
            self.since.set(self.worker.tick.get());
            self.limits.set(Limits { head: 2, ..limits });
        }
    }

    /// Asks something of the connection's task.
    pub(super) fn order(&self, order: Order) {
        self.order.set(Some(order));
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// What is asked, if anything; remembers whom to wake.
    #[inline]
    pub(super) fn take_order(&self, cx: &Context<'_>) -> Option<Order> {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.order.take()
    }
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        let listener = &self.listener;
        listener.stats.connections_active.dec();
        listener.open.set(listener.open.get() - 1);
        if listener.open.get() == 0 {
            listener.empty.notify_waiters();
        }
    }
}
