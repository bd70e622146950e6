//! WebSockets and the like: after a 101 from the endpoint, bytes go both ways until one side closes.
//!
//! A client of HTTP/1.1 asks by `upgrade` and gives its whole connection; one of HTTP/2 asks by extended CONNECT
//! (RFC 8441) and gives one stream. To the endpoint both look the same.

use std::rc::Rc;
use std::task::Poll;

use base64::Engine;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, response};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;

use super::body::ResponseBody;
use super::connection::Order;
use super::exchange::Exchange;
use super::forward::Job;
use super::io::Watched;
use super::local::LocalReply;
use super::meter::Metered;
use super::pool::{Lease, Upgraded};
use super::stream::{Late, StreamState};

static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What a client wants its connection, or its stream, to become.
pub(super) struct Asked {
    /// By its name.
    pub(super) protocol: HeaderValue,
    /// The stream of HTTP/2 that it is about.
    tunnel: Option<OnUpgrade>,
}

impl Asked {
    /// What the headers of HTTP/1.1 ask for. `h2c` is as good as nothing: a client that wants HTTP/2 may begin with it.
    pub(super) fn by_headers(headers: &mut HeaderMap) -> Option<Self> {
        let protocol = headers.remove(UPGRADE)?;
        if protocol.as_bytes().eq_ignore_ascii_case(b"h2c") {
            headers.remove(&HTTP2_SETTINGS);
            return None;
        }
        Some(Self { protocol, tunnel: None })
    }

    /// What a CONNECT of HTTP/2 asks for; it becomes the request that HTTP/1.1 would have.
    pub(super) fn by_connect<B>(request: &mut Request<B>) -> Option<Self> {
        let protocol = request.extensions_mut().remove::<Protocol>()?;
        let protocol = HeaderValue::from_str(protocol.as_str()).ok()?;
        let tunnel = request.extensions_mut().remove::<OnUpgrade>()?;
        *request.method_mut() = Method::GET;
        Some(Self { protocol, tunnel: Some(tunnel) })
    }
}

/// A connection whose endpoint has agreed to another protocol.
pub(super) struct Pending {
    upstream: oneshot::Receiver<Upgraded>,
    exchange: Box<Exchange>,
}

/// Asks an endpoint for another protocol, if the configuration lets the client have it.
pub(super) fn ask(job: &Job<'_>, headers: &mut HeaderMap, asked: Asked) -> Result<(), LocalReply> {
    let name = asked.protocol.as_bytes();
    let allowed = job.forward.upgrades.allows(name).or_else(|| job.options.upgrades.allows(name));
    if allowed != Some(true) {
        return Err(LocalReply::new(StatusCode::FORBIDDEN, "", None).and_close());
    }
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if asked.tunnel.is_some() && name.eq_ignore_ascii_case(b"websocket") {
        // HTTP/2 has no need of it, the endpoint has.
        headers.entry(SEC_WEBSOCKET_KEY).or_insert_with(websocket_key);
    }
    headers.insert(UPGRADE, asked.protocol);
    job.stream.upgrading.set(true);
    job.stream.tunnel.set(asked.tunnel);
    Ok(())
}

/// 16 random bytes (RFC 6455 §4.1).
fn websocket_key() -> HeaderValue {
    let key = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 16]>());
    HeaderValue::try_from(key).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The endpoint agrees: the client is joined to it when the response is written.
pub(super) fn accept(
    job: &Job<'_>,
    mut parts: response::Parts,
    lease: Lease,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let tunnel = job.stream.tunnel.take();
    let Some(upstream) = lease.into_upgraded() else {
        return LocalReply::protocol_error().into_response(exchange);
    };
    match tunnel {
        None => {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            job.session.upgrade(Pending { upstream, exchange });
        }
        Some(tunnel) => {
            for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
                parts.headers.remove(name);
            }
            parts.status = StatusCode::OK;
            exchange.responding(parts.status);
            let pending = Pending { upstream, exchange };
            tokio::task::spawn_local(async move {
                if let Ok(client) = tunnel.await {
                    join(TokioIo::new(client), Bytes::new(), pending).await;
                }
            });
        }
    }
    parts.version = http::Version::HTTP_11;
    parts.extensions = http::Extensions::new();
    Response::from_parts(parts, ResponseBody::bare(Bytes::new()))
}

/// Whether a client of HTTP/2 would take a response for consent that is none: the endpoint has answered as if nothing had
/// been asked.
pub(super) fn is_misunderstood(job: &Job<'_>, status: StatusCode) -> bool {
    status.is_success() && job.stream.tunnel.take().is_some()
}

/// Joins a client's whole connection to an endpoint's.
pub(super) async fn splice(client: Watched, early: Bytes, pending: Pending) {
    join(client, early, pending).await;
}

/// Joins two connections, until one side closes or neither says anything for too long.
async fn join(client: impl AsyncRead + AsyncWrite + Unpin, early: Bytes, pending: Pending) {
    let Pending { upstream, mut exchange } = pending;
    let stream = Rc::clone(exchange.stream());
    let mut client = Metered::new(client, Rc::clone(&stream));
    let count = Rc::clone(&client.count);
    let copying = async {
        let Ok(parts) = upstream.await else { return Ok(()) };
        let mut upstream = parts.io.into_inner();
        client.count.from.set(early.len() as u64);
        client.write_all(&parts.read_buf).await?;
        upstream.write_all(&early).await?;
        tokio::io::copy_bidirectional(&mut client, &mut upstream).await.map(drop)
    };
    let mut copying = std::pin::pin!(copying);
    let ended = std::future::poll_fn(|cx| {
        if is_over(&stream, cx) { Poll::Ready(None) } else { copying.as_mut().poll(cx).map(Some) }
    })
    .await;
    exchange.bytes_in = Some(Rc::new(count.from.get().into()));
    exchange.bytes_out = count.to.get();
    match ended {
        Some(Ok(())) => exchange.complete(),
        Some(Err(error)) => tracing::debug!(client = %stream.connection.remote, %error, "an upgraded connection broke"),
        None => {}
    }
}

/// Whether a tunnel has to end. A drain waits for its end, as for any request under way.
fn is_over(stream: &StreamState, cx: &std::task::Context<'_>) -> bool {
    // An HTTP/2 connection looks after its own orders, and takes its tunnels with it.
    let killed = !stream.http2 && matches!(stream.connection.take_order(cx), Some(Order::Kill | Order::Timeout));
    killed || stream.poll_late(cx) == Some(Late::Cut)
}
