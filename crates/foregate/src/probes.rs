//! A small port for probes and scrapers: texts by path, over plain HTTP/1.1.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Out of file descriptors, most likely: others are given the time to end.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves what `answer` makes of a path until shutdown.
///
/// # Errors
/// When the listener can't be used.
pub async fn serve<F>(
    listener: TcpListener,
    answer: impl Fn(String) -> F + Clone + Send + 'static,
    shutdown: CancellationToken,
) -> io::Result<()>
where
    F: Future<Output = (StatusCode, String)> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return Ok(()),
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let told = answer(request.uri().path().to_owned());
                async move { Ok::<_, Infallible>(response(told.await)) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            // With a timer, a client that sends no request is cut off after 30 s.
            server.timer(TokioTimer::new());
            // Who goes away mid-answer does as it likes.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn response((status, body): (StatusCode, String)) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(TEXT));
    response
}
