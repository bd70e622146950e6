//! HTTP/2: a client, and a backend that speaks nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::backend::{Log, Seen};
use super::case::Case;
use super::wire::{LIMIT, Reply, connect};

type Frames = Vec<Result<Frame<Bytes>, Infallible>>;

/// What can't be said in HTTP/2, or not by this client.
const UNSAYABLE: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "te",
    "transfer-encoding",
    "host",
    "content-length",
    "expect",
];

/// The case's request in HTTP/2; none: it can't be sent so.
pub fn request(case: &Case) -> Option<Request<()>> {
    let asked = case.request.as_ref()?;
    if asked.path.contains('#') || !asked.path.starts_with('/') || asked.host.is_empty() {
        return None;
    }
    let uri: http::Uri = format!("http://{}{}", asked.host, asked.path).parse().ok()?;
    if uri.authority()?.as_str() != asked.host || uri.path_and_query()?.as_str() != asked.path {
        return None;
    }
    let mut request = Request::builder().method(asked.method.as_str()).uri(uri);
    for (name, value) in &asked.headers {
        let grpc = name == "te" && value == "trailers";
        if UNSAYABLE.iter().any(|unsayable| name.eq_ignore_ascii_case(unsayable)) && !grpc {
            return None;
        }
        request = request.header(name.to_ascii_lowercase(), HeaderValue::from_bytes(value.trim().as_bytes()).ok()?);
    }
    request.body(()).ok()
}

/// Sends a request on a new connection.
pub async fn exchange(to: SocketAddr, request: Request<()>, case: &Case) -> Reply {
    let io = TokioIo::new(connect(to).await);
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(1 << 20)
        .handshake(io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let mut frames: Frames = Vec::new();
    if !case.body.is_empty() {
        frames.push(Ok(Frame::data(Bytes::copy_from_slice(case.body.as_bytes()))));
    }
    if !case.trailers.is_empty() {
        frames.push(Ok(Frame::trailers(headers(case.trailers.iter().copied()))));
    }
    let (parts, ()) = request.into_parts();
    let answer = async {
        let sent = if frames.is_empty() {
            let empty = http_body_util::Empty::<Bytes>::new().map_err(|never| match never {}).boxed();
            sender.send_request(Request::from_parts(parts, empty)).await
        } else {
            sender.send_request(Request::from_parts(parts, StreamBody::new(stream::iter(frames)).boxed())).await
        };
        reply(sent.ok()?).await
    };
    let reply = tokio::time::timeout(LIMIT, answer).await.ok().flatten().unwrap_or_default();
    connection.abort();
    reply
}

async fn reply(response: Response<Incoming>) -> Option<Reply> {
    let (parts, body) = response.into_parts();
    let mut reply =
        Reply { status: parts.status.as_u16(), version: format!("{:?}", parts.version), ..Reply::default() };
    reply.headers = sorted(&parts.headers);
    let mut body = body;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) if frame.is_data() => reply.body.extend(frame.into_data().unwrap_or_default()),
            Ok(frame) => reply.trailers = frame.into_trailers().map(|trailers| sorted(&trailers)).unwrap_or_default(),
            Err(_) => {
                reply.cut = true;
                break;
            }
        }
    }
    Some(reply)
}

fn sorted(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut all: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn headers<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    pairs.map(|(name, value)| (HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap())).collect()
}

/// Starts a backend of HTTP/2 without TLS; returns its port. What it answers is asked for in `x-do`, as of the others.
pub async fn backend(name: &'static str, log: Log) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let log = log.clone();
            let service = hyper::service::service_fn(move |request| {
                let log = log.clone();
                async move { answer(name, &log, request).await }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

async fn answer(
    name: &'static str,
    log: &Log,
    request: Request<Incoming>,
) -> Result<Response<StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?;
    let trailers = body.trailers().map(sorted).unwrap_or_default();
    let mut seen_headers = sorted(&parts.headers);
    seen_headers
        .insert(0, (":authority".to_owned(), parts.uri.authority().map(ToString::to_string).unwrap_or_default()));
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    log.lock().push(Seen {
        backend: name.to_owned(),
        line: format!("{} {path} {:?}", parts.method, parts.version),
        headers: seen_headers,
        body: body.to_bytes().to_vec(),
        trailers,
    });
    let wish = parts.headers.get("x-do").and_then(|wish| wish.to_str().ok()).unwrap_or_default().to_owned();
    let mut response = Response::builder().header("x-backend", name).header("content-type", "application/grpc");
    let mut frames: Frames = Vec::new();
    for part in wish.split(';').filter(|part| !part.is_empty()) {
        let (what, value) = part.split_once('=').unwrap_or((part, ""));
        match what {
            "status" => response = response.status(value.parse::<u16>().unwrap_or(200)),
            "only" => response = response.header("grpc-status", value),
            "message" if parts.method == http::Method::HEAD => {}
            "message" => frames.push(Ok(Frame::data(Bytes::copy_from_slice(value.as_bytes())))),
            "trailers" => frames
                .push(Ok(Frame::trailers(headers([("grpc-status", value), ("grpc-message", "said")].into_iter())))),
            "reset" => return Err(std::io::Error::other("reset")),
            "hang" => std::future::pending::<()>().await,
            _ => {}
        }
    }
    Ok(response.body(StreamBody::new(stream::iter(frames))).unwrap())
}
