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
