//! A service is asked whether a request may pass: before it is routed, as its listener says, or after, as its route does.
//!
//! Only requests that somebody is asked about come here. Whatever goes wrong, the request is refused.

mod changes;
mod grpc;
mod http1;
mod question;

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::body::{RequestBody, ResponseBody, Waiting};
use super::exchange::{Exchange, Flag};
use super::forward::within;
use super::head::Taken;
use super::instance::Held;
use super::local::LocalReply;
use super::pool::{self, Lease};
use super::service::Session;
use super::stream::StreamState;
use crate::config::ext_authz::{Authorizer, Service};
use crate::config::hcm::SchemeOf;

pub(super) use changes::Addition;
use changes::Changes;

/// More of an answer isn't read.
const LONGEST_ANSWER: usize = 256 * 1024;

/// What a service says.
enum Answer {
    /// The request may pass, changed like this.
    Pass(Changes),
    /// It may not: this is the client's answer.
    Deny(Denial),
}

/// The answer of a client that may not pass.
pub(super) struct Denial {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("its cluster isn't there")]
    NoCluster,
    #[error("it has no endpoint")]
    NoEndpoint,
    #[error("too many requests are under way")]
    Overflow,
    #[error("it can't be reached")]
    Unreachable,
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error("its answer is too long")]
    TooLong,
    #[error("its answer makes no sense: {0}")]
    Nonsense(&'static str),
    #[error("it says that it can't answer: {0}")]
    Error(String),
    #[error("it doesn't answer in time")]
    Late,
}

/// A request that somebody is asked about.
pub(super) struct Asking<'a> {
    pub(super) session: &'a Rc<Session>,
    pub(super) stream: &'a Rc<StreamState>,
    pub(super) snapshot: &'a Held,
}

impl Asking<'_> {
    /// Asks; the request goes on, changed, or is answered.
    pub(super) async fn ask(
        &self,
        authorizer: &Authorizer,
        request: &mut Request<Incoming>,
        taken: &mut Taken,
        additions: &mut Vec<Addition>,
    ) -> Result<(), Refused> {
        if let Some(limit) = authorizer.body
            && taken.upgrade.is_none()
            && taken.waiting.is_none()
        {
            taken.waiting = gather(self.stream, request, limit.max).await?;
        }
        let body = taken.waiting.as_ref().filter(|_| authorizer.body.is_some());
        if let (Some(limit), Some(waiting)) = (authorizer.body, body)
            && waiting.data.len() > limit.max
        {
            return Err(too_large().into());
        }
        let body = body.map(|waiting| waiting.data.clone()).unwrap_or_default();
        let deadline = tokio::time::Instant::now() + authorizer.timeout;
        let answer = {
            let mut asking = std::pin::pin!(self.exchange(authorizer, request, body));
            within(Some(deadline), asking.as_mut()).await.unwrap_or(Err(Failure::Late))
        };
        let stats = &self.session.connection.listener.stats;
        match answer {
            Ok(Answer::Pass(changes)) => match changes.apply(authorizer, request, additions) {
                Ok(()) => {
                    stats.asked[0].inc();
                    Ok(())
                }
                Err(why) => {
                    stats.asked[2].inc();
                    tracing::debug!(cluster = %authorizer.cluster.name, why, "a service's changes can't be made");
                    Err(LocalReply::new(StatusCode::INTERNAL_SERVER_ERROR, "", Flag::Uaex).into())
                }
            },
            Ok(Answer::Deny(denial)) => {
                stats.asked[1].inc();
                Err(Refused::Denied(Box::new(denial)))
            }
            Err(why) => {
                stats.asked[2].inc();
                tracing::debug!(cluster = %authorizer.cluster.name, %why, "a service that is to be asked can't be");
                Err(LocalReply::new(authorizer.on_error, "", Flag::Uaex).into())
            }
        }
    }

    async fn exchange(
        &self,
        authorizer: &Authorizer,
        request: &Request<Incoming>,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let (question, version) = match &authorizer.service {
            Service::Grpc(host) => {
                let question = grpc::question(authorizer, host, request, &body, &self.session.connection);
                (question, Version::HTTP_2)
            }
            Service::Http { prefix, .. } => (http1::question(authorizer, prefix, request, &body)?, Version::HTTP_11),
        };
        let answer = self.send(authorizer, question, version).await?;
        match &authorizer.service {
            Service::Grpc(_) => grpc::answer(answer),
            Service::Http { upstream, client, .. } => http1::answer(answer, upstream, client.as_deref()),
        }
    }

    /// Sends the question. A connection that turns out to be closed doesn't count: it is asked again over another one.
    async fn send(&self, authorizer: &Authorizer, question: Question, version: Version) -> Result<Whole, Failure> {
        let connection = &self.session.connection;
        let upstream = connection.listener.instance.upstream(
            self.snapshot,
            authorizer.cluster.number,
            &connection.worker.registry,
        );
        let upstream = upstream.ok_or(Failure::NoCluster)?;
        let cluster = upstream.cluster();
        let mut host = upstream.choose(None, None);
        if host.is_none() && cluster.warming {
            host = upstream.choose_when_warm(None).await;
        }
        let Some(host) = host else {
            upstream.stats.no_endpoint.inc();
            return Err(Failure::NoEndpoint);
        };
        if upstream.active.get() >= cluster.config.limits.requests {
            return Err(Failure::Overflow);
        }
        let speak = upstream.speak(version, false);
        for again in [true, false] {
            let ready = if again { host.checkout(speak) } else { None };
            let reused = ready.is_some();
            let carrier = match ready {
                Some(carrier) => carrier,
                None => pool::wait(&upstream, &host, speak).await.map_err(|_| Failure::Unreachable)?,
            };
            let mut lease = Lease::new(carrier, &host, &upstream);
            match lease.send(question.request(), SchemeOf::Endpoint).await {
                Ok(response) => {
                    let status = response.status().as_u16();
                    upstream.stats.requests[usize::from(status / 100).min(5)].inc();
                    upstream.judge(&host, Some(status));
                    let whole = read(response).await?;
                    lease.release(upstream.tick());
                    return Ok(whole);
                }
                Err(error) if again && reused && !error.error().is_parse() => {}
                Err(error) => {
                    upstream.stats.resets.inc();
                    upstream.judge(&host, None);
                    return Err(error.into_error().into());
                }
            }
        }
        Err(Failure::Unreachable)
    }
}

/// What is sent to a service.
struct Question {
    method: http::Method,
    uri: http::Uri,
    headers: HeaderMap,
    body: Option<Bytes>,
}

impl Question {
    fn request(&self) -> Request<RequestBody> {
        let body = self.body.clone().map_or(RequestBody::Empty, |body| RequestBody::Whole(Some(body)));
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// A service's answer, whole.
struct Whole {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

async fn read(response: Response<Incoming>) -> Result<Whole, Failure> {
    let (parts, mut incoming) = response.into_parts();
    let (mut body, mut trailers) = (Vec::new(), None);
    while let Some(frame) = incoming.frame().await {
        match frame?.into_data() {
            Ok(data) if body.len() + data.len() > LONGEST_ANSWER => return Err(Failure::TooLong),
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Whole { status: parts.status, headers: parts.headers, body: body.into(), trailers })
}

/// Reads a request's body, which mustn't be longer than so many bytes.
async fn gather(
    stream: &StreamState,
    request: &mut Request<Incoming>,
    max: usize,
) -> Result<Option<Box<Waiting>>, LocalReply> {
    let body = request.body_mut();
    if body.is_end_stream() {
        return Ok(None);
    }
    if body.size_hint().lower() > max as u64 {
        return Err(too_large());
    }
    stream.receiving.set(true);
    let (mut data, mut trailers) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        stream.moved();
        let Ok(frame) = frame else {
            stream.receiving.set(false);
            return Err(LocalReply::bad_request("the request's body is not valid"));
        };
        match frame.into_data() {
            Ok(more) if data.len() + more.len() > max => return Err(too_large()),
            Ok(more) => data.extend_from_slice(&more),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    stream.receiving.set(false);
    Ok(Some(Box::new(Waiting { data: data.into(), trailers })))
}

fn too_large() -> LocalReply {
    LocalReply::new(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large", None).and_close()
}

/// Why a request goes no further.
pub(super) enum Refused {
    /// The engine's own answer.
    Reply(LocalReply),
    /// The service's.
    Denied(Box<Denial>),
}

impl From<LocalReply> for Refused {
    fn from(reply: LocalReply) -> Self {
        Self::Reply(reply)
    }
}

impl Refused {
    pub(super) fn into_response(self, exchange: Box<Exchange>) -> Response<ResponseBody> {
        let denial = match self {
            Self::Reply(reply) => return reply.into_response(exchange),
            Self::Denied(denial) => *denial,
        };
        let reply = LocalReply { flag: Some(Flag::Uaex), ..LocalReply::direct(denial.status, denial.body) };
        let mut response = reply.into_response(exchange);
        let headers = response.headers_mut();
        for (name, value) in denial.headers {
            if name == CONTENT_TYPE {
                headers.insert(name, value);
            } else if name != CONTENT_LENGTH {
                headers.append(name, value);
            }
        }
        response
    }
}

/// Whether a header is for one connection, or says where a message ends.
fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length"
            | "transfer-encoding"
            | "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "upgrade"
    ) || name == HOST
}
