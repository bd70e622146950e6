//! Bytes on their way from one connection to another, in one direction.
//!
//! Reads go to a buffer that the worker's connections share, and from there at once to the other side. Only what that
//! doesn't take is kept: a connection that is idle, or flows freely, needs no memory of its own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Worker;

/// Reads in a row before others have their turn.
const TURN: u32 = 16;

/// One direction.
#[derive(Default)]
pub(super) struct Flow {
    /// What the other side hasn't taken yet, from `at` on.
    rest: Vec<u8>,
    at: usize,
    stage: Stage,
    unflushed: bool,
    /// Bytes that have been read.
    pub(super) bytes: u64,
    /// Why the sink takes nothing more, if it doesn't. It may still have something to say.
    pub(super) refused: Option<io::Error>,
}

/// Which side broke a flow.
enum Broken {
    /// The one that is read from.
    Source(io::Error),
    /// The one that is written to.
    Sink(io::Error),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// There is nothing more to read; the other side is to be told.
    Closing,
    Done,
}

impl Flow {
    /// Passes on what there is; ready when the source has closed and the sink knows, or the sink takes nothing more.
    ///
    /// # Errors
    /// The source is broken.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (source, sink): (&mut (impl AsyncRead + Unpin), &mut (impl AsyncWrite + Unpin)),
        worker: &Worker,
        moved: impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        match ready!(self.pass(cx, (Pin::new(source), Pin::new(sink)), worker, moved)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(Broken::Source(error)) => Poll::Ready(Err(error)),
            Err(Broken::Sink(error)) => {
                self.stage = Stage::Done;
                self.rest.clear();
                self.at = 0;
                self.refused = Some(error);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        (mut source, mut sink): (Pin<&mut (impl AsyncRead + Unpin)>, Pin<&mut (impl AsyncWrite + Unpin)>),
        worker: &Worker,
        mut moved: impl FnMut(usize),
    ) -> Poll<Result<(), Broken>> {
        for _ in 0..TURN {
            ready!(self.poll_rest(cx, sink.as_mut(), worker)).map_err(Broken::Sink)?;
            match self.stage {
                Stage::Done => return Poll::Ready(Ok(())),
                Stage::Closing => {
                    ready!(sink.as_mut().poll_shutdown(cx)).map_err(Broken::Sink)?;
                    self.stage = Stage::Done;
                    return Poll::Ready(Ok(()));
                }
                Stage::Open => {}
            }
            let mut scratch = worker.scratch.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            if source.as_mut().poll_read(cx, &mut buffer).map_err(Broken::Source)?.is_pending() {
                if self.unflushed {
                    ready!(sink.as_mut().poll_flush(cx)).map_err(Broken::Sink)?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
            let read = buffer.filled();
            if read.is_empty() {
                self.stage = Stage::Closing;
                continue;
            }
            moved(read.len());
            self.bytes += read.len() as u64;
            self.unflushed = true;
            let taken = match sink.as_mut().poll_write(cx, read).map_err(Broken::Sink)? {
                Poll::Ready(taken) => taken,
                Poll::Pending => 0,
            };
            if taken < read.len() {
                self.rest = worker.out_buffer(read.len());
                self.rest.extend_from_slice(&read[taken..]);
            }
        }
        // Others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Passes on what was kept.
    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        mut sink: Pin<&mut (impl AsyncWrite + Unpin)>,
        worker: &Worker,
    ) -> Poll<io::Result<()>> {
        while self.at < self.rest.len() {
            match ready!(sink.as_mut().poll_write(cx, &self.rest[self.at..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.at += taken,
            }
        }
        if self.at > 0 {
            self.at = 0;
            worker.keep_out_buffer(std::mem::take(&mut self.rest));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use super::*;
    use crate::access_log::Writer;
    use crate::metrics::Registry;

    /// Takes so many bytes at a time, and after so many in all nothing more.
    struct Sink {
        step: usize,
        most: usize,
        taken: Vec<u8>,
        told: bool,
        busy: bool,
    }

    impl AsyncWrite for Sink {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if self.taken.len() >= self.most {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.busy = !self.busy;
            if self.busy {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let count = bytes.len().min(self.step);
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.told = true;
            Poll::Ready(Ok(()))
        }
    }

    /// Gives what there is, and breaks.
    struct Source(&'static [u8]);

    impl AsyncRead for Source {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            buf.put_slice(std::mem::take(&mut self.0));
            Poll::Ready(Ok(()))
        }
    }

    async fn flow(mut source: impl AsyncRead + Unpin, step: usize, most: usize) -> (io::Result<()>, Flow, Sink) {
        let registry = Arc::new(Registry::default());
        let worker = Worker::new(Arc::clone(&registry), Writer::none().sink(registry), None);
        let mut sink = Sink { step, most, taken: Vec::new(), told: false, busy: false };
        let mut flow = Flow::default();
        let done = std::future::poll_fn(|cx| flow.poll(cx, (&mut source, &mut sink), &worker, |_| {})).await;
        (done, flow, sink)
    }

    #[tokio::test]
    async fn what_is_not_taken_at_once_is_kept() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        for step in [1000, 65_535, 65_536, usize::MAX] {
            let (done, flow, sink) = flow(&*bytes, step, usize::MAX).await;
            assert!(done.is_ok() && flow.refused.is_none() && sink.told && flow.rest.is_empty());
            assert!(sink.taken == bytes && flow.bytes == 300_000, "{step}");
        }
    }

    #[tokio::test]
    async fn a_sink_that_takes_nothing_more_is_no_error_yet() {
        let (done, flow, sink) = flow(&[1; 1000][..], 100, 500).await;
        assert!(done.is_ok() && !sink.told);
        assert_eq!((flow.refused.unwrap().kind(), sink.taken.len()), (io::ErrorKind::BrokenPipe, 500));
        assert!(flow.rest.is_empty());
    }

    #[tokio::test]
    async fn what_a_broken_source_has_said_arrives() {
        let (done, _, sink) = flow(Source(b"last words"), 3, usize::MAX).await;
        assert_eq!(done.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!((&*sink.taken, sink.told), (&b"last words"[..], false));
    }
}
