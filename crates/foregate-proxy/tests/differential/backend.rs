//! Backends that speak bytes, so that what a proxy really sends is seen. What they answer is asked for in `x-do`.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as a backend got it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub backend: String,
    pub line: String,
    /// Names in lower case, sorted; values of one name in their order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

/// All requests that the backends of one side got, in the order in which they were complete.
pub type Log = Arc<Mutex<Vec<Seen>>>;

/// Starts one; returns its port.
pub async fn start(name: &'static str, log: Log) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let failures: Failures = Arc::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection =
                Connection { name, stream, buffer: Vec::new(), log: log.clone(), failures: failures.clone() };
            tokio::spawn(connection.serve());
        }
    });
    port
}

/// How often each target has failed already.
type Failures = Arc<Mutex<HashMap<String, u32>>>;

struct Connection {
    name: &'static str,
    stream: TcpStream,
    buffer: Vec<u8>,
    log: Log,
    failures: Failures,
}

impl Connection {
    async fn serve(mut self) {
        while let Some(seen) = self.request().await {
            let wish = seen.headers.iter().find(|(name, _)| name == "x-do").map(|(_, value)| value.clone());
            let target = seen.line.split(' ').nth(1).unwrap_or_default().to_owned();
            let head = seen.line.starts_with("HEAD ");
            self.log.lock().push(seen.clone());
            let Some(answer) = self.answer(wish.as_deref().unwrap_or_default(), &target, head) else { return };
            if self.stream.write_all(&answer).await.is_err() {
                return;
            }
            if wish.is_some_and(|wish| wish.contains("hang")) {
                let _ = self.stream.read(&mut [0; 64]).await;
                return;
            }
            if !String::from_utf8_lossy(&answer).contains("\r\nkeep: 1") {
                return;
            }
        }
    }

    /// What is sent; none: nothing, and the connection ends.
    fn answer(&self, wish: &str, target: &str, head: bool) -> Option<Vec<u8>> {
        let mut status = "200 OK".to_owned();
        let mut headers = String::new();
        let mut body = format!("from {}", self.name);
        let mut form = "length";
        for part in wish.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (what, value) = part.split_once('=').unwrap_or((part, ""));
            match what {
                "status" => status = format!("{value} Whatever"),
                "header" => headers.push_str(&format!("{}\r\n", value.replace('~', "="))),
                "body" => body = value.to_owned(),
                "size" => body = "x".repeat(value.parse().unwrap_or(0)),
                "chunked" | "close" | "none" | "trailers" => form = what,
                "raw" => return Some(value.replace("|", "\r\n").into_bytes()),
                "drop" => return None,
                "hang" => return Some(Vec::new()),
                // The first so many requests for a target fail.
                "fail" => {
                    let times = value.parse().unwrap_or(0);
                    let mut failures = self.failures.lock();
                    let count = failures.entry(target.to_owned()).or_default();
                    if *count < times {
                        *count += 1;
                        status = "503 Not Yet".to_owned();
                    } else {
                        failures.remove(target);
                    }
                }
                _ => {}
            }
        }
        let keep = if form == "close" { "" } else { "keep: 1\r\n" };
        let mut out = format!("HTTP/1.1 {status}\r\nx-backend: {}\r\n{keep}{headers}", self.name);
        match form {
            "chunked" | "trailers" => {
                let trailer = if form == "trailers" { "x-trailer: t\r\n" } else { "" };
                out.push_str("transfer-encoding: chunked\r\n\r\n");
                if !head {
                    out.push_str(&format!("{:x}\r\n{body}\r\n0\r\n{trailer}\r\n", body.len()));
                }
            }
            "none" => out.push_str("\r\n"),
            "close" => out.push_str(&format!("\r\n{body}")),
            _ if head => out.push_str(&format!("content-length: {}\r\n\r\n", body.len())),
            _ => out.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len())),
        }
        Some(out.into_bytes())
    }

    async fn request(&mut self) -> Option<Seen> {
        let end = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&self.take(end)).into_owned();
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let line = lines.next()?.to_owned();
        let headers = fields(lines);
        let value = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let mut seen = Seen { backend: self.name.to_owned(), line, headers: headers.clone(), ..Seen::default() };
        if value("transfer-encoding").is_some_and(|value| value.ends_with("chunked")) {
            (seen.body, seen.trailers) = self.chunks().await?;
        } else if let Some(length) = value("content-length") {
            let length = length.parse().ok()?;
            while self.buffer.len() < length {
                self.more().await?;
            }
            seen.body = self.take(length);
        }
        Some(seen)
    }

    async fn chunks(&mut self) -> Option<(Vec<u8>, Vec<(String, String)>)> {
        let mut body = Vec::new();
        loop {
            let end = self.until(b"\r\n").await?;
            let line = String::from_utf8(self.take(end)).ok()?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                break;
            }
            while self.buffer.len() < size + 2 {
                self.more().await?;
            }
            body.extend(self.take(size));
            self.take(2);
        }
        let mut trailers = Vec::new();
        loop {
            let end = self.until(b"\r\n").await?;
            let line = String::from_utf8(self.take(end)).ok()?;
            if line == "\r\n" {
                return Some((body, fields(trailers.iter().map(String::as_str))));
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

/// Header lines, sorted by name.
pub fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}
