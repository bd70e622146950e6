//! Endpoints that speak HTTP/2, well or badly.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::client2::read_all;

/// A server of HTTP/2 with prior knowledge.
pub(super) struct Backend2 {
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Drop for Backend2 {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Backend2 {
    /// Every connection, with its number from 0, is `serve`'s.
    pub(super) async fn raw<F, D>(serve: F) -> Self
    where
        F: Fn(usize, TcpStream) -> D + Send + Sync + 'static,
        D: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (connections, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let backend =
            Self { address: listener.local_addr().unwrap(), connections: connections.clone(), stop: stop.clone() };
        tokio::spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap(),
                };
                let serving = serve(connections.fetch_add(1, Ordering::SeqCst), stream);
                let stop = stop.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = serving => {}
                    }
                });
            }
        });
        backend
    }

    /// Every request is `answer`'s.
    pub(super) async fn with<F, D>(builder: Builder, answer: F) -> Self
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> D + Send + Sync + Clone + 'static,
        D: Future<Output = ()> + Send + 'static,
    {
        Self::raw(move |_, stream| {
            let (builder, answer) = (builder.clone(), answer.clone());
            async move {
                let Ok(mut connection) = builder.handshake(stream).await else { return };
                serve(&mut connection, &answer).await;
            }
        })
        .await
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn made(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Serves a connection to its end.
pub(super) async fn serve<F, D>(connection: &mut Connection<TcpStream, Bytes>, answer: &F)
where
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> D,
    D: Future<Output = ()> + Send + 'static,
{
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond));
    }
}

/// Says what it got: `method target authority body`, and the request's trailers as its own.
pub(super) async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, mut body) = request.into_parts();
    let Ok(text) = read_all(&mut body).await else { return };
    let trailers = body.trailers().await.ok().flatten();
    let mut response = Response::new(());
    for name in ["te", "content-length", "x-envoy-attempt-count", "host", "connection", "transfer-encoding"] {
        if let Some(value) = parts.headers.get(name) {
            response
                .headers_mut()
                .insert(http::HeaderName::from_bytes(format!("got-{name}").as_bytes()).unwrap(), value.clone());
        }
    }
    response.headers_mut().insert("got-scheme", parts.uri.scheme_str().unwrap_or("none").parse().unwrap());
    let said = format!(
        "{} {} {} {}",
        parts.method,
        parts.uri.path_and_query().unwrap(),
        parts.uri.authority().unwrap(),
        String::from_utf8_lossy(&text)
    );
    let Ok(mut stream) = respond.send_response(response, false) else { return };
    let _ = stream.send_data(said.into(), trailers.is_none());
    if let Some(trailers) = trailers {
        let _ = stream.send_trailers(trailers);
    }
}

/// One header, as a map.
pub(super) fn trailers(name: &'static str, value: &'static str) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert(name, value.parse().unwrap());
    map
}
