//! Small writes of an HTTP/2 connection, sent together.
//!
//! h2 writes, and flushes, every frame of data by itself. Here they gather for as long as the connection's task runs,
//! so that the responses of all streams that are ready at the same time take one system call. Whoever polls the
//! connection has to call [`Coalesced::poll_drain`] behind it.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Worker;

/// So much gathers before it is sent.
const ROOM: usize = 32 * 1024;
/// A write of this size is worth a system call of its own, and not worth a copy.
const LARGE: usize = 4 * 1024;

/// A connection whose writes gather; its clones are the same connection.
pub(super) struct Coalesced<T>(Rc<RefCell<Inner<T>>>);

struct Inner<T> {
    io: T,
    worker: Rc<Worker>,
    /// What has gathered, in one of the worker's buffers, and how much of it has been sent.
    waiting: Vec<u8>,
    sent: usize,
    /// What was written hasn't been flushed.
    unflushed: bool,
}

impl<T> Clone for Coalesced<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: AsyncWrite + Unpin> Coalesced<T> {
    pub(super) fn new(io: T, worker: &Rc<Worker>) -> Self {
        let worker = Rc::clone(worker);
        Self(Rc::new(RefCell::new(Inner { io, worker, waiting: Vec::new(), sent: 0, unflushed: false })))
    }

    /// Sends what has gathered.
    pub(super) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_drain(cx)
    }
}

impl<T: AsyncWrite + Unpin> Inner<T> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.waiting.len() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.waiting[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.emptied();
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Everything has been sent: idle connections hold no buffer.
    fn emptied(&mut self) {
        self.sent = 0;
        if self.waiting.capacity() > 0 {
            self.worker.keep_out_buffer(std::mem::take(&mut self.waiting));
        }
    }

    /// Sends what has gathered and these together; returns how much of these was sent.
    fn poll_through(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let waiting = self.waiting.len() - self.sent;
            let mut all: SmallVec<[IoSlice<'_>; 8]> = SmallVec::new();
            if waiting > 0 {
                all.push(IoSlice::new(&self.waiting[self.sent..]));
            }
            all.extend(bufs.iter().filter(|buf| !buf.is_empty()).map(|buf| IoSlice::new(buf)));
            let count = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &all))?;
            drop(all);
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if count < waiting {
                self.sent += count;
                continue;
            }
            self.emptied();
            if count > waiting {
                return Poll::Ready(Ok(count - waiting));
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let size: usize = bufs.iter().map(|buf| buf.len()).sum();
        if size == 0 {
            return Poll::Ready(Ok(0));
        }
        self.unflushed = true;
        if size >= LARGE {
            return self.poll_through(cx, bufs);
        }
        if self.waiting.len() + size > ROOM {
            ready!(self.poll_drain(cx))?;
            self.unflushed = true;
        }
        if self.waiting.capacity() == 0 {
            self.waiting = self.worker.out_buffer(ROOM);
        }
        bufs.iter().for_each(|buf| self.waiting.extend_from_slice(buf));
        Poll::Ready(Ok(size))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Coalesced<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Coalesced<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Says that it is done, as more may follow at once; see [`Coalesced::poll_drain`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::access_log::Writer;
    use crate::metrics::Registry;

    /// Takes so many bytes per write, and counts the writes.
    #[derive(Default)]
    struct Slow {
        got: Vec<u8>,
        writes: usize,
        most: usize,
        pending: bool,
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.pending = !self.pending;
            if self.most < usize::MAX && self.pending {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let count = buf.len().min(self.most);
            self.got.extend_from_slice(&buf[..count]);
            self.writes += 1;
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            self.poll_write(cx, &all)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn worker() -> Rc<Worker> {
        let registry = Arc::new(Registry::default());
        let sink = Writer::none().sink(Arc::clone(&registry));
        Worker::new(registry, sink, None)
    }

    #[tokio::test]
    async fn small_writes_are_one() {
        let io = Coalesced::new(Slow { most: usize::MAX, ..Slow::default() }, &worker());
        let mut writer = io.clone();
        for _ in 0..20 {
            writer.write_all(&[7; 1000]).await.unwrap();
            writer.flush().await.unwrap();
        }
        assert_eq!(io.0.borrow().io.writes, 0);
        std::future::poll_fn(|cx| io.poll_drain(cx)).await.unwrap();
        let inner = io.0.borrow();
        assert_eq!((inner.io.writes, inner.io.got.len(), inner.waiting.capacity()), (1, 20_000, 0));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_moved(sizes in prop::collection::vec(0_usize..9_000, 0..40), most in 1_usize..20_000) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let want: Vec<u8> = (0..sizes.iter().sum()).map(|n: usize| n as u8).collect();
            runtime.block_on(async {
                let io = Coalesced::new(Slow { most, ..Slow::default() }, &worker());
                let mut writer = io.clone();
                let mut rest = &want[..];
                for size in sizes {
                    let (part, after) = rest.split_at(size);
                    writer.write_all(part).await.unwrap();
                    rest = after;
                }
                writer.shutdown().await.unwrap();
                let inner = io.0.borrow();
                assert!(inner.io.got == want, "{} of {} bytes", inner.io.got.len(), want.len());
            });
        }
    }
}
