//! A request's body, for all tries and copies of the request.

use std::cell::Cell;
use std::rc::Rc;

use http::Method;
use hyper::body::{Body, Incoming};

use super::body::{Received, RequestBody, Waiting};
use super::exchange::Exchange;
use super::forward::Job;
use super::mirror;
use super::prepared::Prepared;
use super::replay::{DEFAULT_LIMIT, Replay};
use crate::config::action::Mirror;
use crate::config::retry::RetryPolicy;

/// A request's body; kept only if it may be needed again, which `once` denies.
pub(super) fn payload(
    job: &Job<'_>,
    prepared: &Prepared,
    (incoming, waiting): (Incoming, Option<Box<Waiting>>),
    once: bool,
    exchange: &mut Exchange,
) -> Payload {
    let mirrors: Vec<&Mirror> = job.mirrors().iter().filter(|m| m.fraction.is_none_or(|f| f.hit())).collect();
    if waiting.is_none() && incoming.is_end_stream() {
        mirror::start(job, prepared, &mirrors, None);
        return Payload::Empty;
    }
    let stream = exchange.stream();
    stream.receiving.set(waiting.is_none());
    stream.broken_body.set(false);
    let bytes: Rc<Cell<u64>> = Rc::default();
    let received = Received { incoming, waiting, bytes: Rc::clone(&bytes), stream: Rc::clone(stream) };
    exchange.bytes_in = Some(bytes);
    // A connection of HTTP/2 may be closing when a request comes: what wasn't looked at is sent again elsewhere.
    let resends = job.retry_policy().is_some_and(RetryPolicy::resends);
    if once && !resends && mirrors.is_empty() && !is_idempotent(&prepared.method) {
        return Payload::Once(Some(received));
    }
    let limit = job.route.buffer_limit.or(job.host.buffer_limit).unwrap_or(DEFAULT_LIMIT);
    let (senders, receivers): (Vec<_>, Vec<_>) = mirrors.iter().map(|_| tokio::sync::mpsc::channel(64)).unzip();
    let replay = Rc::new(Replay::new(received, limit, senders));
    mirror::start(job, prepared, &mirrors, Some((&replay, receivers)));
    Payload::Replay(replay)
}

/// RFC 9110 §9.2.2: sent twice, they do no more than sent once.
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}

/// A request's body, for all tries.
pub(super) enum Payload {
    /// There is none.
    Empty,
    /// Can be sent once.
    Once(Option<Received>),
    /// Can be sent again, as long as it is kept.
    Replay(Rc<Replay>),
}

impl Payload {
    pub(super) fn body(&mut self) -> RequestBody {
        match self {
            Self::Empty => RequestBody::Empty,
            Self::Once(received) => received.take().map_or(RequestBody::Empty, RequestBody::Stream),
            Self::Replay(replay) => RequestBody::Replay(Rc::clone(replay), replay.begin()),
        }
    }

    /// There is a response: what was kept won't be needed.
    pub(super) fn settle(&self) {
        if let Self::Replay(replay) = self {
            replay.settle();
        }
    }

    pub(super) fn can_restart(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Once(received) => received.is_some(),
            Self::Replay(replay) => replay.can_restart(),
        }
    }
}
