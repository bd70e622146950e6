//! Clients of HTTP/2: one that keeps the rules, and one that sends frames as it likes.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::client::LIMIT;

/// A response with its trailers.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply2 {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

impl Reply2 {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A connection that keeps the rules.
pub(super) struct Client2 {
    pub(super) sender: SendRequest<Bytes>,
    /// Ends with the connection.
    pub(super) connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client2 {
    /// By prior knowledge.
    pub(super) async fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(super) async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::built(&h2::client::Builder::new(), stream).await
    }

    pub(super) async fn built(
        builder: &h2::client::Builder,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        let (sender, connection) = builder.handshake(stream).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    /// Begins a request; its body and its response are the caller's.
    pub(super) async fn start(&mut self, request: Request<()>, end: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let ready = self.sender.clone().ready();
        let mut sender = tokio::time::timeout(LIMIT, ready).await.expect("a stream in time").unwrap();
        sender.send_request(request, end).unwrap()
    }

    pub(super) async fn ask(&mut self, request: Request<()>, body: &[&str], trailers: Option<HeaderMap>) -> Reply2 {
        let (response, mut stream) = self.start(request, body.is_empty() && trailers.is_none()).await;
        for (index, part) in body.iter().enumerate() {
            let last = index + 1 == body.len() && trailers.is_none();
            stream.send_data(Bytes::copy_from_slice(part.as_bytes()), last).unwrap();
        }
        if let Some(trailers) = trailers {
            stream.send_trailers(trailers).unwrap();
        }
        reply(response).await.unwrap()
    }

    pub(super) async fn get(&mut self, host: &str, target: &str) -> Reply2 {
        self.ask(request(Method::GET, host, target, &[]), &[], None).await
    }

    /// Waits until the engine has closed the connection.
    pub(super) async fn ended(self) -> Result<(), h2::Error> {
        drop(self.sender);
        tokio::time::timeout(LIMIT, self.connection).await.expect("the connection ends").unwrap()
    }
}

pub(super) fn request(method: Method, host: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("http://{host}{target}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// The whole response.
pub(super) async fn reply(response: ResponseFuture) -> Result<Reply2, h2::Error> {
    let whole = async {
        let (parts, mut body) = response.await?.into_parts();
        let text = read_all(&mut body).await?;
        let trailers = body.trailers().await?;
        Ok(Reply2 { status: parts.status.as_u16(), headers: parts.headers, body: text.into(), trailers })
    };
    tokio::time::timeout(LIMIT, whole).await.expect("a response in time")
}

pub(super) async fn read_all(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        text.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(text)
}

/// A connection that sends frames as it likes.
pub(super) struct Raw {
    pub(super) stream: TcpStream,
}

/// One frame as it came.
#[derive(Debug)]
pub(super) struct RawFrame {
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// `GET / http a`, as HPACK without a table.
pub(super) const GET_A: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'a'];

impl Raw {
    /// Preface and settings are sent, and the engine's settings are acknowledged.
    pub(super) async fn to(address: SocketAddr) -> Self {
        let mut raw = Self { stream: TcpStream::connect(address).await.unwrap() };
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        raw.frame(SETTINGS, 0, 0, &[]).await;
        raw.frame(SETTINGS, 1, 0, &[]).await;
        raw
    }

    /// Whatever happens: the engine may have closed it already.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    pub(super) async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(&frame(kind, flags, stream, payload)).await;
    }

    /// The next frame that isn't about settings or windows; `None`: the connection is closed.
    pub(super) async fn next(&mut self) -> Option<RawFrame> {
        loop {
            let frame = tokio::time::timeout(LIMIT, self.read()).await.expect("a frame in time")?;
            if !matches!(frame.kind, SETTINGS | WINDOW_UPDATE) {
                return Some(frame);
            }
        }
    }

    async fn read(&mut self) -> Option<RawFrame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap()) & (u32::MAX >> 1);
        Some(RawFrame { kind: head[3], stream, payload })
    }

    /// Reads until the connection is closed; the error code of the last GOAWAY, if one came.
    pub(super) async fn verdict(&mut self) -> Option<u32> {
        let mut verdict = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                verdict = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
            }
        }
        verdict
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}
