//! Clients: raw bytes over a connection, so that what the engine really sends is seen.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing in these tests takes longer, on however busy a machine.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// More than [`LIMIT`]: for what mustn't be waited for.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// A response as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| &**value).collect()
    }
}

/// A connection to the engine.
pub(super) struct Client<S = TcpStream> {
    pub(super) stream: S,
    buffer: Vec<u8>,
}

impl Client {
    pub(super) async fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// GET with a host.
    pub(super) async fn get(&mut self, host: &str, target: &str) -> Reply {
        self.ask("GET", host, target, &[], "").await
    }

    pub(super) async fn ask(
        &mut self,
        method: &str,
        host: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut text = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.send(text).await;
        self.reply(method == "HEAD").await.unwrap_or_else(|| panic!("no reply to {method} {host} {target}"))
    }

    /// The next response; `None` when the connection ends before one.
    pub(super) async fn reply(&mut self, head_only: bool) -> Option<Reply> {
        tokio::time::timeout(LIMIT, self.read_reply(head_only)).await.expect("a response in time")
    }

    async fn read_reply(&mut self, head_only: bool) -> Option<Reply> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut reply = Reply { status, headers, body: String::new() };
        if !head_only && status != 204 && status != 304 && status != 101 {
            reply.body = self.body(&reply).await;
        }
        Some(reply)
    }

    async fn body(&mut self, reply: &Reply) -> String {
        let mut body = Vec::new();
        if let Some(length) = reply.header("content-length") {
            body = self.take(length.parse().unwrap()).await;
        } else if reply.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = self.line().await;
                let size = usize::from_str_radix(&size, 16).unwrap();
                body.extend(self.take(size).await);
                self.line().await;
                if size == 0 {
                    break;
                }
            }
        } else {
            while self.more().await {}
            body.append(&mut self.buffer);
        }
        String::from_utf8(body).unwrap()
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line = self.buffer.drain(..end + 2).collect::<Vec<u8>>();
                return String::from_utf8(line[..end].to_vec()).unwrap();
            }
            assert!(self.more().await, "the response is cut off");
        }
    }

    /// So many bytes, whatever they are.
    pub(super) async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.more().await, "the response is cut off");
        }
        self.buffer.drain(..length).collect()
    }

    async fn more(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                true
            }
        }
    }

    /// Whether the engine closes the connection, with nothing more said.
    pub(super) async fn is_closed(&mut self) -> bool {
        let closed = tokio::time::timeout(LIMIT, self.more()).await;
        matches!(closed, Ok(false)) && self.buffer.is_empty()
    }
}
