//! One request's deadlines, and what is known of it besides: a connection of HTTP/1.1 has one of these for all of its
//! requests, one after the other; a connection of HTTP/2 has one per stream.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;

use super::connection::{ConnectionState, Limits};
use super::framing::Framing;
use super::sweep::ticks;

/// Where a request is.
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

/// Why a request ends before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// Nothing has been sent yet: it is answered with 408.
    Answer,
    /// It is too late for an answer: the stream is reset, or the connection closed.
    Cut,
}

/// What is known of one request while it lasts.
pub(super) struct StreamState {
    pub(super) connection: Rc<ConnectionState>,
    /// It is one of several of its connection.
    pub(super) http2: bool,
    pub(super) phase: Cell<Phase>,
    /// The tick at which the phase began.
    pub(super) since: Cell<u32>,
    /// The tick of the last byte.
    pub(super) last: Cell<u32>,
    /// Deadlines of this request.
    pub(super) limits: Cell<Limits>,
    /// The request's body isn't there yet.
    pub(super) receiving: Cell<bool>,
    /// The request's body is broken: its chunks are no chunks, or the client is gone.
    pub(super) broken_body: Cell<bool>,
    /// The request asks the endpoint for another protocol.
    pub(super) upgrading: Cell<bool>,
    /// The stream itself, if it is to become something else.
    pub(super) tunnel: Cell<Option<OnUpgrade>>,
    /// How the request that is being read says where its body ends; before HTTP/2 only.
    pub(super) framing: Cell<Framing>,
    /// The answer has no body, whatever its headers say: the request is HEAD, in HTTP/2.
    pub(super) silent: Cell<bool>,
    /// It took too long.
    late: Cell<Option<Late>>,
    waker: RefCell<Option<Waker>>,
    /// Where the connection's list has it.
    at: Cell<usize>,
}

impl StreamState {
    pub(super) fn new(connection: &Rc<ConnectionState>, http2: bool) -> Rc<Self> {
        let now = connection.worker.tick.get();
        let mut streams = connection.streams.borrow_mut();
        let stream = Rc::new(Self {
            connection: Rc::clone(connection),
            http2,
            phase: Cell::new(Phase::Head),
            since: Cell::new(now),
            last: Cell::new(now),
            limits: Cell::new(connection.limits.get()),
            receiving: Cell::new(false),
            broken_body: Cell::new(false),
            upgrading: Cell::new(false),
            tunnel: Cell::new(None),
            framing: Cell::new(Framing::default()),
            silent: Cell::new(false),
            late: Cell::new(None),
            waker: RefCell::new(None),
            at: Cell::new(streams.len()),
        });
        streams.push(Rc::downgrade(&stream));
        stream
    }

    /// A request begins: the connection's deadlines count for it, until a route has its own.
    #[inline]
    pub(super) fn begin(&self) {
        self.limits.set(self.connection.limits.get());
        self.upgrading.set(false);
        self.enter(Phase::Request);
    }

    /// A route's own limit counts for this request.
    pub(super) fn limit_idle(&self, limit: Duration) {
        let stream_idle = ticks(Some(limit).filter(|limit| !limit.is_zero()));
        self.limits.set(Limits { stream_idle, ..self.limits.get() });
    }

    #[inline]
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        let now = self.connection.worker.tick.get();
        self.since.set(now);
        self.last.set(now);
    }

    /// A byte came or went.
    #[inline]
    pub(super) fn moved(&self) {
        self.last.set(self.connection.worker.tick.get());
    }

    /// Bytes came on a connection that has one request at a time.
    #[inline]
    pub(super) fn read_something(&self, bytes: &[u8]) {
        match self.phase.get() {
            Phase::Idle => {
                self.enter(Phase::Head);
                self.framing.set(Framing::default().read(bytes));
            }
            Phase::Head => {
                self.connection.heard.set(true);
                self.moved();
                self.framing.set(self.framing.get().read(bytes));
            }
            Phase::Request | Phase::Response => self.moved(),
        }
    }

    /// What has to happen at this tick, if anything.
    pub(super) fn overdue(&self, now: u32) -> Option<Late> {
        let limits = self.limits.get();
        let over = |since: &Cell<u32>, limit| Limits::over(now, since.get(), limit);
        match self.phase.get() {
            Phase::Request if over(&self.last, limits.stream_idle) => Some(Late::Answer),
            Phase::Request if self.receiving.get() && over(&self.since, limits.request) => Some(Late::Answer),
            Phase::Response if over(&self.last, limits.stream_idle) => Some(Late::Cut),
            _ => None,
        }
    }

    /// Tells the stream's task that it is late.
    pub(super) fn end(&self, late: Late) {
        self.late.set(Some(late));
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Whether it is late; remembers whom to wake when it is.
    #[inline]
    pub(super) fn poll_late(&self, cx: &Context<'_>) -> Option<Late> {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.late.get()
    }

    /// Whether it ended because it was late.
    pub(super) fn was_late(&self) -> Option<Late> {
        self.late.get()
    }
}

impl Drop for StreamState {
    fn drop(&mut self) {
        let mut streams = self.connection.streams.borrow_mut();
        let at = self.at.get();
        streams.swap_remove(at);
        if let Some(moved) = streams.get(at).and_then(Weak::upgrade) {
            moved.at.set(at);
        }
        if streams.is_empty() {
            self.connection.quiet_since.set(self.connection.worker.tick.get());
        }
    }
}
