//! Plain HTTP requests, one connection each.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Sends one request on a connection of its own.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Result<Response<Bytes>, String> {
    let request = Request::get(path).header("host", host).body(Empty::<Bytes>::new()).unwrap();
    send(address, request).await
}

/// Sends a request on a connection of its own.
pub async fn send(address: SocketAddr, request: Request<Empty<Bytes>>) -> Result<Response<Bytes>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(address).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| text(&error))?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| text(&error))?.to_bytes();
    Ok(Response::from_parts(parts, body))
}
