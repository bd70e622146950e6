//! The state of a client's connection, and of the listener that it came through.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Notify;

use super::Worker;
use super::instance::Instance;
use super::stream::StreamState;
use crate::metrics::ListenerStats;
use crate::slots::Slot;
use crate::snapshot::Listener;

/// Requests that the client of an HTTP/2 connection may reset soon after sending them, before it is looked at how many
/// of all they are.
const MAX_GIVEN_UP: u32 = 500;

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

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Its first bytes will show.
    Unknown,
    /// HTTP/1.1 or HTTP/1.0: one request after the other.
    Http1,
    /// HTTP/2: requests side by side.
    Http2,
    /// Whatever the endpoint speaks.
    Tcp,
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
    /// The name that the TLS client asked for.
    pub(super) server_name: Option<Box<str>>,
    pub(super) protocol: Cell<Protocol>,
    pub(super) opened: u32,
    /// The client has said something.
    pub(super) heard: Cell<bool>,
    /// Requests so far.
    pub(super) requests: Cell<u32>,
    /// Requests that the client gave up soon after it had sent them.
    pub(super) given_up: Cell<u32>,
    /// Deadlines in ticks, 0 for none; as the newest HTTP options say.
    pub(super) limits: Cell<Limits>,
    /// Requests under way; the one that all share, before HTTP/2.
    pub(super) streams: RefCell<Vec<Weak<StreamState>>>,
    /// The tick since when there are none.
    pub(super) quiet_since: Cell<u32>,
    /// The tick of the first wish that it ends, if there was one.
    pub(super) ending: Cell<Option<u32>>,
    /// Which filter chain it belongs to, and the version of the listener in which that was looked up last; if it isn't
    /// looked up with every request.
    followed: RefCell<Option<(Box<str>, Arc<Listener>)>>,
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

impl Limits {
    /// Whether a limit is over. A tick has begun already when something is noted in it: one more makes sure.
    #[inline]
    pub(super) fn over(now: u32, since: u32, limit: u32) -> bool {
        limit > 0 && now.wrapping_sub(since) > limit
    }
}

impl ConnectionState {
    pub(super) fn new(
        worker: &Rc<Worker>,
        listener: &Rc<ListenerState>,
        (remote, local): (SocketAddr, SocketAddr),
        tls: bool,
        server_name: Option<Box<str>>,
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
            server_name,
            protocol: Cell::new(Protocol::Unknown),
            opened: now,
            heard: Cell::new(false),
            requests: Cell::new(0),
            given_up: Cell::new(0),
            limits: Cell::new(Limits::default()),
            streams: RefCell::new(Vec::new()),
            quiet_since: Cell::new(now),
            ending: Cell::new(None),
            followed: RefCell::new(None),
            order: Cell::new(None),
            waker: RefCell::new(None),
        });
        worker.connections.borrow_mut().push(Rc::downgrade(&state));
        state
    }

    /// Asks something of the connection's task.
    pub(super) fn order(&self, order: Order) {
        if self.ending.get().is_none() {
            self.ending.set(Some(self.worker.tick.get()));
        }
        if self.order.get() != Some(Order::Kill) {
            self.order.set(Some(order));
        }
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// From now on it is looked at each tick whether the listener still has this filter chain.
    pub(super) fn follow_chain(&self, key: &str, listener: Arc<Listener>) {
        *self.followed.borrow_mut() = Some((key.into(), listener));
    }

    /// Looks at it: a connection whose filter chain is gone has to end some time. One that is only changed doesn't
    /// concern it, as it went to an endpoint long ago.
    pub(super) fn look_after_chain(&self, now: u32) {
        let snapshot = self.listener.instance.snapshot();
        let Some(newest) = snapshot.listeners.get(self.listener.slot.number) else { return };
        let mut followed = self.followed.borrow_mut();
        let Some((key, seen)) = &mut *followed else { return };
        if Arc::ptr_eq(newest, seen) {
            return;
        }
        *seen = Arc::clone(newest);
        let orphaned = !newest.chains.iter().any(|chain| *chain.key == **key);
        if orphaned != self.ending.get().is_some() {
            self.ending.set(orphaned.then_some(now));
        }
    }

    /// A connection that has said nothing yet must soon, or nothing is lost by closing it.
    pub(super) fn hurry(&self) {
        if !self.heard.get() {
            let now = self.worker.tick.get();
            self.limits.set(Limits { head: 2, ..self.limits.get() });
            self.quiet_since.set(now);
            for stream in self.streams.borrow().iter().filter_map(Weak::upgrade) {
                stream.since.set(now);
            }
        }
    }

    /// The client gave a request up. Who does little else has no use for answers: opening streams and resetting them at
    /// once costs endpoints far more than it costs the client (CVE-2023-44487).
    pub(super) fn gave_up(&self, after: Duration) {
        if self.protocol.get() != Protocol::Http2 || after >= Duration::from_secs(1) {
            return;
        }
        let given_up = self.given_up.get() + 1;
        self.given_up.set(given_up);
        if given_up >= MAX_GIVEN_UP && given_up > self.requests.get() / 2 {
            self.listener.stats.bad_requests.inc();
            tracing::debug!(client = %self.remote, given_up, "a client that resets its requests is turned away");
            self.order(Order::Kill);
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
