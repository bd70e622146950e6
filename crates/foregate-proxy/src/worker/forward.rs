//! A request on its way to an endpoint and back: tries, timeouts, copies.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderMap};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use super::attempt::{self, Failure};
use super::body::{Received, RequestBody, ResponseBody};
use super::exchange::{Exchange, Flag};
use super::head::{self, Taken};
use super::instance::Held;
use super::local::LocalReply;
use super::mirror;
use super::pool::Lease;
use super::prepared::Prepared;
use super::replay::{DEFAULT_LIMIT, Replay};
use super::service::{Session, with_path};
use super::upgrade;
use super::upstream::Upstream;
use crate::config::action::{Forward, HostRewrite, Mirror, Target, WeightedCluster};
use crate::config::hcm::HttpOptions;
use crate::config::retry::RetryPolicy;
use crate::config::route::Route;
use crate::config::vhost::VirtualHost;
use crate::slots::Slot;
use crate::snapshot::RouteTable;

/// Everything about where a request goes, borrowed from the snapshot.
pub(super) struct Job<'a> {
    pub(super) session: &'a Rc<Session>,
    pub(super) snapshot: &'a Held,
    pub(super) options: &'a HttpOptions,
    pub(super) table: &'a RouteTable,
    pub(super) host: &'a VirtualHost,
    pub(super) route: &'a Route,
    pub(super) forward: &'a Forward,
}

impl<'a> Job<'a> {
    fn retry_policy(&self) -> Option<&'a RetryPolicy> {
        self.forward.retry.as_ref().or(self.host.retry.as_ref())
    }

    fn mirrors(&self) -> &'a [Mirror] {
        let levels = [&self.forward.mirrors, &self.host.mirrors, &self.table.options.mirrors];
        levels.into_iter().find(|mirrors| !mirrors.is_empty()).map_or(&[], Vec::as_slice)
    }

    pub(super) fn upstream(&self, slot: &Slot) -> Option<Rc<Upstream>> {
        let connection = &self.session.connection;
        connection.listener.instance.upstream(self.snapshot, slot.number, &connection.worker.registry)
    }
}

/// Forwards a request.
pub(super) async fn forward(
    job: Job<'_>,
    request: Request<Incoming>,
    taken: Taken,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    if let Some(limit) = job.forward.idle_timeout {
        job.session.limit_stream_idle(limit);
    }
    let (slot, weighted) = target(&job.forward.target);
    let result = match job.upstream(slot) {
        None => Err(LocalReply::new(job.forward.not_found, "no cluster", Flag::Nc)),
        Some(upstream) => send(&job, request, taken, &upstream, weighted, &mut exchange).await,
    };
    let mut response = match result {
        Ok((response, lease, deadline)) => respond(&job, response, lease, deadline, exchange),
        Err(reply) => reply.into_response(exchange),
    };
    edit_response(response.headers_mut(), job.table, job.host, job.route, weighted);
    response
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

type Sent = (Response<Incoming>, Option<Lease>, Option<Instant>);

async fn send(
    job: &Job<'_>,
    request: Request<Incoming>,
    taken: Taken,
    upstream: &Rc<Upstream>,
    weighted: Option<&WeightedCluster>,
    exchange: &mut Exchange,
) -> Result<Sent, LocalReply> {
    let (parts, incoming) = request.into_parts();
    let (mut headers, uri) = (parts.headers, parts.uri);
    edit_request(&mut headers, job, weighted);
    rewrite_host(&mut headers, job.forward, weighted);
    let path = job.forward.rewrite.apply(uri.path(), &job.route.matcher.path);
    let uri = match &path {
        Cow::Borrowed(_) => uri,
        Cow::Owned(path) => {
            note_original_path(&mut headers, job.options, &uri);
            with_path(&uri, path)?
        }
    };
    if let Some(timeout) = job.forward.timeout.filter(|_| !job.options.suppress_envoy_headers) {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        headers.insert(head::X_ENVOY_EXPECTED_RQ_TIMEOUT_MS.clone(), millis.into());
    }
    let wants_upgrade = taken.upgrade.filter(|upgrade| is_websocket(job, upgrade));
    let mut prepared = Prepared::new(parts.method, uri, headers, &job.session.connection.worker);
    if let Some(upgrade) = wants_upgrade {
        upgrade::ask(prepared.headers_mut(), upgrade);
    }
    let body = body(job, &prepared, incoming, exchange);
    let deadline = job.forward.timeout.map(|timeout| Instant::from_std(exchange.start()) + timeout);
    let tries = tries(job, prepared, body, upstream, exchange);
    let result = match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, tries).await,
        None => Ok(tries.await),
    };
    match result {
        Ok(Ok((response, lease))) => Ok((response, Some(lease), deadline)),
        Ok(Err(reply)) => Err(reply),
        Err(_) => {
            upstream.stats.timeouts.inc();
            Err(LocalReply::new(StatusCode::GATEWAY_TIMEOUT, "upstream request timeout", Flag::Ut))
        }
    }
}

fn note_original_path(headers: &mut HeaderMap, options: &HttpOptions, uri: &Uri) {
    if !options.suppress_envoy_headers
        && let Some(Ok(original)) = uri.path_and_query().map(|path| HeaderValue::from_str(path.as_str()))
    {
        headers.insert(head::X_ENVOY_ORIGINAL_PATH.clone(), original);
    }
}

fn is_websocket(job: &Job<'_>, upgrade: &HeaderValue) -> bool {
    job.forward.websocket.unwrap_or(job.options.websocket) && upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// A request's body; kept only if it may be needed again.
fn body(job: &Job<'_>, prepared: &Prepared, incoming: Incoming, exchange: &mut Exchange) -> Payload {
    let mirrors: Vec<&Mirror> = job.mirrors().iter().filter(|m| m.fraction.is_none_or(|f| f.hit())).collect();
    if incoming.is_end_stream() {
        mirror::start(job, prepared, &mirrors, None);
        return Payload::Empty;
    }
    let connection = exchange.connection();
    connection.receiving.set(true);
    let bytes: Rc<Cell<u64>> = Rc::default();
    let received = Received { incoming, bytes: Rc::clone(&bytes), connection: Rc::clone(connection) };
    exchange.bytes_in = Some(bytes);
    if job.retry_policy().is_none() && mirrors.is_empty() && !is_idempotent(&prepared.method) {
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
            Self::Replay(replay) => RequestBody::Replay(Rc::clone(replay), 0),
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

/// Tries until a response is good enough, or there are no tries left.
async fn tries(
    job: &Job<'_>,
    mut prepared: Prepared,
    mut payload: Payload,
    upstream: &Rc<Upstream>,
    exchange: &mut Exchange,
) -> Result<(Response<Incoming>, Lease), LocalReply> {
    let policy = job.retry_policy();
    let mut left = policy.map_or(0, |policy| policy.retries);
    let mut avoid = None;
    let mut attempt: u32 = 1;
    loop {
        if job.host.attempt_count {
            prepared.headers_mut().insert(head::X_ENVOY_ATTEMPT_COUNT.clone(), attempt.into());
        }
        let keep = left > 0;
        let result = attempt::attempt(upstream, &mut prepared, &mut payload, keep, policy, avoid, exchange).await;
        let again = policy.is_some_and(|policy| is_retriable(policy, &result)) && payload.can_restart();
        let within = upstream.retrying.get() < upstream.cluster().config.limits.retries;
        if again && left > 0 && within {
            left -= 1;
            avoid = exchange.upstream.as_ref().map(|host| host.address);
            drop(result);
            let _retrying = Retrying::new(upstream);
            tokio::time::sleep(policy.map_or(Duration::ZERO, |policy| policy.back_off(attempt))).await;
            attempt += 1;
            continue;
        }
        if again {
            exchange.flag(if within { Flag::Urx } else { Flag::Uo });
        }
        return result
            .map(|(mut response, lease)| {
                if job.host.attempt_count_in_response {
                    response.headers_mut().insert(head::X_ENVOY_ATTEMPT_COUNT.clone(), attempt.into());
                }
                (response, lease)
            })
            .map_err(|failure| failure.reply());
    }
}

/// Counts a retry for as long as it waits.
struct Retrying<'a>(&'a Upstream);

impl<'a> Retrying<'a> {
    fn new(upstream: &'a Upstream) -> Self {
        upstream.stats.retries.inc();
        upstream.retrying.set(upstream.retrying.get() + 1);
        Self(upstream)
    }
}

impl Drop for Retrying<'_> {
    fn drop(&mut self) {
        self.0.retrying.set(self.0.retrying.get() - 1);
    }
}

fn is_retriable(policy: &RetryPolicy, result: &Result<(Response<Incoming>, Lease), Failure>) -> bool {
    match result {
        Ok((response, _)) => policy.on_status(response.status()),
        Err(Failure::Connect(_)) => policy.on_connect_failure(),
        Err(Failure::Reset) => policy.on_reset(),
        Err(Failure::TryTimeout) => policy.any_5xx || policy.gateway_error,
        Err(Failure::NoEndpoint) => false,
        Err(Failure::Overflow) => false,
    }
}

fn edit_request(headers: &mut HeaderMap, job: &Job<'_>, weighted: Option<&WeightedCluster>) {
    let weighted = weighted.map(|weighted| &weighted.edits.request);
    let levels = [
        weighted,
        Some(&job.route.edits.request),
        Some(&job.host.edits.request),
        Some(&job.table.options.edits.request),
    ];
    apply_levels(headers, job.table, levels);
}

/// Changes a response's headers as route, virtual host and route configuration say.
pub(super) fn edit_response(
    headers: &mut HeaderMap,
    table: &RouteTable,
    host: &VirtualHost,
    route: &Route,
    weighted: Option<&WeightedCluster>,
) {
    let weighted = weighted.map(|weighted| &weighted.edits.response);
    let levels = [
        weighted,
        Some(&route.edits.response),
        Some(&host.edits.response),
        Some(&table.options.edits.response),
    ];
    apply_levels(headers, table, levels);
}

fn apply_levels(headers: &mut HeaderMap, table: &RouteTable, levels: [Option<&crate::config::headers::Edits>; 4]) {
    let busy = levels.into_iter().flatten().filter(|edits| !edits.is_empty());
    if table.options.most_specific_wins {
        busy.rev().for_each(|edits| edits.apply(headers));
    } else {
        busy.for_each(|edits| edits.apply(headers));
    }
}

fn rewrite_host(headers: &mut HeaderMap, forward: &Forward, weighted: Option<&WeightedCluster>) {
    let new = match (weighted.and_then(|weighted| weighted.host.as_ref()), &forward.host) {
        (Some(host), _) => Some(host.clone()),
        (None, HostRewrite::Keep) => None,
        (None, HostRewrite::Literal(host)) => Some(host.clone()),
        (None, HostRewrite::Header(name)) => headers.get(name).cloned(),
    };
    let Some(new) = new else { return };
    let old = headers.insert(HOST, new);
    if forward.append_x_forwarded_host
        && let Some(old) = old
    {
        headers.append(head::X_FORWARDED_HOST.clone(), old);
    }
}

fn respond(
    job: &Job<'_>,
    response: Response<Incoming>,
    lease: Option<Lease>,
    deadline: Option<Instant>,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let (mut parts, incoming) = response.into_parts();
    exchange.responding(parts.status);
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        upgrade::accept(job, &mut parts.headers, lease, exchange.connection());
        return Response::from_parts(parts, ResponseBody::upstream(incoming, None, None, exchange));
    }
    head::clean_response(&mut parts.headers);
    if !job.options.suppress_envoy_headers {
        let millis = u64::try_from(exchange.start().elapsed().as_millis()).unwrap_or(u64::MAX);
        parts.headers.insert(head::X_ENVOY_UPSTREAM_SERVICE_TIME.clone(), millis.into());
    }
    parts.version = http::Version::HTTP_11;
    parts.extensions = http::Extensions::new();
    Response::from_parts(parts, ResponseBody::upstream(incoming, lease, deadline, exchange))
}
