//! Spans on their way to the collector: gathered by worker, sent in batches, and dropped where there is no room.
//!
//! Nobody waits here but a task of its own, which is there only while there are spans.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use http::header::{CONTENT_TYPE, HOST, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::span::{self, Span};
use crate::config::hcm::{HttpOptions, SchemeOf};
use crate::config::trace_export::Exporter;
use crate::metrics::Registry;
use crate::worker::body::RequestBody;
use crate::worker::instance::Instance;
use crate::worker::pool::{self, Lease};

/// Spans that are sent without waiting for more.
const BATCH: u32 = 256;
/// The first span of a batch waits so long for others.
const GATHER: Duration = Duration::from_secs(1);
/// A batch that couldn't be delivered is sent again after a pause, which doubles, …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … up to this, …
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// … so often.
const MOST_TRIES: u32 = 6;
/// What is left when a gateway goes has so long.
const LAST_CHANCE: Duration = Duration::from_secs(2);
/// More of an answer isn't read.
const LONGEST_ANSWER: usize = 64 * 1024;

/// A worker's exporters.
#[derive(Default)]
pub(in crate::worker) struct Tracers {
    all: RefCell<Vec<Rc<Tracer>>>,
}

/// One exporter of one instance.
struct Tracer {
    exporter: Arc<Exporter>,
    /// The options that it is of.
    options: Weak<HttpOptions>,
    instance: Rc<Instance>,
    registry: Arc<Registry>,
    /// Encoded spans.
    batch: RefCell<Vec<u8>>,
    gathered: Cell<u32>,
    /// Spans of the batch that is being sent.
    sending: Cell<u32>,
    /// There is a task that sends.
    running: Cell<bool>,
    /// There are enough spans, or no time to wait for more.
    hurry: Notify,
    closing: Cell<bool>,
    /// All is sent, or given up.
    idle: Notify,
    /// The collector doesn't answer; said once.
    silent: Cell<bool>,
}

impl Tracers {
    /// Takes spans of requests that options are for.
    pub(super) fn send(
        &self,
        spans: &[Span],
        options: &Arc<HttpOptions>,
        instance: &Rc<Instance>,
        registry: &Arc<Registry>,
    ) {
        let Some(exporter) = options.tracing.as_ref().and_then(|tracing| tracing.exporter.as_ref()) else { return };
        let tracer = self.tracer(exporter, options, instance, registry);
        spans.iter().for_each(|span| tracer.take(span));
    }

    fn tracer(
        &self,
        exporter: &Arc<Exporter>,
        options: &Arc<HttpOptions>,
        instance: &Rc<Instance>,
        registry: &Arc<Registry>,
    ) -> Rc<Tracer> {
        let mut all = self.all.borrow_mut();
        if let Some(known) = all.iter().find(|known| Arc::ptr_eq(&known.exporter, exporter)) {
            return Rc::clone(known);
        }
        // Those of configurations that are gone, once they have nothing left to send.
        all.retain(|known| known.running.get() || known.options.strong_count() > 0);
        let tracer = Rc::new(Tracer {
            exporter: Arc::clone(exporter),
            options: Arc::downgrade(options),
            instance: Rc::clone(instance),
            registry: Arc::clone(registry),
            batch: RefCell::default(),
            gathered: Cell::new(0),
            sending: Cell::new(0),
            running: Cell::new(false),
            hurry: Notify::new(),
            closing: Cell::new(false),
            idle: Notify::new(),
            silent: Cell::new(false),
        });
        all.push(Rc::clone(&tracer));
        tracer
    }

    /// Sends what is there of an instance that goes.
    pub(in crate::worker) async fn finish(&self, instance: u64) {
        let mut going = Vec::new();
        self.all.borrow_mut().retain(|tracer| {
            let goes = tracer.instance.shared.key == instance;
            if goes {
                going.push(Rc::clone(tracer));
            }
            !goes
        });
        let finish = going.iter().map(|tracer| async move {
            tracer.closing.set(true);
            tracer.hurry.notify_one();
            while tracer.running.get() {
                tracer.idle.notified().await;
            }
        });
        let _ = tokio::time::timeout(LAST_CHANCE, futures::future::join_all(finish)).await;
    }
}

impl Tracer {
    fn take(self: &Rc<Self>, span: &Span) {
        let waiting = self.gathered.get() + self.sending.get();
        if waiting >= self.exporter.max_waiting {
            self.registry.spans_dropped.add_shared(1);
            return;
        }
        span.encode_into(&mut self.batch.borrow_mut());
        self.gathered.set(self.gathered.get() + 1);
        if self.gathered.get() == BATCH {
            self.hurry.notify_one();
        }
        if !self.running.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).run());
        }
    }

    async fn run(self: Rc<Self>) {
        while self.gathered.get() > 0 {
            if self.gathered.get() < BATCH && !self.closing.get() {
                let _ = tokio::time::timeout(GATHER, self.hurry.notified()).await;
            }
            let (batch, count) = (self.batch.take(), self.gathered.take());
            self.sending.set(count);
            self.deliver(span::request(&self.exporter, &batch), count).await;
            self.sending.set(0);
        }
        self.running.set(false);
        self.idle.notify_one();
    }

    async fn deliver(&self, message: Vec<u8>, count: u32) {
        let body = if self.exporter.grpc { framed(&message) } else { message.into() };
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let sending = self.send(body.clone());
            let answer = tokio::time::timeout(self.exporter.timeout, sending).await;
            match answer.unwrap_or_else(|_| Err(Failure::Away("it doesn't answer in time".to_owned()))) {
                Ok(()) => {
                    self.silent.set(false);
                    return self.registry.spans_exported.add_shared(count.into());
                }
                Err(Failure::Away(why)) if attempt < MOST_TRIES && !self.closing.get() => {
                    self.complain(&why);
                    let again = Instant::now() + pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    while !self.closing.get() && Instant::now() < again {
                        let _ = tokio::time::timeout_at(again, self.hurry.notified()).await;
                    }
                }
                Err(Failure::Away(why) | Failure::Refused(why)) => {
                    self.complain(&why);
                    return self.registry.spans_dropped.add_shared(count.into());
                }
            }
        }
    }

    /// Said once, until the collector takes spans again.
    fn complain(&self, why: &str) {
        if !self.silent.replace(true) {
            let cluster = &self.exporter.cluster.name;
            tracing::warn!(%cluster, why, "a collector doesn't take spans");
        }
    }

    async fn send(&self, body: Bytes) -> Result<(), Failure> {
        let away = |why: &str| Failure::Away(why.to_owned());
        let snapshot = self.instance.snapshot();
        let upstream = self.instance.upstream(&snapshot, self.exporter.cluster.number, &self.registry);
        let upstream = upstream.ok_or_else(|| away("its cluster isn't there"))?;
        let host = upstream.choose(None, None).ok_or_else(|| away("it has no endpoint"))?;
        let version = if self.exporter.grpc { Version::HTTP_2 } else { Version::HTTP_11 };
        let speak = upstream.speak(version, false);
        let carrier = match host.checkout(speak) {
            Some(carrier) => carrier,
            None => pool::wait(&upstream, &host, speak).await.map_err(|_| away("it can't be reached"))?,
        };
        let mut lease = Lease::new(carrier, &host, &upstream);
        let response = lease.send(self.request(body), SchemeOf::Endpoint).await;
        let response = response.map_err(|error| Failure::Away(error.into_error().to_string()))?;
        upstream.stats.requests[usize::from(response.status().as_u16() / 100).min(5)].inc();
        let (parts, body) = response.into_parts();
        let trailers = read(body).await?;
        lease.release(upstream.tick());
        match self.exporter.grpc && parts.status.is_success() {
            true => grpc_verdict(trailers.as_ref().unwrap_or(&parts.headers)),
            false => http_verdict(parts.status.as_u16()),
        }
    }

    fn request(&self, body: Bytes) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Whole(Some(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(self.exporter.path.clone());
        let headers = request.headers_mut();
        headers.insert(HOST, self.exporter.host.clone());
        let agent = HeaderValue::from_static(concat!("foregate/", env!("CARGO_PKG_VERSION")));
        headers.insert(header::USER_AGENT, agent);
        headers.extend(self.exporter.headers.clone());
        if self.exporter.grpc {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        }
        request
    }
}

/// Why a batch wasn't taken.
enum Failure {
    /// It may be taken later.
    Away(String),
    /// It never will be.
    Refused(String),
}

/// A message of gRPC, uncompressed.
fn framed(message: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(message);
    framed.into()
}

/// Reads an answer to its end; returns its trailers.
async fn read(mut body: Incoming) -> Result<Option<HeaderMap>, Failure> {
    let (mut trailers, mut length) = (None, 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Away(error.to_string()))?;
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > LONGEST_ANSWER {
            return Err(Failure::Refused("its answer is too long".to_owned()));
        }
        trailers = frame.into_trailers().ok().or(trailers);
    }
    Ok(trailers)
}

/// Which statuses may be better later: OTLP's specification, "Failures".
fn grpc_verdict(trailers: &HeaderMap) -> Result<(), Failure> {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let why = || format!("it answers with status {} of gRPC {}", text("grpc-status"), text("grpc-message"));
    match text("grpc-status") {
        "0" => Ok(()),
        "1" | "4" | "8" | "10" | "11" | "14" | "15" => Err(Failure::Away(why())),
        _ => Err(Failure::Refused(why())),
    }
}

fn http_verdict(status: u16) -> Result<(), Failure> {
    let why = format!("it answers with status {status}");
    match status {
        200..=299 => Ok(()),
        429 | 502 | 503 | 504 => Err(Failure::Away(why)),
        _ => Err(Failure::Refused(why)),
    }
}
