//! HTTP/1.1 for requests without a body, most of all there are: the shortest way to an endpoint and back.
//!
//! No task and no channel lies between a request and its connection: the request's own task writes the head from where
//! it is kept, reads, and passes on what it has read. Everything else (bodies, upgrades) goes over [`super::single`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::Frame;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::decode::{self, Decoded, Decoder, Head, NoHttp};
use super::link::Link;
use super::pool::Open;

/// Read at once, at least and at most.
const READ: (usize, usize) = (8 * 1024, 128 * 1024);
/// Kept for the next response.
const KEPT: usize = 16 * 1024;

/// A connection to an endpoint.
pub(super) struct PlainConnection {
    link: Link,
    /// The request that is being sent.
    pub(super) output: Vec<u8>,
    written: usize,
    flushed: bool,
    /// What has come and hasn't been passed on.
    input: BytesMut,
    /// How much to read at once, by what came last.
    read: usize,
    /// What came with the present response.
    came: usize,
    /// The response allows another one.
    keep: bool,
    /// Requests that it has carried.
    pub(super) used: u32,
    /// The tick at which it was made.
    pub(super) opened: u32,
    /// The tick since when it is idle.
    pub(super) since: u32,
    /// Counts it.
    _open: Open,
}

/// Why a request got no response.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection ended.
    Connection(io::Error),
    /// What came is no HTTP.
    NoHttp,
}

impl From<NoHttp> for Broken {
    fn from(_: NoHttp) -> Self {
        Self::NoHttp
    }
}

impl PlainConnection {
    pub(super) fn new(link: Link, open: Open, tick: u32) -> Self {
        Self {
            link,
            output: Vec::new(),
            written: 0,
            flushed: false,
            input: BytesMut::new(),
            read: READ.0,
            came: 0,
            keep: false,
            used: 0,
            opened: tick,
            since: tick,
            _open: open,
        }
    }

    /// Whether an idle connection can't be used: it is closed, or something came that nobody asked for. Asks the kernel
    /// only if that said that there is something to see.
    pub(super) fn is_stale(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !self.input.is_empty() || poll_read_buf(Pin::new(&mut self.link), &mut cx, &mut self.input).is_ready()
    }

    /// Whether another request may follow the response that is over.
    pub(super) fn may_follow(&self) -> bool {
        self.keep && self.input.is_empty()
    }

    /// Becomes idle.
    pub(super) fn rest(&mut self, tick: u32) {
        self.used += 1;
        self.since = tick;
        // Large responses tend to be followed by large ones; but their memory goes to whoever reads next, while it is
        // still in the processor's cache.
        self.read = self.came.next_multiple_of(READ.0).clamp(READ.0, READ.1);
        if self.input.capacity() > KEPT {
            self.input = BytesMut::new();
        }
    }

    /// Sends what is in `output`, and reads a head.
    pub(super) fn poll_exchange(
        &mut self,
        bodiless: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Response<()>, Decoder), Broken>> {
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            match ready!(Pin::new(&mut self.link).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(Broken::Connection(io::ErrorKind::WriteZero.into()))),
                Ok(written) => self.written += written,
                Err(error) => return Poll::Ready(Err(Broken::Connection(error))),
            }
        }
        // TLS may hold what it has encrypted; a socket doesn't.
        if !self.flushed {
            ready!(Pin::new(&mut self.link).poll_flush(cx)).map_err(Broken::Connection)?;
            self.flushed = true;
        }
        loop {
            if !self.input.is_empty()
                && let Some(Head { response, body, keep }) = decode::head(&mut self.input, bodiless)?
            {
                self.keep = keep;
                return Poll::Ready(Ok((response, body)));
            }
            match ready!(self.poll_read(self.read, cx)) {
                Ok(0) => return Poll::Ready(Err(Broken::Connection(io::ErrorKind::UnexpectedEof.into()))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(Broken::Connection(error))),
            }
        }
    }

    /// Begins a request, whose head is then written to `output`.
    pub(super) fn begin(&mut self) -> &mut Vec<u8> {
        self.output.clear();
        self.written = 0;
        self.flushed = false;
        self.came = 0;
        self.keep = false;
        &mut self.output
    }

    fn poll_read(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(room);
        let read = ready!(poll_read_buf(Pin::new(&mut self.link), cx, &mut self.input))?;
        self.came += read;
        Poll::Ready(Ok(read))
    }

    /// The next part of a response's body.
    pub(super) fn poll_body(
        &mut self,
        body: &mut Decoder,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            match body.next(&mut self.input) {
                Ok(Decoded::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::More) => {}
                Err(NoHttp) => return Poll::Ready(Some(Err(io::ErrorKind::InvalidData.into()))),
            }
            let left = body.left().map_or(READ.1, |left| usize::try_from(left).unwrap_or(READ.1));
            match ready!(self.poll_read(left.clamp(READ.0, READ.1), cx)) {
                Ok(0) if *body == Decoder::Close => return Poll::Ready(None),
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}
