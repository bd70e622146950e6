//! One try: a host, a connection, the request, the head of the response.

use std::rc::Rc;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::body::{Arriving, RequestBody};
use super::dial::{DialError, Speak};
use super::exchange::{Exchange, Flag};
use super::forward::within;
use super::host::Host;
use super::local::LocalReply;
use super::multiplexed::to_http1;
use super::payload::{Payload, is_idempotent};
use super::plain::Broken;
use super::pool::{self, Lease};
use super::prepared::Prepared;
use super::upstream::Upstream;
use crate::config::hcm::SchemeOf;
use crate::config::retry::RetryPolicy;

/// Why a try failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The cluster has no endpoint.
    NoEndpoint,
    /// A limit of the cluster is reached.
    Overflow,
    /// There is no connection.
    Connect(DialError),
    /// The connection broke before a response.
    Closed,
    /// The endpoint gave the request up before a response.
    Reset,
    /// The endpoint says that it hasn't looked at the request.
    Refused,
    /// What came is no HTTP.
    Protocol,
    /// The client's body broke off, or is no HTTP.
    RequestBody,
    /// It took longer than one try may.
    TryTimeout,
}

/// Envoy's text for a request that got no response, and the same after other tries.
macro_rules! no_response {
    ($retried:expr, $reason:literal) => {
        if $retried {
            concat!(
                "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: ",
                $reason
            )
        } else {
            concat!("upstream connect error or disconnect/reset before headers. reset reason: ", $reason)
        }
    };
}

impl Failure {
    /// What the client gets, in Envoy's words; `retried` if this wasn't the first try.
    pub(super) fn reply(&self, retried: bool) -> LocalReply {
        let unavailable = |text, flag| LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, text, flag);
        match self {
            Self::NoEndpoint => unavailable("no healthy upstream", Flag::Uh),
            Self::Overflow => unavailable(no_response!(retried, "overflow"), Flag::Uo),
            Self::Connect(DialError::Timeout) => unavailable(no_response!(retried, "connection timeout"), Flag::Uf),
            Self::Connect(_) => unavailable(no_response!(retried, "remote connection failure"), Flag::Uf),
            Self::Closed => unavailable(no_response!(retried, "connection termination"), Flag::Uc),
            Self::Reset => unavailable(no_response!(retried, "remote reset"), Flag::Ur),
            Self::Refused => unavailable(no_response!(retried, "remote refused stream reset"), Flag::Ur),
            Self::Protocol => {
                LocalReply::new(StatusCode::BAD_GATEWAY, no_response!(retried, "protocol error"), Flag::Upe)
            }
            Self::RequestBody => LocalReply::bad_request("the request's body is not valid").and_close(),
            Self::TryTimeout => LocalReply::new(StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", Flag::Ut),
        }
    }

    /// What became of a try, in Envoy's words and letters; nothing where it never got as far as an endpoint.
    pub(super) fn reason(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::NoEndpoint | Self::Overflow => None,
            Self::Connect(DialError::Timeout) => Some(("connection timeout", "UF")),
            Self::Connect(_) => Some(("remote connection failure", "UF")),
            Self::Closed => Some(("connection termination", "UC")),
            Self::Reset => Some(("remote reset", "UR")),
            Self::Refused => Some(("remote refused stream reset", "UR")),
            Self::Protocol => Some(("protocol error", "UPE")),
            Self::RequestBody => Some(("local reset", "-")),
            Self::TryTimeout => Some(("per try timeout", "UT")),
        }
    }

    /// The request was under way, and then it wasn't any more.
    pub(super) fn is_reset(&self) -> bool {
        matches!(self, Self::Closed | Self::Reset | Self::Refused | Self::Protocol)
    }
}

/// One try's terms.
#[derive(Clone, Copy)]
pub(super) struct Try<'a> {
    /// What is spoken with the endpoint.
    pub(super) speak: Speak,
    /// What `:scheme` says.
    pub(super) scheme: SchemeOf,
    /// Which endpoint it belongs to, if any.
    pub(super) hash: Option<u64>,
    /// The address of the endpoint that the client has been at, if it still is one.
    pub(super) wanted: Option<&'a str>,
    /// Another try may follow one that an endpoint has seen.
    pub(super) keep: bool,
    pub(super) policy: Option<&'a RetryPolicy>,
    /// Another host than this, if there is one.
    pub(super) avoid: Option<&'a Rc<Host>>,
}

/// Sends the request once. A connection that turns out to be closed, or closing, doesn't count: the request goes out
/// again on another, as long as nothing can have been done twice.
pub(super) async fn attempt(
    upstream: &Rc<Upstream>,
    prepared: &mut Prepared,
    payload: &mut Payload,
    terms: Try<'_>,
    exchange: &mut Exchange,
) -> Result<(Response<Arriving>, Lease), Failure> {
    let cluster = upstream.cluster();
    let mut host = terms.wanted.and_then(|address| upstream.host_at(address));
    host = host.or_else(|| upstream.choose(terms.hash, terms.avoid));
    if host.is_none() && cluster.warming {
        host = Box::pin(upstream.choose_when_warm(terms.hash)).await;
    }
    let Some(host) = host else {
        upstream.stats.no_endpoint.inc();
        return Err(Failure::NoEndpoint);
    };
    if upstream.active.get() >= cluster.config.limits.requests {
        return Err(Failure::Overflow);
    }
    exchange.upstream = Some(Rc::clone(&host));
    let deadline = terms.policy.and_then(|policy| policy.per_try_timeout).map(|limit| Instant::now() + limit);
    let result = {
        let mut sending = std::pin::pin!(exchange_with(upstream, &host, prepared, payload, terms));
        within(deadline, sending.as_mut()).await.unwrap_or(Err(Failure::TryTimeout))
    };
    let result = match result {
        // Not the endpoint's doing: it gets no blame, and no other endpoint a try.
        Err(failure) if failure.is_reset() && exchange.stream().broken_body.get() => Err(Failure::RequestBody),
        Ok((response, _)) if !is_sound(&response, exchange) => Err(Failure::Protocol),
        result => result,
    };
    let class = result.as_ref().map_or(0, |(response, _)| usize::from(response.status().as_u16() / 100).min(5));
    upstream.stats.requests[class].inc();
    match &result {
        Ok((response, _)) => upstream.judge(&host, Some(response.status().as_u16())),
        Err(Failure::NoEndpoint | Failure::Overflow | Failure::RequestBody) => {}
        Err(_) => upstream.judge(&host, None),
    }
    match &result {
        Err(Failure::TryTimeout) => upstream.stats.timeouts.inc(),
        Err(failure) if failure.is_reset() => upstream.stats.resets.inc(),
        _ => {}
    }
    result
}

/// How often a request goes to a connection that doesn't take it, before that counts as a failed try.
const MOST_REFUSALS: u32 = 3;

async fn exchange_with(
    upstream: &Rc<Upstream>,
    host: &Rc<Host>,
    prepared: &mut Prepared,
    payload: &mut Payload,
    Try { speak, scheme, keep, .. }: Try<'_>,
) -> Result<(Response<Arriving>, Lease), Failure> {
    if speak == Speak::Plain {
        return plain_exchange(upstream, host, prepared).await;
    }
    let mut unsent = None;
    let mut refusals = 0;
    // Every connection that was there may be stale; a fresh one never is.
    loop {
        let ready = host.checkout(speak);
        let reused = ready.is_some();
        let carrier = match ready {
            Some(carrier) => carrier,
            // In a box, as it is rare and large: every request would carry room for it.
            None => match Box::pin(pool::wait(upstream, host, speak)).await {
                Ok(carrier) => carrier,
                Err(failure) => {
                    // A stale connection has given it back: another endpoint may get it.
                    if let Some(request) = unsent {
                        take_back(request, prepared, payload);
                    }
                    return Err(failure);
                }
            },
        };
        let mut lease = Lease::new(carrier, host, upstream);
        // An endpoint may close a connection while a request is on its way there; with HTTP/2 it says which it has seen.
        let again = reused && !lease.is_shared() && is_idempotent(&prepared.method);
        let request = match unsent.take() {
            Some(request) => request,
            None => prepared.request(payload.body(), keep || again || lease.is_shared()),
        };
        let mut error = match lease.send(request, scheme).await {
            Ok(response) => return Ok((response.map(Arriving::Hyper), lease)),
            Err(error) => error,
        };
        unsent = error.take_message();
        let broken = error.into_error();
        tracing::trace!(host = %host.address, error = %broken, reused, "a request got no response");
        let shared = lease.is_shared();
        drop(lease);
        let fate = fate(&broken);
        let untouched = unsent.is_some() || (fate == Fate::Refused && payload.can_restart());
        refusals += u32::from(shared);
        let stale = reused && (unsent.is_some() || (again && payload.can_restart() && fate == Fate::Disconnected));
        if stale || (shared && untouched && refusals < MOST_REFUSALS) {
            continue;
        }
        if let Some(request) = unsent {
            take_back(request, prepared, payload);
        }
        return Err(match fate {
            Fate::Refused => Failure::Refused,
            Fate::NoHttp => Failure::Protocol,
            Fate::Reset => Failure::Reset,
            Fate::Disconnected | Fate::Other => Failure::Closed,
        });
    }
}

/// The same for a request without a body, which may always be sent twice.
async fn plain_exchange(
    upstream: &Rc<Upstream>,
    host: &Rc<Host>,
    prepared: &mut Prepared,
) -> Result<(Response<Arriving>, Lease), Failure> {
    let bodiless = prepared.method == Method::HEAD;
    loop {
        let ready = host.checkout(Speak::Plain);
        let reused = ready.is_some();
        let carrier = match ready {
            Some(carrier) => carrier,
            None => Box::pin(pool::wait(upstream, host, Speak::Plain)).await?,
        };
        let mut lease = Lease::new(carrier, host, upstream);
        let Some(connection) = lease.plain() else { return Err(Failure::Closed) };
        prepared.write(connection.begin());
        match std::future::poll_fn(|cx| connection.poll_exchange(bodiless, cx)).await {
            Ok((response, body)) => return Ok((response.map(|()| Arriving::Plain(body)), lease)),
            Err(Broken::NoHttp) => return Err(Failure::Protocol),
            Err(Broken::Connection(error)) => {
                tracing::trace!(host = %host.address, %error, reused, "a request got no response");
                if !reused {
                    return Err(Failure::Closed);
                }
            }
        }
    }
}

/// What became of a request without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The endpoint says that it hasn't looked at it (RFC 9113 §8.7).
    Refused,
    /// The endpoint has given it up.
    Reset,
    /// The endpoint closed the connection, or reset it; not: the client's body failed.
    Disconnected,
    /// What came is no HTTP.
    NoHttp,
    Other,
}

fn fate(error: &hyper::Error) -> Fate {
    if let Some(h2) = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>()) {
        return match h2.reason() {
            _ if h2.is_remote() && h2.is_go_away() => Fate::Refused,
            Some(h2::Reason::REFUSED_STREAM) if h2.is_remote() => Fate::Refused,
            _ if h2.is_io() => Fate::Disconnected,
            // The codec found something in what came.
            Some(_) if h2.is_library() => Fate::NoHttp,
            _ if h2.is_remote() => Fate::Reset,
            _ => Fate::Other,
        };
    }
    if error.is_parse() || error.is_parse_too_large() {
        return Fate::NoHttp;
    }
    let gone = error.is_incomplete_message() || error.is_canceled() || error.is_closed() || !error.is_user();
    if gone { Fate::Disconnected } else { Fate::Other }
}

/// Whether a head means one thing: one length (RFC 9112 §6.3), and no protocol that nobody asked for (RFC 9110 §15.2.2).
fn is_sound<B>(response: &Response<B>, exchange: &Exchange) -> bool {
    let headers = response.headers();
    let two_lengths = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    !two_lengths && (!switches || exchange.stream().upgrading.get())
}

/// What was never sent can be sent another time.
fn take_back(request: Request<RequestBody>, prepared: &mut Prepared, payload: &mut Payload) {
    let mut request = request;
    to_http1(&mut request);
    let (parts, body) = request.into_parts();
    prepared.unsent(parts.uri, parts.headers);
    if let (RequestBody::Stream(received), Payload::Once(slot)) = (body, payload) {
        *slot = Some(received);
    }
}
