//! One try: a host, a connection, the request, the head of the response.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::RequestBody;
use super::exchange::{Exchange, Flag};
use super::forward::within;
use super::host::Host;
use super::local::LocalReply;
use super::payload::{Payload, is_idempotent};
use super::pool::{self, Lease};
use super::prepared::Prepared;

use super::upstream::Upstream;
use crate::config::cluster::ClusterConfig;
use crate::config::retry::RetryPolicy;

/// Why a try failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The cluster has no endpoint.
    NoEndpoint,
    /// A limit of the cluster is reached.
    Overflow,
    /// There is no connection.
    Connect(io::Error),
    /// The connection broke before a response.
    Reset,
    /// What came is no HTTP.
    Protocol,
    /// The client's body broke off, or is no HTTP.
    RequestBody,
    /// It took longer than one try may.
    TryTimeout,
}

impl Failure {
    /// What the client gets.
    pub(super) fn reply(&self) -> LocalReply {
        let unavailable = |text, flag| LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, text, flag);
        match self {
            Self::NoEndpoint => unavailable("no healthy upstream", Flag::Uh),
            Self::Overflow => {
                unavailable("upstream connect error or disconnect/reset before headers: overflow", Flag::Uo)
            }
            Self::Connect(error) if error.kind() == io::ErrorKind::TimedOut => {
                unavailable("upstream connect error: connection timeout", Flag::Uf)
            }
            Self::Connect(_) => unavailable("upstream connect error: connection failure", Flag::Uf),
            Self::Protocol => LocalReply::new(
                StatusCode::BAD_GATEWAY,
                "upstream connect error or disconnect/reset before headers: protocol error",
                Flag::Upe,
            ),
            Self::RequestBody => LocalReply::bad_request("the request's body is not valid").and_close(),
            Self::Reset => unavailable("upstream disconnected or reset before headers", Flag::Uc),
            Self::TryTimeout => LocalReply::new(StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", Flag::Ut),
        }
    }
}

/// Sends the request once. An idle connection that turns out to have been closed by the endpoint doesn't count: the
/// request goes out again on a fresh one, as long as nothing can have been done twice.
pub(super) async fn attempt(
    upstream: &Rc<Upstream>,
    prepared: &mut Prepared,
    payload: &mut Payload,
    keep: bool,
    policy: Option<&RetryPolicy>,
    avoid: Option<SocketAddr>,
    exchange: &mut Exchange,
) -> Result<(Response<Incoming>, Lease), Failure> {
    let cluster = upstream.cluster();
    let Some(host) = upstream.choose(avoid) else {
        upstream.stats.no_endpoint.inc();
        return Err(Failure::NoEndpoint);
    };
    if upstream.active.get() >= cluster.config.limits.requests {
        return Err(Failure::Overflow);
    }
    exchange.upstream = Some(Rc::clone(&host));
    let deadline = policy.and_then(|policy| policy.per_try_timeout).map(|limit| Instant::now() + limit);
    let result = {
        let mut sending = std::pin::pin!(exchange_with(upstream, &host, &cluster.config, prepared, payload, keep));
        within(deadline, sending.as_mut()).await.unwrap_or(Err(Failure::TryTimeout))
    };
    let result = match result {
        // Not the endpoint's doing: it gets no blame, and no other endpoint a try.
        Err(Failure::Reset | Failure::Protocol) if exchange.connection().broken_body.get() => Err(Failure::RequestBody),
        Ok((response, _)) if !is_sound(&response, exchange) => Err(Failure::Protocol),
        result => result,
    };
    let class = result.as_ref().map_or(0, |(response, _)| usize::from(response.status().as_u16() / 100).min(5));
    upstream.stats.requests[class].inc();
    match &result {
        Err(Failure::TryTimeout) => upstream.stats.timeouts.inc(),
        Err(Failure::Reset | Failure::Protocol) => upstream.stats.resets.inc(),
        _ => {}
    }
    result
}

async fn exchange_with(
    upstream: &Rc<Upstream>,
    host: &Rc<Host>,
    config: &ClusterConfig,
    prepared: &mut Prepared,
    payload: &mut Payload,
    keep: bool,
) -> Result<(Response<Incoming>, Lease), Failure> {
    let mut unsent = None;
    // Every idle connection may be stale; a fresh one never is.
    loop {
        let idle = host.checkout();
        let reused = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None if upstream.open.get() >= config.limits.connections => return Err(Failure::Overflow),
            // In a box, as it is rare and large: every request would carry room for it.
            None => Box::pin(pool::connect(upstream, host, config.connect_timeout)).await.map_err(Failure::Connect)?,
        };
        let mut lease = Lease::new(connection, Rc::clone(host), Rc::clone(upstream), config);
        let again = reused && is_idempotent(&prepared.method);
        let request = match unsent.take() {
            Some(request) => request,
            None => prepared.request(payload.body(), keep || again),
        };
        let Some(connection) = lease.connection() else { return Err(Failure::Reset) };
        let error = match connection.sender.try_send_request(request).await {
            Ok(response) => return Ok((response, lease)),
            Err(error) => error,
        };
        drop(lease);
        let mut error = error;
        unsent = error.take_message();
        let broken = error.into_error();
        tracing::trace!(host = %host.address, error = %broken, reused, "a request got no response");
        let stale = reused && (unsent.is_some() || (again && payload.can_restart() && is_disconnect(&broken)));
        if !stale {
            if let Some(request) = unsent {
                take_back(request, prepared, payload);
            }
            let no_http = broken.is_parse() || broken.is_parse_too_large();
            return Err(if no_http { Failure::Protocol } else { Failure::Reset });
        }
    }
}

/// Whether a head means one thing: one length (RFC 9112 §6.3), and no protocol that nobody asked for (RFC 9110 §15.2.2).
fn is_sound<B>(response: &Response<B>, exchange: &Exchange) -> bool {
    let headers = response.headers();
    let two_lengths = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    !two_lengths && (!switches || exchange.connection().upgrading.get())
}

/// The endpoint closed the connection, or reset it; not: the client's body failed.
fn is_disconnect(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_canceled() || error.is_closed() || !error.is_user() && !error.is_parse()
}

/// What was never sent can be sent another time.
fn take_back(request: Request<RequestBody>, prepared: &mut Prepared, payload: &mut Payload) {
    let (parts, body) = request.into_parts();
    prepared.unsent(parts.uri, parts.headers);
    if let (RequestBody::Stream(received), Payload::Once(slot)) = (body, payload) {
        *slot = Some(received);
    }
}
