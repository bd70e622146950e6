//! Counts the bytes of a connection that has changed to another protocol.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::StreamState;

/// A client's side of a tunnel.
pub(super) struct Metered<T> {
    io: T,
    stream: Rc<StreamState>,
    /// Bytes from and to the client.
    pub(super) count: Rc<Count>,
}

/// Bytes from and to a client.
#[derive(Default)]
pub(super) struct Count {
    pub(super) from: Cell<u64>,
    pub(super) to: Cell<u64>,
}

impl<T> Metered<T> {
    pub(super) fn new(io: T, stream: Rc<StreamState>) -> Self {
        Self { io, stream, count: Rc::default() }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        let more = buf.filled().len() - before;
        if more > 0 {
            self.stream.moved();
            self.count.from.set(self.count.from.get() + more as u64);
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(more)) = &result {
            self.stream.moved();
            self.count.to.set(self.count.to.get() + *more as u64);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
