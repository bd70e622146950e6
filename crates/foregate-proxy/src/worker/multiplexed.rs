//! HTTP/2 connections to endpoints: many requests at a time.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::header::{HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::body::RequestBody;
use super::dial::DialError;
use super::head;
use super::link::Link;
use super::pool::{Open, Sent};
use crate::config::http2::Http2Options;

/// Runs hyper's tasks of a connection on its worker's thread.
#[derive(Clone)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// A connection to an endpoint, shared by requests.
pub(super) struct Multiplexed {
    sender: RefCell<SendRequest<RequestBody>>,
    /// Requests under way.
    streams: Cell<u32>,
    /// At most so many, as the cluster and the endpoint say.
    max_streams: Rc<Cell<u32>>,
    /// Requests that it may still take.
    left: Cell<Option<u32>>,
    /// The tick at which it was made.
    pub(super) opened: u32,
    /// The tick at which the last request ended.
    since: Cell<u32>,
}

impl Multiplexed {
    /// Begins HTTP/2 on a stream of bytes.
    pub(super) async fn begin(
        link: Link,
        open: Open,
        options: &Http2Options,
        max_requests: Option<u32>,
        tick: u32,
    ) -> Result<Rc<Self>, DialError> {
        let builder = builder(options);
        let (told, heard) = oneshot::channel();
        let io = Hearing { link, told: Some(told) };
        let (sender, mut connection) = builder.handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
        let (most, max_streams) = (options.max_streams, Rc::new(Cell::new(options.max_streams)));
        let settings = Rc::clone(&max_streams);
        let (ready, begun) = oneshot::channel();
        tokio::task::spawn_local(async move {
            let mut heard = Some((heard, ready));
            let ended = std::future::poll_fn(|cx| {
                tell(&mut heard, cx);
                let polled = Pin::new(&mut connection).poll(cx);
                // What the endpoint allows is known from its settings on, and may change with later ones.
                let allowed = u32::try_from(connection.current_max_send_streams()).unwrap_or(u32::MAX);
                settings.set(allowed.min(most));
                polled
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "an HTTP/2 connection to an endpoint ended");
            }
            drop(open);
        });
        // An endpoint begins with its settings. One that says something else, or nothing, is no endpoint.
        begun.await.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok(Rc::new(Self {
            sender: RefCell::new(sender),
            streams: Cell::new(0),
            max_streams,
            left: Cell::new(max_requests),
            opened: tick,
            since: Cell::new(tick),
        }))
    }

    /// Whether another request may use it.
    pub(super) fn has_room(&self) -> bool {
        !self.is_spent() && self.streams.get() < self.max_streams.get()
    }

    /// How many requests it takes at a time.
    pub(super) fn room(&self) -> u32 {
        self.max_streams.get()
    }

    /// Whether it takes no request, not because of others, but by itself.
    pub(super) fn is_useless(&self) -> bool {
        self.streams.get() == 0 && !self.has_room()
    }

    /// Whether it will never be used again.
    pub(super) fn is_spent(&self) -> bool {
        self.sender.borrow().is_closed() || self.left.get() == Some(0)
    }

    /// The tick since when it is idle, if it is.
    pub(super) fn idle_since(&self) -> Option<u32> {
        (self.streams.get() == 0).then(|| self.since.get())
    }

    /// One more request uses it.
    pub(super) fn enter(&self) {
        self.streams.set(self.streams.get() + 1);
        self.left.set(self.left.get().map(|left| left.saturating_sub(1)));
    }

    /// A request is done with it.
    pub(super) fn leave(&self, tick: u32) {
        self.streams.set(self.streams.get().saturating_sub(1));
        self.since.set(tick);
    }

    /// Sends a request.
    pub(super) fn send(&self, request: Request<RequestBody>) -> impl Future<Output = Sent> + use<> {
        self.sender.borrow_mut().try_send_request(request)
    }
}

fn builder(options: &Http2Options) -> Builder<OnThisThread> {
    let mut builder = Builder::new(OnThisThread);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .header_table_size(options.header_table);
    if let Some((interval, timeout)) = options.keepalive {
        builder.keep_alive_interval(interval).keep_alive_timeout(timeout).keep_alive_while_idle(true);
    }
    builder
}

/// Says that the endpoint has said something, once.
fn tell(heard: &mut Option<(oneshot::Receiver<()>, oneshot::Sender<()>)>, cx: &mut Context<'_>) {
    if heard.as_mut().is_some_and(|(heard, _)| Pin::new(heard).poll(cx).is_ready())
        && let Some((_, ready)) = heard.take()
    {
        let _ = ready.send(());
    }
}

/// A stream of bytes that tells when the first ones come.
struct Hearing {
    link: Link,
    told: Option<oneshot::Sender<()>>,
}

impl AsyncRead for Hearing {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.link).poll_read(cx, buf);
        if buf.filled().len() > before
            && let Some(told) = self.told.take()
        {
            let _ = told.send(());
        }
        result
    }
}

impl AsyncWrite for Hearing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.link.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(cx)
    }
}

/// Puts a request into the form that HTTP/2 connections want: the host is part of the target, and the scheme is what the
/// endpoint is spoken to in, or what `x-forwarded-proto` says, as in Envoy.
pub(super) fn to_http2(request: &mut Request<RequestBody>, tls: Option<bool>) {
    let Some(host) = request.headers_mut().remove(HOST) else { return };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return };
    let said = || request.headers().get(&head::X_FORWARDED_PROTO).is_some_and(|scheme| scheme == "https");
    let tls = tls.unwrap_or_else(said);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(authority);
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = http::Version::HTTP_2;
}

/// Puts a request back into the form that HTTP/1.1 connections, and other tries, want.
pub(super) fn to_http1(request: &mut Request<RequestBody>) {
    let Some(authority) = request.uri().authority() else { return };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    *request.version_mut() = http::Version::HTTP_11;
}
