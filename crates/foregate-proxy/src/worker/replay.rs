//! A request's body that can be sent again: what has come so far is kept, up to a bound.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc::Sender;

use super::body::{BodyError, Received};

/// Kept if nothing else is said.
pub(super) const DEFAULT_LIMIT: u64 = 64 * 1024;

/// How far a try has read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    at: usize,
    /// Which try it is.
    of: u32,
}

/// A body, and what is kept of it.
pub(super) struct Replay {
    received: RefCell<Received>,
    kept: RefCell<Vec<Bytes>>,
    size_kept: Cell<u64>,
    limit: u64,
    overflowed: Cell<bool>,
    /// The client broke off: what is there must never pass for the whole.
    failed: Cell<bool>,
    /// There is a response: no other try follows.
    settled: Cell<bool>,
    /// Counts tries: only the last one reads.
    tries: Cell<u32>,
    pub(super) size: SizeHint,
    copies: RefCell<Vec<Sender<Bytes>>>,
    /// The client's body has come to its end.
    pub(super) whole: Rc<Cell<bool>>,
}

impl Replay {
    /// Keeps up to `limit` bytes, and sends copies of everything to `copies`.
    pub(super) fn new(received: Received, limit: u64, copies: Vec<Sender<Bytes>>) -> Self {
        Self {
            size: received.size_hint(),
            received: RefCell::new(received),
            kept: RefCell::new(Vec::new()),
            size_kept: Cell::new(0),
            limit,
            overflowed: Cell::new(false),
            failed: Cell::new(false),
            settled: Cell::new(false),
            tries: Cell::new(0),
            copies: RefCell::new(copies),
            whole: Rc::default(),
        }
    }

    /// Whether it can be sent from its beginning.
    pub(super) fn can_restart(&self) -> bool {
        !self.overflowed.get() && !self.failed.get() && !self.settled.get()
    }

    /// A try begins; those before it get no more.
    pub(super) fn begin(&self) -> Position {
        let of = self.tries.get() + 1;
        self.tries.set(of);
        Position { at: 0, of }
    }

    /// There is a response: nothing more has to be kept.
    pub(super) fn settle(&self) {
        self.settled.set(true);
    }

    /// The frame at a position; what isn't there yet is read from the client.
    pub(super) fn poll(
        &self,
        position: &mut Position,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if position.of != self.tries.get() {
            return Poll::Ready(Some(Err(BodyError::Gone)));
        }
        if !self.overflowed.get()
            && let Some(data) = self.kept.borrow().get(position.at)
        {
            position.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if self.failed.get() || (self.overflowed.get() && position.at == 0) {
            return Poll::Ready(Some(Err(BodyError::Gone)));
        }
        if self.whole.get() {
            return Poll::Ready(None);
        }
        let frame = match self.received.borrow_mut().poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(frame) => frame,
        };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    position.at += usize::from(self.keep(data));
                }
            }
            end => {
                self.whole.set(end.is_none());
                self.failed.set(end.is_some());
                self.copies.borrow_mut().clear();
            }
        }
        Poll::Ready(frame)
    }

    /// Keeps data, if that is still of use; returns whether the reader's position counts it.
    fn keep(&self, data: &Bytes) -> bool {
        // A copy that can't keep up is given up: the request itself never waits for it.
        self.copies.borrow_mut().retain(|copy| copy.try_send(data.clone()).is_ok());
        if self.settled.get() {
            return false;
        }
        let size = self.size_kept.get() + data.len() as u64;
        self.size_kept.set(size);
        if size > self.limit {
            self.overflowed.set(true);
            self.kept.borrow_mut().clear();
        } else {
            self.kept.borrow_mut().push(data.clone());
        }
        true
    }
}
