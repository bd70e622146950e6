//! Endpoints: small servers that say who they are and what they got.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What a backend got.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Bytes,
}

/// A server of HTTP/1.1 that remembers what it got.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
    got: Arc<Mutex<Vec<Got>>>,
    stop: CancellationToken,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Backend {
    /// Answers everything with 200 and its own name.
    pub(super) async fn named(name: &'static str) -> Self {
        Self::with(move |_| Response::new(Full::new(Bytes::from_static(name.as_bytes())))).await
    }

    /// Answers as `answer` says.
    pub(super) async fn with(answer: impl Fn(&Got) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, got) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let stop = CancellationToken::new();
        let backend = Self { address, connections: connections.clone(), got: got.clone(), stop: stop.clone() };
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap(),
                };
                connections.fetch_add(1, Ordering::SeqCst);
                let (answer, got, stop) = (answer.clone(), got.clone(), stop.clone());
                let service = service_fn(move |request| {
                    let (answer, got) = (answer.clone(), got.clone());
                    async move { Ok::<_, Infallible>(reply(request, &got, &*answer).await) }
                });
                tokio::spawn(async move {
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    tokio::select! {
                        () = stop.cancelled() => {}
                        _ = connection => {}
                    }
                });
            }
        });
        backend
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Everything that it got so far.
    pub(super) fn got(&self) -> Vec<Got> {
        self.got.lock().clone()
    }

    pub(super) fn last(&self) -> Got {
        self.got.lock().last().cloned().expect("the backend got nothing")
    }
}

async fn reply(
    request: Request<Incoming>,
    got: &Mutex<Vec<Got>>,
    answer: &(dyn Fn(&Got) -> Response<Full<Bytes>> + Send + Sync),
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Response::new(Full::default()) };
    let one = Got {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers,
        body: body.to_bytes(),
    };
    got.lock().push(one.clone());
    answer(&one)
}

/// A response with a status and headers.
pub(super) fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status.try_into().unwrap();
    for (name, value) in headers {
        response.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
    }
    response
}
