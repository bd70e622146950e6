//! `GET /metrics`: the engines' metrics for Prometheus.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use foregate_node::envoy::Metrics;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of all engines of this process. Clones are the same.
#[derive(Clone)]
pub struct Source {
    builtin: Arc<dyn Fn() -> String + Send + Sync>,
    envoys: Metrics,
}

impl Source {
    /// Those of the built-in engine, and of the agent's Envoys.
    pub fn new(builtin: impl Fn() -> String + Send + Sync + 'static, envoys: Metrics) -> Self {
        Self { builtin: Arc::new(builtin), envoys }
    }

    /// All of them in the Prometheus text format.
    pub async fn render(&self) -> String {
        self.envoys.render((self.builtin)()).await
    }
}

/// Serves until shutdown.
///
/// # Errors
/// When the listener can't be used.
pub async fn serve(listener: TcpListener, source: Source, shutdown: CancellationToken) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return Ok(()),
        };
        let Ok((stream, _)) = accepted else { continue };
        let source = source.clone();
        tokio::spawn(async move {
            let service = service_fn(async |request| Ok::<_, Infallible>(answer(&request, &source).await));
            let mut server = hyper::server::conn::http1::Builder::new();
            // With a timer, a client that sends no request is cut off after 30 s.
            server.timer(TokioTimer::new());
            // A scraper that goes away mid-answer is its own affair.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: &Request<Incoming>, source: &Source) -> Response<Full<Bytes>> {
    let found = request.uri().path() == "/metrics";
    let body = if found { source.render().await } else { "not found; try /metrics\n".to_owned() };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = if found { StatusCode::OK } else { StatusCode::NOT_FOUND };
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(TEXT));
    response
}
