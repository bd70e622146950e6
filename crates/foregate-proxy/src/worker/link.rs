//! A stream of bytes to an endpoint: TCP, a unix socket, or TLS over either.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// hyper writes all that it has with one vectored write, also when that is a single buffer, as it is for every request
/// without a body; `send` takes the kernel less time than `writev`.
pub(super) enum Link {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<Link>>),
}

impl Link {
    /// Its end will be a reset: not all has been said.
    pub(super) fn reset_at_end(&self) {
        match self {
            Self::Tcp(stream) => super::io::reset_at_end(stream),
            Self::Unix(_) => {}
            Self::Tls(stream) => stream.get_ref().0.reset_at_end(),
        }
    }
}

macro_rules! on_stream {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Link::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Link::Unix($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Link::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $call
            }
        }
    };
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs {
            [one] => on_stream!(self, stream => stream.poll_write(cx, one)),
            _ => on_stream!(self, stream => stream.poll_write_vectored(cx, bufs)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_shutdown(cx))
    }
}
