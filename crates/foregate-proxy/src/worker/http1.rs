//! Clients' connections of HTTP/1.1 and 1.0.

use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::connection::{ConnectionState, Order};
use super::io::Watched;
use super::service::{self, Session};
use super::stream::StreamState;
use super::upgrade;
use crate::config::hcm::HttpOptions;

/// Speaks HTTP/1.1 with a client until one of them has enough.
pub(super) async fn serve(session: Rc<Session>, mut io: Watched, http: &HttpOptions) {
    let state = Rc::clone(&session.connection);
    let stream = StreamState::new(&state, false);
    io.only = Some(Rc::clone(&stream));
    let (handler, only) = (Rc::clone(&session), Rc::clone(&stream));
    let mut connection = http1::Builder::new()
        .max_headers(http.max_headers)
        .max_buf_size(http.max_header_bytes.max(8192))
        .serve_connection(
            TokioIo::new(io),
            service_fn(move |request| service::handle(Rc::clone(&handler), Rc::clone(&only), request)),
        );
    let mut verdict = None;
    let ended = std::future::poll_fn(|cx| {
        match state.take_order(cx) {
            // Before its first request hyper would close it at once: instead, the first response says that it is the
            // last.
            Some(Order::Drain) if state.requests.get() == 0 => state.hurry(),
            Some(Order::Drain) => Pin::new(&mut connection).graceful_shutdown(),
            Some(order) => {
                verdict = Some(order);
                return Poll::Ready(Ok(()));
            }
            None => {}
        }
        Future::poll(Pin::new(&mut connection), cx)
    })
    .await;
    match verdict {
        Some(Order::Timeout) => {
            session.abandon();
            state.listener.stats.bad_requests.inc();
            // Who never said anything isn't told anything either.
            if state.heard.get() {
                too_slow(connection.into_parts().io.into_inner()).await;
            }
        }
        Some(_) => session.abandon(),
        None => {
            if let Err(error) = &ended {
                note_error(&state, error);
            } else if let Some(upgrade) = session.take_upgrade() {
                let parts = connection.into_parts();
                upgrade::splice(parts.io.into_inner(), parts.read_buf, upgrade).await;
            }
        }
    }
}

/// Counts and notes why a client's connection ended.
pub(super) fn note_error(state: &ConnectionState, error: &hyper::Error) {
    if error.is_parse() || error.is_parse_too_large() {
        state.listener.stats.bad_requests.inc();
    }
    tracing::debug!(listener = %state.listener.name, client = %state.remote, %error, "a client's connection ended");
}

/// Tells a client that it was too slow, and closes.
async fn too_slow(mut io: Watched) {
    let text = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 15\r\ncontent-type: text/plain\r\n\
        connection: close\r\n\r\nrequest timeout";
    let farewell = async {
        let _ = io.write_all(text).await;
        let _ = io.shutdown().await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), farewell).await;
}
