//! Clients' connections of HTTP/2: a task per connection, and one per stream.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::coalesce::Coalesced;
use super::connection::Order;
use super::http1::note_error;
use super::io::Watched;
use super::service::{self, Session};
use super::stream::{Late, StreamState};
use crate::config::hcm::HttpOptions;

/// Bytes of a response that may wait for a client to read them, per stream.
const SEND_BUFFER: usize = 128 * 1024;
/// Streams that a client may have reset before they were looked at.
const MAX_RESETS: usize = 64;
/// Streams of a connection that may break the protocol; those that a client opens before it knows how many it may are
/// among them.
const MAX_BROKEN: usize = 1024;

/// For the last bytes of a connection that has ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// Speaks HTTP/2 with a client until one of them has enough.
pub(super) async fn serve(session: Rc<Session>, io: Watched, http: &HttpOptions) {
    let state = Rc::clone(&session.connection);
    let streams = Streams::default();
    let (handler, starting) = (Rc::clone(&session), Rc::clone(&streams.starting));
    let service = service_fn(move |request| {
        let stream = StreamState::new(&handler.connection, true);
        starting.set(Some(Rc::clone(&stream)));
        // In a box: hyper moves it several times before it runs.
        Box::pin(service::handle_stream(Rc::clone(&handler), stream, request))
    });
    let io = Coalesced::new(io, &state.worker);
    let mut connection = builder(streams, http).serve_connection(TokioIo::new(io.clone()), service);
    let mut killed = false;
    let ended = std::future::poll_fn(|cx| {
        match state.take_order(cx) {
            Some(Order::Drain) => Pin::new(&mut connection).graceful_shutdown(),
            Some(Order::Timeout | Order::Kill) => {
                killed = true;
                return Poll::Ready(Ok(()));
            }
            None => {}
        }
        let ended = Future::poll(Pin::new(&mut connection), cx);
        // What all streams have said by now goes out together.
        match io.poll_drain(cx) {
            Poll::Ready(Err(_)) if ended.is_pending() => {
                killed = true;
                Poll::Ready(Ok(()))
            }
            _ => ended,
        }
    })
    .await;
    if killed {
        return;
    }
    if let Err(error) = &ended {
        note_error(&state, error);
    }
    // A last word, say why it ends, may still be on its way.
    let _ = tokio::time::timeout(FAREWELL, std::future::poll_fn(|cx| io.poll_drain(cx))).await;
}

fn builder(streams: Streams, http: &HttpOptions) -> http2::Builder<Streams> {
    let options = &http.http2;
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .max_concurrent_streams(options.max_streams)
        .max_header_list_size(u32::try_from(http.max_header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_BROKEN)
        .header_table_size(options.header_table);
    if let Some((interval, timeout)) = options.keepalive {
        builder.keep_alive_interval(interval).keep_alive_timeout(timeout);
    }
    if options.allow_connect {
        builder.enable_connect_protocol();
    }
    builder
}

/// Runs the tasks of a connection's streams, on the connection's thread.
#[derive(Clone, Default)]
struct Streams {
    /// The stream whose task is started next.
    starting: Rc<Cell<Option<Rc<StreamState>>>>,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        match self.starting.take() {
            Some(stream) => drop(tokio::task::spawn_local(run(future, stream))),
            None => drop(tokio::task::spawn_local(future)),
        }
    }
}

/// A stream's task. Dropping what it runs resets the stream.
async fn run(future: impl Future<Output = ()>, stream: Rc<StreamState>) {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match stream.poll_late(cx) {
        Some(Late::Cut) => Poll::Ready(()),
        _ => future.as_mut().poll(cx),
    })
    .await;
}
