//! A request on its way to an endpoint and back: tries, timeouts, copies.

use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::header::SET_COOKIE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::affinity::{self, Affinity};
use super::body::{Arriving, ResponseBody};
use super::cors::Readable;
use super::dial::Speak;
use super::exchange::{Exchange, Flag};
use super::head::{self, Taken};
use super::instance::Held;
use super::kept::{self, Kept};
use super::local::LocalReply;
use super::payload::{Payload, payload};
use super::pool::Lease;
use super::prepared::Prepared;
use super::service::{Session, with_path};
use super::stream::StreamState;
use super::tries::tries;
use super::upstream::Upstream;
use super::{edits, upgrade};
use crate::config::action::{Forward, Mirror, Target, WeightedCluster};
use crate::config::hcm::HttpOptions;
use crate::config::retry::RetryPolicy;
use crate::config::route::Route;
use crate::config::vhost::VirtualHost;
use crate::slots::Slot;
use crate::snapshot::RouteTable;

/// Everything about where a request goes, borrowed from the snapshot.
pub(super) struct Job<'a> {
    pub(super) session: &'a Rc<Session>,
    pub(super) stream: &'a Rc<StreamState>,
    pub(super) snapshot: &'a Held,
    pub(super) options: &'a HttpOptions,
    pub(super) table: &'a RouteTable,
    pub(super) host: &'a VirtualHost,
    pub(super) route: &'a Route,
    pub(super) forward: &'a Forward,
}

impl<'a> Job<'a> {
    pub(super) fn retry_policy(&self) -> Option<&'a RetryPolicy> {
        self.forward.retry.as_ref().or(self.host.retry.as_ref())
    }

    pub(super) fn mirrors(&self) -> &'a [Mirror] {
        let levels = [&self.forward.mirrors, &self.host.mirrors, &self.table.options.mirrors];
        levels.into_iter().find(|mirrors| !mirrors.is_empty()).map_or(&[], Vec::as_slice)
    }

    /// Whose header changes count.
    pub(super) fn place(&self, weighted: Option<&'a WeightedCluster>) -> edits::Place<'a> {
        edits::Place { options: self.options, table: self.table, host: self.host, route: self.route, weighted }
    }

    pub(super) fn upstream(&self, slot: &Slot) -> Option<Rc<Upstream>> {
        let connection = &self.session.connection;
        connection.listener.instance.upstream(self.snapshot, slot.number, &connection.worker.registry)
    }
}

fn target(target: &Target) -> (&Arc<Slot>, Option<&WeightedCluster>) {
    match target {
        Target::Cluster(slot) => (slot, None),
        Target::Weighted { total, clusters } => {
            let mut left = rand::random_range(0..*total);
            let chosen = clusters.iter().find(|cluster| {
                let hit = left < cluster.weight;
                left = left.saturating_sub(cluster.weight);
                hit
            });
            let chosen = chosen.unwrap_or(&clusters[0]);
            (&chosen.cluster, Some(chosen))
        }
    }
}

/// What is sent where; it stays in one place while it is tried.
pub(super) struct Outgoing<'a> {
    pub(super) prepared: Prepared,
    pub(super) payload: Payload,
    pub(super) upstream: Rc<Upstream>,
    /// What is spoken with its endpoints.
    pub(super) speak: Speak,
    /// Which endpoint it belongs to.
    pub(super) affinity: Affinity,
    weighted: Option<&'a WeightedCluster>,
    /// Its client is kept at an endpoint.
    pub(super) kept: Option<Box<Kept<'a>>>,
    /// The page that it is of may read the response.
    readable: Option<Box<Readable<'a>>>,
}

/// Makes the upstream request of a request.
pub(super) fn begin<'a>(
    job: &Job<'a>,
    request: Request<Incoming>,
    taken: Taken,
    readable: &mut Option<Box<Readable<'a>>>,
    exchange: &mut Exchange,
) -> Result<Outgoing<'a>, LocalReply> {
    if let Some(limit) = job.forward.idle_timeout {
        job.stream.limit_idle(limit);
    }
    let (slot, weighted) = target(&job.forward.target);
    let upstream = job.upstream(slot).ok_or_else(|| LocalReply::new(job.forward.not_found, "", Flag::Nc))?;
    let (parts, incoming) = request.into_parts();
    let (mut headers, uri) = (parts.headers, parts.uri);
    let kept = job.options.kept.then(|| {
        let said = [&job.route.filters, &job.host.filters, &job.table.options.filters].map(Some);
        let levels = [weighted.map(|weighted| &weighted.filters), said[0], said[1], said[2]];
        kept::of(levels, job.options.session.as_ref(), &headers, &uri)
    });
    edits::edit_request(&mut headers, (&parts.method, &uri), job.place(weighted), exchange);
    edits::rewrite_host(&mut headers, job.forward, weighted);
    if let Some(trace) = &mut exchange.trace {
        trace.forward((&parts.method, &uri), &mut headers, &upstream.name);
    }
    let path = job.forward.rewrite.apply(uri.path(), &job.route.matcher.path);
    let uri = match &path {
        Cow::Borrowed(_) => uri,
        Cow::Owned(path) => {
            edits::note_original_path(&mut headers, job.options, &uri);
            with_path(&uri, path)?
        }
    };
    if let Some(timeout) = job.forward.timeout.filter(|_| !job.options.suppress_envoy_headers) {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        headers.insert(head::X_ENVOY_EXPECTED_RQ_TIMEOUT_MS.clone(), millis.into());
    }
    if let Some(asked) = taken.upgrade {
        upgrade::ask(job, &mut headers, asked)?;
    }
    let affinity = match upstream.cluster().table {
        Some(_) => affinity::of(&job.forward.hash, &headers, &uri, &job.session.connection, job.options),
        None => Affinity::default(),
    };
    let prepared = Prepared::new(parts.method, uri, headers, &job.session.connection.worker);
    let speak = upstream.speak(parts.version, job.stream.upgrading.get());
    let payload = payload(job, &prepared, (incoming, taken.waiting), speak == Speak::Http1, exchange);
    let short = speak == Speak::Http1
        && !job.stream.upgrading.get()
        && matches!(payload, Payload::Empty)
        && matches!(prepared.method, Method::GET | Method::HEAD);
    let speak = if short { Speak::Plain } else { speak };
    let readable = readable.take();
    Ok(Outgoing { prepared, payload, upstream, speak, affinity, weighted, kept: kept.flatten(), readable })
}

/// Sends it, and makes the response of what comes back.
pub(super) async fn run(
    job: &Job<'_>,
    outgoing: &mut Outgoing<'_>,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let weighted = outgoing.weighted;
    let deadline = job.forward.timeout.map(|timeout| Instant::from_std(exchange.start()) + timeout);
    let result = {
        let mut tries = std::pin::pin!(tries(job, outgoing, &mut exchange));
        within(deadline, tries.as_mut()).await
    };
    let mut response = match result {
        Some(Ok((mut response, lease))) => {
            if let Some(cookie) = outgoing.affinity.cookie.take() {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
            if let (Some(kept), Some(host)) = (&outgoing.kept, &exchange.upstream) {
                kept.say(host, response.headers_mut());
            }
            respond(job, response, lease, deadline, exchange)
        }
        Some(Err(reply)) => {
            let overloaded = reply.flag == Some(Flag::Uo) && !job.options.suppress_envoy_headers;
            let mut response = reply.into_response(exchange);
            if overloaded {
                let headers = response.headers_mut();
                headers.insert(head::X_ENVOY_OVERLOADED.clone(), HeaderValue::from_static("true"));
            }
            response
        }
        None => {
            outgoing.upstream.stats.timeouts.inc();
            let reply = LocalReply::new(StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", Flag::Ut);
            reply.into_response(exchange)
        }
    };
    edits::edit_response(&mut response, job.place(weighted));
    if let Some(readable) = &outgoing.readable {
        readable.say(response.headers_mut());
    }
    response
}

/// What a future gives, or nothing when its time is over. The future stays where its owner pinned it: moved in here, it
/// would be kept room for twice.
pub(super) async fn within<F: Future>(deadline: Option<Instant>, mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut timer = std::pin::pin!(deadline.map(tokio::time::sleep_until));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

fn respond(
    job: &Job<'_>,
    response: Response<Arriving>,
    lease: Lease,
    deadline: Option<Instant>,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let (mut parts, incoming) = response.into_parts();
    exchange.responding(parts.status);
    exchange.note_answer(&parts.headers);
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return upgrade::accept(job, parts, lease, exchange);
    }
    if upgrade::is_misunderstood(job, parts.status) {
        return LocalReply::protocol_error().into_response(exchange);
    }
    head::clean_response(&mut parts.headers);
    if !job.options.suppress_envoy_headers {
        let millis = u64::try_from(exchange.start().elapsed().as_millis()).unwrap_or(u64::MAX);
        parts.headers.insert(head::X_ENVOY_UPSTREAM_SERVICE_TIME.clone(), millis.into());
    }
    parts.version = http::Version::HTTP_11;
    parts.extensions = http::Extensions::new();
    Response::from_parts(parts, ResponseBody::upstream(incoming, Some(lease), deadline, exchange))
}
