//! Plain HTTP requests, one connection each.

use std::convert::Infallible;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Bytes};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Sends one request on a connection of its own.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Result<Response<Bytes>, String> {
    let request = Request::get(path).header("host", host).body(Empty::<Bytes>::new()).unwrap();
    send(address, request).await
}

/// The same with a body.
pub async fn post(address: SocketAddr, host: &str, path: &str, body: &'static str) -> Result<Response<Bytes>, String> {
    let request =
        Request::post(path).header("host", host).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
    send(address, request).await
}

/// Sends a request on a connection of its own.
pub async fn send<B>(address: SocketAddr, request: Request<B>) -> Result<Response<Bytes>, String>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
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
