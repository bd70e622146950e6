//! A client that sends bytes as they are and reads what comes back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::backend::fields;
use super::case::Case;
use super::side::client_of;

/// Who says nothing for so long won't, on however busy a machine.
pub const LIMIT: Duration = Duration::from_secs(60);
/// For so long it is waited for an Envoy that is known not to answer.
pub const SILENCE: Duration = Duration::from_secs(3);

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// 0: the connection ended, or nothing came.
    pub status: u16,
    /// HTTP/1.0 or 1.1.
    pub version: String,
    /// Statuses of interim responses.
    pub interim: Vec<u16>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Whether the body ended before its end.
    pub cut: bool,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }
}

/// Sends a case's bytes on a new connection, and reads so many responses as it has.
pub async fn exchange(to: SocketAddr, case: &Case, patience: Duration) -> Vec<Reply> {
    let mut client = Client { stream: connect(to).await, buffer: Vec::new() };
    // A server may answer and close before it has read all.
    let _ = client.stream.write_all(&case.bytes).await;
    let mut all = Vec::new();
    for _ in 0..case.replies {
        let reply = tokio::time::timeout(patience, client.reply(case.head)).await;
        let reply = reply.ok().flatten().unwrap_or_default();
        let over = reply.status == 0;
        all.push(reply);
        if over {
            break;
        }
    }
    all
}

/// Connects from the test's own address.
pub async fn connect(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(client_of(to)).unwrap();
    socket.connect(to).await.unwrap()
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn reply(&mut self, head: bool) -> Option<Reply> {
        let mut interim = Vec::new();
        loop {
            let mut reply = self.head().await?;
            if (100..200).contains(&reply.status) && reply.status != 101 {
                interim.push(reply.status);
                continue;
            }
            reply.interim = interim;
            if !head && ![101, 204, 304].contains(&reply.status) {
                self.body(&mut reply).await;
            }
            return Some(reply);
        }
    }

    async fn head(&mut self) -> Option<Reply> {
        let end = self.until(b"\r\n\r\n").await?;
        let text = String::from_utf8_lossy(&self.take(end)).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let mut first = lines.next()?.split(' ');
        let version = first.next()?.to_owned();
        let status = first.next()?.parse().ok()?;
        Some(Reply { status, version, headers: fields(lines), ..Reply::default() })
    }

    async fn body(&mut self, reply: &mut Reply) {
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.cut = self.chunks(reply).await.is_none();
        } else if let Some(length) = reply.header("content-length").and_then(|length| length.parse().ok()) {
            while self.buffer.len() < length && self.more().await.is_some() {}
            reply.cut = self.buffer.len() < length;
            reply.body = self.take(length.min(self.buffer.len()));
        } else {
            while self.more().await.is_some() {}
            reply.body = std::mem::take(&mut self.buffer);
        }
    }

    async fn chunks(&mut self, reply: &mut Reply) -> Option<()> {
        loop {
            let end = self.until(b"\r\n").await?;
            let line = String::from_utf8(self.take(end)).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            if size == 0 {
                break;
            }
            while self.buffer.len() < size + 2 {
                self.more().await?;
            }
            reply.body.extend(self.take(size));
            self.take(2);
        }
        let mut trailers = Vec::new();
        loop {
            let end = self.until(b"\r\n").await?;
            let line = String::from_utf8(self.take(end)).ok()?;
            if line == "\r\n" {
                reply.trailers = fields(trailers.iter().map(String::as_str));
                return Some(());
            }
            trailers.push(line.trim_end().to_owned());
        }
    }

    async fn until(&mut self, mark: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Some(at + mark.len());
            }
            self.more().await?;
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.buffer.drain(..length).collect()
    }

    async fn more(&mut self) -> Option<()> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk).await {
            Ok(0) | Err(_) => None,
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Some(())
            }
        }
    }
}
