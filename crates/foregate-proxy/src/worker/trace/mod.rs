//! A request's spans: begun when the request has been taken in, finished and handed over when it is done.
//!
//! What spans say is what Envoy's say, by the same names: whoever reads them needn't know who serves.

mod context;
mod export;
mod span;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::header::{self, HOST, HeaderMap};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use self::context::{Context, Parent};
pub(super) use self::export::Tracers;
use self::span::{CLIENT, SERVER, Span};
use super::exchange::Exchange;
use super::format::{Scene, protocol};
use super::head;
use super::instance::Local;
use crate::config::format::Value;
use crate::config::hcm::HttpOptions;
use crate::config::tracing::{TagValue, Tracing};

static CLIENT_TRACE_ID: HeaderName = HeaderName::from_static("x-client-trace-id");
static FORCE_TRACE: HeaderName = HeaderName::from_static("x-envoy-force-trace");

/// A request's trace.
pub(super) struct Trace {
    options: Local<HttpOptions>,
    context: Context,
    /// What is to be told; nothing if the trace isn't recorded.
    record: Option<Box<Record>>,
}

/// What is known of a request whose trace is recorded.
struct Record {
    state: String,
    /// When it came.
    start: u64,
    began: Instant,
    request: (Method, Uri, HeaderMap),
    /// The client as it came in, whatever routes make of the request.
    url: String,
    cluster: Option<Arc<str>>,
    route: Option<Arc<str>>,
    /// What gRPC says of the answer.
    grpc: Option<(String, String)>,
    attempt: Option<Attempt>,
    /// Tries that began.
    tries: u32,
    /// Spans of tries that are over.
    done: Vec<Span>,
}

/// What came of a try: status and version of an answer, or why there is none, in Envoy's words and letters; nothing if
/// no endpoint was asked.
pub(super) type Heard = Result<(StatusCode, Version), Option<(&'static str, &'static str)>>;

/// A try that is under way, or was the last.
struct Attempt {
    /// How many were before it.
    number: u32,
    context: Context,
    start: u64,
    status: u16,
    version: Option<Version>,
    /// Why there is no answer, and Envoy's letters for that.
    reason: Option<(&'static str, &'static str)>,
    /// Its end is known.
    heard: bool,
}

impl Trace {
    /// The trace of a request that has been taken in.
    pub(super) fn begin(
        options: &Local<HttpOptions>,
        (method, uri, headers): (&Method, &Uri, &mut HeaderMap),
        began: Instant,
    ) -> Option<Box<Self>> {
        let tracing = options.tracing.as_ref()?;
        let parent = Parent::take(headers);
        let context = Context::new(parent, |trace_id| {
            let parent = parent.map(Parent::is_sampled);
            is_wanted(tracing, headers)
                && tracing.sampler.as_ref().map_or(parent.unwrap_or(true), |sampler| sampler.decide(trace_id, parent))
        });
        let record = (context.sampled && tracing.exporter.is_some()).then(|| {
            Box::new(Record {
                state: context::state(headers),
                start: now().saturating_sub(nanos(began)),
                began,
                url: url(uri, headers, tracing.max_path),
                request: (method.clone(), uri.clone(), headers.clone()),
                cluster: None,
                route: None,
                grpc: None,
                attempt: None,
                tries: 0,
                done: Vec::new(),
            })
        });
        Some(Box::new(Self { options: Rc::clone(options), context, record }))
    }

    fn tracing(&self) -> Option<&Tracing> {
        self.options.tracing.as_ref()
    }

    /// Tells the endpoint, and notes what the request is now.
    pub(super) fn forward(&mut self, (method, uri): (&Method, &Uri), headers: &mut HeaderMap, cluster: &Arc<str>) {
        if self.tracing().is_some_and(|tracing| tracing.propagate) {
            self.context.tell(headers);
        }
        if let Some(record) = &mut self.record {
            record.cluster = Some(Arc::clone(cluster));
            record.request = (method.clone(), uri.clone(), headers.clone());
        }
    }

    pub(super) fn note_route(&mut self, name: &Arc<str>) {
        if let Some(record) = &mut self.record {
            record.route = Some(Arc::clone(name));
        }
    }

    /// Notes what an answer of gRPC says of itself, in its head or behind its body.
    pub(super) fn note_answer(&mut self, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        if let (Some(record), Some(status)) = (&mut self.record, text("grpc-status")) {
            record.grpc = Some((status, text("grpc-message").unwrap_or_default()));
        }
    }

    /// Whether tries have spans of their own.
    pub(super) fn has_tries(&self) -> bool {
        self.record.is_some() && self.tracing().is_some_and(|tracing| tracing.spawn_upstream_span)
    }

    /// A try begins: the endpoint is told of its span.
    pub(super) fn begin_try(&mut self, headers: &mut HeaderMap) {
        let propagate = self.tracing().is_some_and(|tracing| tracing.propagate);
        let Some(record) = &mut self.record else { return };
        let context = self.context.child();
        if propagate {
            context.tell(headers);
        }
        let number = record.tries;
        record.tries += 1;
        record.attempt =
            Some(Attempt { number, context, start: now(), status: 0, version: None, reason: None, heard: false });
    }

    /// A try has an answer, or none for a reason that is told.
    pub(super) fn heard(&mut self, answer: Heard) {
        let Some(record) = &mut self.record else { return };
        let Some(attempt) = &mut record.attempt else { return };
        match answer {
            Ok((status, version)) => (attempt.status, attempt.version) = (status.as_u16(), Some(version)),
            Err(Some(reason)) => attempt.reason = Some(reason),
            // It never got as far as an endpoint.
            Err(None) => return record.attempt = None,
        }
        attempt.heard = true;
    }

    /// A try is over, and another one follows.
    pub(super) fn end_try(&mut self, exchange: &Exchange) {
        let Some(record) = &mut self.record else { return };
        if let Some(attempt) = record.attempt.take() {
            let span = tried(&self.options, record, &attempt, exchange);
            record.done.push(span);
        }
    }

    /// The request is over.
    pub(super) fn finish(mut self, exchange: &Exchange) {
        self.end_try(exchange);
        let Some(mut record) = self.record.take() else { return };
        let mut spans = std::mem::take(&mut record.done);
        spans.push(served(&self.options, &record, &self.context, exchange));
        for span in &mut spans {
            span.trace_state.clone_from(&record.state);
        }
        let connection = exchange.connection();
        let worker = &connection.worker;
        worker.tracers.send(&spans, &self.options, &connection.listener.instance, &worker.registry);
    }
}

/// Whether a request is one of those that are traced, before anybody looks at whose trace it is.
fn is_wanted(tracing: &Tracing, headers: &HeaderMap) -> bool {
    let client = headers.contains_key(&CLIENT_TRACE_ID) && tracing.client.draw();
    let chosen = client || headers.contains_key(&FORCE_TRACE) || tracing.random.draw();
    chosen && tracing.overall.draw()
}

/// The span of a request.
fn served(options: &Arc<HttpOptions>, record: &Record, context: &Context, exchange: &Exchange) -> Span {
    let times = (record.start, record.start + nanos(record.began));
    let mut span = Span::new(context, SERVER, "ingress".to_owned(), times);
    let (method, uri, headers) = &record.request;
    let said = |name: &str| text(headers.get(name)).unwrap_or_else(|| "-".to_owned());
    span.set("node_id", &*exchange.connection().listener.instance.shared.name);
    span.set("zone", "");
    if let Some(id) = text(headers.get(&head::X_REQUEST_ID)) {
        span.set("guid:x-request-id", id);
    }
    span.set("http.url", &*record.url);
    span.set("http.method", method.as_str());
    span.set("downstream_cluster", said("x-envoy-downstream-service-cluster"));
    span.set("user_agent", said(header::USER_AGENT.as_str()));
    span.set("http.protocol", protocol(exchange.version));
    span.set("peer.address", exchange.connection().remote.ip().to_canonical().to_string());
    if let Some(id) = text(headers.get(&CLIENT_TRACE_ID)) {
        span.set("guid:x-client-trace-id", id);
    }
    if exchange.grpc {
        let target = [("grpc.path", uri.path().to_owned()), ("grpc.authority", said(HOST.as_str()))];
        target.into_iter().for_each(|(name, value)| span.set(name, value));
        span.set("grpc.content_type", said(header::CONTENT_TYPE.as_str()));
        if let Some(timeout) = text(headers.get("grpc-timeout")) {
            span.set("grpc.timeout", timeout);
        }
    }
    span.set("request_size", exchange.bytes_in.as_ref().map_or(0, |bytes| bytes.get()).to_string());
    span.set("response_size", exchange.bytes_out.to_string());
    let flags = exchange.flags();
    let flags: &str = if flags.is_empty() { "-" } else { &flags };
    common(&mut span, options, record, exchange, (exchange.status, flags));
    if exchange.status == 0 || exchange.status >= 500 {
        span.fail();
    }
    if let Some(name) = operation(options, |tracing| tracing.operation.as_ref(), record, exchange, exchange.status) {
        span.name = name;
    }
    span
}

/// The span of a try.
fn tried(options: &Arc<HttpOptions>, record: &Record, attempt: &Attempt, exchange: &Exchange) -> Span {
    let cluster = record.cluster.as_deref().unwrap_or_default();
    let mut span = Span::new(&attempt.context, CLIENT, format!("router {cluster} egress"), (attempt.start, now()));
    if attempt.number > 0 {
        span.set("retry.count", attempt.number.to_string());
    }
    if let Some((reason, _)) = attempt.reason {
        span.set("error", "true");
        span.set("error.reason", reason);
    } else if !attempt.heard {
        span.set("canceled", "true");
    }
    span.set("http.protocol", attempt.version.map_or("-", protocol));
    if let Some(host) = &exchange.upstream {
        span.set("upstream_address", &*host.text);
        span.set("peer.address", &*host.text);
    }
    let flags = attempt.reason.map_or("-", |(_, flags)| flags);
    common(&mut span, options, record, exchange, (attempt.status, flags));
    if attempt.status >= 400 {
        span.fail();
    }
    if let Some(name) =
        operation(options, |tracing| tracing.upstream_operation.as_ref(), record, exchange, attempt.status)
    {
        span.name = name;
    }
    span
}

/// What all spans say.
fn common(
    span: &mut Span,
    options: &Arc<HttpOptions>,
    record: &Record,
    exchange: &Exchange,
    (status, flags): (u16, &str),
) {
    span.set("component", "proxy");
    if let Some(cluster) = &record.cluster {
        span.set("upstream_cluster", &**cluster);
        span.set("upstream_cluster.name", &**cluster);
    }
    span.set("http.status_code", status.to_string());
    span.set("response_flags", flags);
    if let Some((grpc, message)) = record.grpc.as_ref().filter(|_| exchange.grpc) {
        span.set("grpc.status_code", &**grpc);
        span.set("grpc.message", &**message);
        // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS: the server's own.
        if matches!(&**grpc, "2" | "4" | "12" | "13" | "14" | "15") {
            span.set("error", "true");
        }
    }
    if status == 0 || status >= 500 {
        span.set("error", "true");
    }
    for tag in options.tracing.iter().flat_map(|tracing| &tracing.tags) {
        let value = match &tag.value {
            TagValue::Literal(text) => Some(text.clone()),
            TagValue::Header(name, default) => {
                text(record.request.2.get(name)).or_else(|| Some(default.clone())).filter(|text| !text.is_empty())
            }
            TagValue::Format(format) => value(format, options, record, exchange, status),
        };
        if let Some(value) = value {
            span.set(&tag.name, value);
        }
    }
}

fn operation<'a>(
    options: &'a Arc<HttpOptions>,
    pick: impl FnOnce(&'a Tracing) -> Option<&'a Value>,
    record: &Record,
    exchange: &Exchange,
    status: u16,
) -> Option<String> {
    let format = options.tracing.as_ref().and_then(pick)?;
    value(format, options, record, exchange, status)
}

/// What a format says of a request that is over; nothing if that is empty.
fn value(
    format: &Value,
    options: &Arc<HttpOptions>,
    record: &Record,
    exchange: &Exchange,
    status: u16,
) -> Option<String> {
    let value = match format {
        Value::Literal(value) => value.clone(),
        Value::Format(parts) => {
            let (method, uri, headers) = &record.request;
            let scene = Scene {
                exchange,
                options,
                line: (method, uri),
                request: headers,
                status: StatusCode::from_u16(status).ok(),
                response: None,
                cluster: record.cluster.as_deref(),
                route: record.route.as_deref().unwrap_or_default(),
            };
            scene.value(parts)?
        }
    };
    text(Some(&value)).filter(|text| !text.is_empty())
}

fn text(value: Option<&HeaderValue>) -> Option<String> {
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The URL of a request, its path cut off after so many bytes.
fn url(uri: &Uri, headers: &HeaderMap, max_path: usize) -> String {
    let said = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // What isn't ASCII isn't there.
    let path = path.get(..max_path).unwrap_or(path);
    format!("{}://{}{path}", said(&head::X_FORWARDED_PROTO), said(&HOST))
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
