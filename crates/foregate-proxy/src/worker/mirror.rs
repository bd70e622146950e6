//! Copies of requests to other clusters; their responses are thrown away.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request};
use http_body_util::BodyExt;
use tokio::sync::mpsc::Receiver;

use super::body::{CopiedBody, RequestBody};
use super::dial::Speak;
use super::forward::Job;
use super::pool::{self, Lease};
use super::prepared::Prepared;
use super::replay::Replay;
use super::upstream::Upstream;
use crate::config::action::Mirror;
use crate::config::hcm::SchemeOf;

/// For copies on routes without a timeout: what nobody waits for must end some time.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Sends copies of a request. Nothing about them can delay or fail the request itself.
pub(super) fn start(
    job: &Job<'_>,
    prepared: &Prepared,
    mirrors: &[&Mirror],
    body: Option<(&Rc<Replay>, Vec<Receiver<Bytes>>)>,
) {
    let (replay, mut receivers) = match body {
        Some((replay, receivers)) => (Some(replay), receivers),
        None => (None, Vec::new()),
    };
    for mirror in mirrors.iter().rev() {
        let receiver = receivers.pop();
        let Some(upstream) = job.upstream(&mirror.cluster) else { continue };
        let body = match (replay, receiver) {
            (Some(replay), Some(data)) => {
                RequestBody::Copy(CopiedBody { data, size: replay.size, whole: Rc::clone(&replay.whole) })
            }
            _ => RequestBody::Empty,
        };
        let mut request = Request::new(body);
        *request.method_mut() = prepared.method.clone();
        *request.uri_mut() = prepared.uri.clone();
        *request.headers_mut() = prepared.headers.clone();
        rename(&mut request, mirror);
        let timeout = job.forward.timeout.unwrap_or(TIMEOUT);
        let version = if job.stream.http2 { http::Version::HTTP_2 } else { http::Version::HTTP_11 };
        let speak = upstream.speak(version, false);
        let scheme = job.options.scheme;
        let worker = Rc::clone(&job.session.connection.worker);
        tokio::task::spawn_local(async move {
            let sending = send(&upstream, request, (speak, scheme), worker.tick.get());
            if !matches!(tokio::time::timeout(timeout, sending).await, Ok(Some(()))) {
                tracing::trace!(cluster = %upstream.name, "a copy of a request failed");
            }
        });
    }
}

/// A copy's host says that it is one.
fn rename(request: &mut Request<RequestBody>, mirror: &Mirror) {
    let host = match (&mirror.host, request.headers().get(HOST)) {
        (Some(host), _) => Some(host.clone()),
        (None, Some(host)) if mirror.shadow_suffix => shadow(host),
        _ => None,
    };
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
}

/// `example.com:80` → `example.com-shadow:80`
fn shadow(host: &HeaderValue) -> Option<HeaderValue> {
    let (name, port) = super::redirect::split_port(host.to_str().ok()?);
    let host = match port {
        Some(port) => format!("{name}-shadow:{port}"),
        None => format!("{name}-shadow"),
    };
    HeaderValue::from_str(&host).ok()
}

async fn send(
    upstream: &Rc<Upstream>,
    request: Request<RequestBody>,
    (speak, scheme): (Speak, SchemeOf),
    tick: u32,
) -> Option<()> {
    let cluster = upstream.cluster();
    let host = upstream.choose(None, None)?;
    if upstream.active.get() >= cluster.config.limits.requests {
        return None;
    }
    let carrier = match host.checkout(speak) {
        Some(carrier) => carrier,
        None => pool::wait(upstream, &host, speak).await.ok()?,
    };
    upstream.stats.mirrored.inc();
    let mut lease = Lease::new(carrier, &host, upstream);
    let response = lease.send(request, scheme).await.ok()?;
    upstream.stats.requests[usize::from(response.status().as_u16() / 100).min(5)].inc();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.ok()?;
    }
    lease.release(tick);
    Some(())
}
