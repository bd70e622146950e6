//! A collector of spans that speaks OTLP over gRPC and remembers what it got. Other tests use this file, too.

#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, reason = "tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Nothing here takes longer, on however busy a machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A span, as people read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub trace_id: String,
    pub span_id: String,
    pub parent: String,
    pub state: String,
    pub name: String,
    pub kind: i32,
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, String>,
    /// 2: an error.
    pub status: i32,
    pub flags: u32,
    /// Attributes of who made it.
    pub resource: BTreeMap<String, String>,
}

/// A collector.
pub struct Collector {
    pub address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    spans: Mutex<Vec<Seen>>,
    requests: Mutex<Vec<HeaderMap>>,
    /// So many requests are answered by UNAVAILABLE first.
    failures: AtomicUsize,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    pub async fn start() -> Self {
        Self::at(([127, 0, 0, 1], 0).into()).await
    }

    pub async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&shared);
                connections.spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond, Arc::clone(&state)));
                    }
                });
            }
        });
        Self { address, state, task }
    }

    /// Answers so many requests by UNAVAILABLE.
    pub fn fail(&self, times: usize) {
        self.state.failures.store(times, Ordering::SeqCst);
    }

    /// How many requests of those are still to come.
    pub fn to_fail(&self) -> usize {
        self.state.failures.load(Ordering::SeqCst)
    }

    /// All spans, in the order in which they ended.
    pub fn spans(&self) -> Vec<Seen> {
        let mut spans = self.state.spans.lock().unwrap().clone();
        spans.sort_by_key(|span| (span.end, span.start));
        spans
    }

    /// The headers of all requests.
    pub fn requests(&self) -> Vec<HeaderMap> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Waits for so many spans.
    pub async fn wait(&self, count: usize) -> Vec<Seen> {
        let waiting = async {
            while self.spans().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(LIMIT, waiting).await;
        assert!(came.is_ok(), "{count} spans never came: {:#?}", self.spans());
        self.spans()
    }
}

async fn answer(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>, state: Arc<State>) {
    let (parts, mut body) = request.into_parts();
    let mut data = Vec::new();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        data.extend_from_slice(&chunk);
    }
    state.requests.lock().unwrap().push(parts.headers);
    assert_eq!(parts.uri.path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    let fails = state.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    if !fails {
        let length = u32::from_be_bytes(data[1..5].try_into().unwrap()) as usize;
        assert_eq!((data[0], length), (0, data.len() - 5));
        let mut seen = read(&data[5..]);
        state.spans.lock().unwrap().append(&mut seen);
    }
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    let Ok(mut stream) = respond.send_response(response, false) else { return };
    if !fails {
        let _ = stream.send_data(Bytes::from_static(&[0; 5]), false);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", if fails { "14" } else { "0" }.parse().unwrap());
    let _ = stream.send_trailers(trailers);
}

/// The spans of an `ExportTraceServiceRequest`.
pub fn read(message: &[u8]) -> Vec<Seen> {
    let export = Export::decode(message).unwrap();
    let mut seen = Vec::new();
    for group in export.resource_spans {
        let resource = group.resource.map(|resource| all(resource.attributes)).unwrap_or_default();
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            seen.push(span.shown(&resource));
        }
    }
    seen
}

fn all(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let count = attributes.len();
    let map: BTreeMap<_, _> =
        attributes.into_iter().map(|it| (it.key, it.value.unwrap_or_default().text.unwrap_or_default())).collect();
    assert_eq!(map.len(), count, "an attribute is there twice");
    map
}

impl Span {
    fn shown(self, resource: &BTreeMap<String, String>) -> Seen {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Seen {
            trace_id: hex(&self.trace_id),
            span_id: hex(&self.span_id),
            parent: hex(&self.parent_span_id),
            state: self.trace_state,
            name: self.name,
            kind: self.kind,
            start: self.start,
            end: self.end,
            attributes: all(self.attributes),
            status: self.status.unwrap_or_default().code,
            flags: self.flags,
            resource: resource.clone(),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start: u64,
    #[prost(fixed64, tag = "8")]
    end: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}
