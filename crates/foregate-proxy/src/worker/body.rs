//! Bodies on their way through.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Sleep};

use super::decode::Decoder;
use super::exchange::{Exchange, Flag};
use super::pool::Lease;
use super::replay::{Position, Replay};
use super::stream::StreamState;

/// Why a body ended too early.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Connection(#[from] std::io::Error),
    #[error("the upstream took too long")]
    Timeout,
    #[error("what was kept of the request is gone")]
    Gone,
}

/// A request's body on its way to an endpoint.
pub(super) enum RequestBody {
    /// There is none.
    Empty,
    /// As it comes from the client.
    Stream(Received),
    /// As it comes from the client, kept for another try.
    Replay(Rc<Replay>, Position),
    /// A copy, as it comes.
    Copy(CopiedBody),
    /// The engine's own, whole; nothing once it has been sent.
    Whole(Option<Bytes>),
}

/// The copy of a body.
pub(super) struct CopiedBody {
    pub(super) data: Receiver<Bytes>,
    /// The length that it will have.
    pub(super) size: SizeHint,
    /// Set by the original at its end: a copy that stops before is broken, not short.
    pub(super) whole: Rc<Cell<bool>>,
}

/// A client's body that has been read already, to its end.
pub(super) struct Waiting {
    pub(super) data: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

/// A client's body, counted.
pub(super) struct Received {
    pub(super) incoming: Incoming,
    /// Instead of what `incoming` had.
    pub(super) waiting: Option<Box<Waiting>>,
    pub(super) bytes: Rc<Cell<u64>>,
    pub(super) stream: Rc<StreamState>,
}

impl Received {
    pub(super) fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.incoming.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.waiting {
            Some(waiting) => SizeHint::with_exact(waiting.data.len() as u64),
            None => self.incoming.size_hint(),
        }
    }

    /// The next part of what has been read already.
    fn next_waiting(&mut self) -> Option<Frame<Bytes>> {
        let waiting = self.waiting.as_mut()?;
        let data = std::mem::take(&mut waiting.data);
        if !data.is_empty() {
            if waiting.trailers.is_none() {
                self.waiting = None;
            }
            self.bytes.set(self.bytes.get() + data.len() as u64);
            return Some(Frame::data(data));
        }
        let trailers = waiting.trailers.take();
        self.waiting = None;
        trailers.map(Frame::trailers)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.next_waiting() {
            if self.is_end_stream() {
                self.stream.receiving.set(false);
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(frame) => frame,
        };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.bytes.set(self.bytes.get() + data.len() as u64);
                }
                self.stream.moved();
                if self.incoming.is_end_stream() {
                    self.stream.receiving.set(false);
                }
            }
            end => {
                self.stream.receiving.set(false);
                self.stream.broken_body.set(end.is_some());
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Stream(received) => received.poll(cx),
            Self::Replay(replay, position) => replay.poll(position, cx),
            Self::Copy(copy) => copy.data.poll_recv(cx).map(|data| match data {
                Some(data) => Some(Ok(Frame::data(data))),
                None if copy.whole.get() => None,
                None => Some(Err(BodyError::Gone)),
            }),
            Self::Whole(data) => Poll::Ready(data.take().map(|data| Ok(Frame::data(data)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(received) => received.is_end_stream(),
            Self::Replay(..) | Self::Copy(..) => false,
            Self::Whole(data) => data.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(received) => received.size_hint(),
            Self::Replay(replay, _) => replay.size,
            Self::Copy(copy) => copy.size,
            Self::Whole(data) => SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64)),
        }
    }
}

/// A response's body on its way to the client; counts, logs and gives the connection back when it is over.
pub(super) struct ResponseBody {
    kind: Kind,
    exchange: Option<Box<Exchange>>,
}

/// A response's body on its way from an endpoint.
pub(super) enum Arriving {
    /// By hyper.
    Hyper(Incoming),
    /// By the connection that the lease holds.
    Plain(Decoder),
}

impl Arriving {
    fn poll(
        &mut self,
        lease: &mut Option<Lease>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Hyper(incoming) => {
                Pin::new(incoming).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BodyError::from)))
            }
            Self::Plain(body) => match lease.as_mut().and_then(Lease::plain) {
                Some(connection) => {
                    let polled = connection.poll_body(body, cx);
                    polled.map(|frame| frame.map(|frame| frame.map_err(BodyError::from)))
                }
                None => Poll::Ready(None),
            },
        }
    }
}

enum Kind {
    Full(Bytes),
    Upstream { incoming: Arriving, lease: Option<Lease>, deadline: Option<Instant>, timer: Option<Pin<Box<Sleep>>> },
}

impl ResponseBody {
    /// A text of the engine's own.
    pub(super) fn full(text: Bytes, exchange: Box<Exchange>) -> Self {
        Self { kind: Kind::Full(text), exchange: Some(exchange) }
    }

    /// The request that it answers, while that isn't over.
    pub(super) fn exchange(&self) -> Option<&Exchange> {
        self.exchange.as_deref()
    }

    /// A text of the engine's own that nobody counts.
    pub(super) fn bare(text: Bytes) -> Self {
        Self { kind: Kind::Full(text), exchange: None }
    }

    /// What an endpoint sends.
    pub(super) fn upstream(
        incoming: Arriving,
        lease: Option<Lease>,
        deadline: Option<Instant>,
        exchange: Box<Exchange>,
    ) -> Self {
        Self { kind: Kind::Upstream { incoming, lease, deadline, timer: None }, exchange: Some(exchange) }
    }

    fn finish(&mut self) {
        if let Kind::Upstream { lease, .. } = &mut self.kind
            && let Some(lease) = lease.take()
        {
            let tick = self.exchange.as_ref().map_or(0, |exchange| exchange.connection().worker.tick.get());
            lease.release(tick);
        }
        if let Some(mut exchange) = self.exchange.take() {
            exchange.complete();
        }
    }

    fn failed(&mut self, flag: Flag) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.flag(flag);
            exchange.complete();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            Kind::Full(text) => {
                let text = std::mem::take(text);
                (!text.is_empty()).then(|| Ok(Frame::data(text)))
            }
            Kind::Upstream { incoming, lease, deadline, timer } => match incoming.poll(lease, cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    // Most responses are there at once: only those that aren't get a timer.
                    let Some(deadline) = *deadline else { return Poll::Pending };
                    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    this.failed(Flag::Ut);
                    return Poll::Ready(Some(Err(BodyError::Timeout)));
                }
            },
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(exchange)) = (frame.data_ref(), &mut this.exchange) {
                    exchange.bytes_out += data.len() as u64;
                    exchange.stream().moved();
                } else if let (Some(trailers), Some(exchange)) = (frame.trailers_ref(), &mut this.exchange) {
                    exchange.note_answer(trailers);
                }
            }
            Some(Err(_)) => this.failed(Flag::Uc),
            None => this.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(text) => text.is_empty(),
            Kind::Upstream { incoming: Arriving::Hyper(incoming), .. } => incoming.is_end_stream(),
            Kind::Upstream { incoming: Arriving::Plain(body), .. } => body.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(text) => SizeHint::with_exact(text.len() as u64),
            Kind::Upstream { incoming: Arriving::Hyper(incoming), .. } => incoming.size_hint(),
            Kind::Upstream { incoming: Arriving::Plain(body), .. } => {
                body.left().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.exchange.is_some() && self.is_end_stream() {
            self.finish();
        }
    }
}
