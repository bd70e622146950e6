//! A client's connection, watched: deadlines are kept by ticks, not by timers per request.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::connection::ConnectionState;
use super::detect::Early;
use super::stream::StreamState;

/// A small response's head and body are sent as one buffer: copying them takes less time than `writev` takes the kernel
/// longer than `send`.
const SMALL: usize = 2048;

/// Plain or TLS.
pub(super) enum ClientStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl ClientStream {
    /// Its end will be a reset: not all has been said.
    pub(super) fn reset_at_end(&self) {
        match self {
            Self::Plain(stream) => reset_at_end(stream),
            Self::Tls(stream) => reset_at_end(stream.get_ref().0),
        }
    }

    /// To read from.
    pub(super) fn as_read(&mut self) -> &mut (dyn AsyncRead + Unpin) {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &mut **stream,
        }
    }

    /// The name that the client asked for in the handshake.
    pub(super) fn server_name(&self) -> Option<&str> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.server_name(),
        }
    }

    /// The protocol that the handshake agreed on.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }
}

/// A client's connection that tells its state of every byte.
pub(super) struct Watched {
    pub(super) stream: ClientStream,
    pub(super) early: Early,
    state: Rc<ConnectionState>,
    /// Every byte is of this one's request, before HTTP/2.
    pub(super) only: Option<Rc<StreamState>>,
}

impl Watched {
    pub(super) fn new(stream: ClientStream, state: Rc<ConnectionState>) -> Self {
        Self { stream, early: Early::default(), state, only: None }
    }

    #[inline]
    fn wrote_something(&self) {
        if let Some(stream) = &self.only {
            stream.moved();
        }
    }
}

/// The end of a connection will be a reset.
pub(super) fn reset_at_end(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

macro_rules! on_stream {
    ($client:expr, $stream:ident => $call:expr) => {
        match &mut $client {
            ClientStream::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            ClientStream::Tls($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
        }
    };
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_stream!(*self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_stream!(*self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(*self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(*self, stream => stream.poll_shutdown(cx))
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if !self.early.rest().is_empty() {
            self.early.give(buf);
        }
        let mut result = Poll::Ready(Ok(()));
        if buf.remaining() > 0 {
            result = on_stream!(self.stream, stream => stream.poll_read(cx, buf));
        }
        if buf.filled().len() > before {
            match &self.only {
                Some(stream) => stream.read_something(&buf.filled()[before..]),
                None => self.state.heard.set(true),
            }
            // What was read early is there, whatever comes behind it.
            result = Poll::Ready(Ok(()));
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote_something();
        on_stream!(self.stream, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wrote_something();
        let size: usize = bufs.iter().map(|buf| buf.len()).sum();
        if size <= SMALL
            && let ClientStream::Plain(stream) = &mut self.stream
        {
            let mut flat: SmallVec<[u8; SMALL]> = SmallVec::new();
            bufs.iter().for_each(|buf| flat.extend_from_slice(buf));
            return Pin::new(stream).poll_write(cx, &flat);
        }
        on_stream!(self.stream, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            ClientStream::Plain(stream) => stream.is_write_vectored(),
            ClientStream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self.stream, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self.stream, stream => stream.poll_shutdown(cx))
    }
}
