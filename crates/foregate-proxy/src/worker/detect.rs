//! What a client speaks, by its first bytes, where neither the configuration nor TLS has said it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::connection::{ConnectionState, Order, Protocol};
use super::io::Watched;

/// What every connection of HTTP/2 begins with (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that were read to see what they are; they are read again by whoever speaks the protocol.
#[derive(Default)]
pub(super) struct Early {
    bytes: [u8; PREFACE.len()],
    read: u8,
    given: u8,
}

impl Early {
    /// What hasn't been read again yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(usize::from(self.given)..usize::from(self.read)).unwrap_or_default()
    }

    /// Hands out what fits.
    pub(super) fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.rest().len().min(buf.remaining());
        buf.put_slice(&self.rest()[..count]);
        // At most 24.
        self.given += count as u8;
    }

    /// Reads until it is clear what the bytes are. A connection that ends before is one without a request.
    fn poll_fill(&mut self, stream: &mut (dyn AsyncRead + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<Protocol>> {
        loop {
            let (have, room) = self.bytes.split_at_mut(usize::from(self.read));
            if let Some(protocol) = verdict(have) {
                return Poll::Ready(Ok(protocol));
            }
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut room))?;
            match room.filled().len() {
                0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                count => self.read += count as u8,
            }
        }
    }
}

/// What bytes at the beginning say; `None`: too few to know.
fn verdict(bytes: &[u8]) -> Option<Protocol> {
    match PREFACE.starts_with(bytes) {
        false => Some(Protocol::Http1),
        true if bytes.len() == PREFACE.len() => Some(Protocol::Http2),
        true => None,
    }
}

/// Waits for a client's first bytes; `None`: it is gone, or has to go.
pub(super) async fn detect(state: &ConnectionState, io: &mut Watched) -> Option<Protocol> {
    std::future::poll_fn(|cx| {
        match state.take_order(cx) {
            Some(Order::Drain) => state.hurry(),
            Some(_) => return Poll::Ready(None),
            None => {}
        }
        let Watched { stream, early, .. } = io;
        early.poll_fill(stream.as_read(), cx).map(Result::ok)
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    async fn detected(parts: &[&'static [u8]]) -> (io::Result<Protocol>, Vec<u8>) {
        let mut mock = tokio_test_reader(parts);
        let mut early = Early::default();
        let found = std::future::poll_fn(|cx| early.poll_fill(&mut mock, cx)).await;
        let mut again = [0; 64];
        let mut buf = ReadBuf::new(&mut again);
        early.give(&mut buf);
        assert!(early.rest().is_empty());
        (found, buf.filled().to_vec())
    }

    /// Gives these parts one by one.
    fn tokio_test_reader(parts: &[&'static [u8]]) -> impl AsyncRead + Unpin + use<> {
        use tokio::io::AsyncReadExt;
        let none: Box<dyn AsyncRead + Unpin> = Box::new(tokio::io::empty());
        parts.iter().rev().fold(none, |rest, part| Box::new(part.chain(rest)))
    }

    #[tokio::test]
    async fn the_first_bytes_show_the_protocol_and_are_not_lost() {
        let rows: [(&[&'static [u8]], Protocol); 5] = [
            (&[b"GET / HTTP/1.1\r\n"], Protocol::Http1),
            (&[b"P", b"R", b"OPFIND / HTTP/1.1\r\nhost: a\r\n"], Protocol::Http1),
            (&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", b"\n\0\0\0"], Protocol::Http2),
            (&[b"PRI * HTTP/2.0\r\n\r\nSX"], Protocol::Http1),
            (&[b"\x16\x03\x01"], Protocol::Http1),
        ];
        for (parts, want) in rows {
            let (found, again) = detected(parts).await;
            assert_eq!(found.unwrap(), want, "{parts:?}");
            let all = parts.concat();
            assert!(!again.is_empty() && all.starts_with(&again), "{again:?} of {all:?}");
        }
        assert!(detected(&[b"PRI"]).await.0.is_err(), "too short to be anything");
        assert!(detected(&[]).await.0.is_err());
    }
}
