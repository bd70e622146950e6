//! Envoy's admin interface, on a unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::routes;

/// The longest answer that is read, in bytes: the statistics of some ten thousand clusters.
const MAX_ANSWER: usize = 256 << 20;

/// Why an Envoy doesn't answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("can't connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("no HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer can't be read: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admin(PathBuf);

impl Admin {
    pub(crate) fn new(socket: &Path) -> Self {
        Self(socket.to_owned())
    }

    /// Whether it serves; an answer of any kind shows that it lives.
    pub(crate) async fn ready(&self, patience: Duration) -> Result<bool, AdminError> {
        self.ask(Method::GET, "/ready", patience).await.map(|(status, _)| status == 200)
    }

    /// Says `connection: close` to every client from now on.
    pub(crate) async fn fail_health_check(&self, patience: Duration) -> Result<(), AdminError> {
        self.ask(Method::POST, "/healthcheck/fail", patience).await.map(drop)
    }

    /// Closes the listening sockets; connections stay.
    pub(crate) async fn close_listeners(&self, patience: Duration) -> Result<(), AdminError> {
        self.ask(Method::POST, "/drain_listeners", patience).await.map(drop)
    }

    /// How many clients are connected, and how many requests are under way.
    pub(crate) async fn load(&self, patience: Duration) -> Result<(u64, u64), AdminError> {
        const FILTER: &str = "/stats?filter=%5Ehttp%5C..*%5C.downstream_(cx%7Crq)_active%24";
        let (_, text) = self.ask(Method::GET, FILTER, patience).await?;
        let text = String::from_utf8_lossy(&text);
        Ok((active(&text, "cx"), active(&text, "rq")))
    }

    /// Its metrics for Prometheus, without those of routes.
    pub(crate) async fn metrics(&self, patience: Duration) -> Result<String, AdminError> {
        self.stats("/stats/prometheus?usedonly", routes::OTHERS, patience).await
    }

    /// Its counters of routes that have had a request, as [`routes::convert`] reads them.
    pub(crate) async fn routes(&self, patience: Duration) -> Result<String, AdminError> {
        self.stats("/stats?usedonly&histogram_buckets=cumulative", routes::FILTER, patience).await
    }

    async fn stats(&self, path: &str, filter: &str, patience: Duration) -> Result<String, AdminError> {
        let (_, text) = self.ask(Method::GET, &format!("{path}&filter={}", encoded(filter)), patience).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    async fn ask(&self, method: Method, path: &str, patience: Duration) -> Result<(u16, Bytes), AdminError> {
        let answer = tokio::time::timeout(patience, self.exchange(method, path)).await;
        answer.unwrap_or(Err(AdminError::Timeout(patience)))
    }

    async fn exchange(&self, method: Method, path: &str) -> Result<(u16, Bytes), AdminError> {
        let stream = UnixStream::connect(&self.0).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let _connection = Task(tokio::spawn(connection));
        let request = Request::builder().method(method).uri(path).header("host", "envoy").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| AdminError::Body(Box::new(error)))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(AdminError::Body)?;
        Ok((status, body.to_bytes()))
    }
}

/// A text as a value in a query: all but letters and digits by its number.
fn encoded(text: &str) -> String {
    let each = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(each).collect()
}

/// A task that ends with its owner.
struct Task<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Adds up `http.NAME.downstream_WHAT_active: N`, without the admin interface's own.
fn active(text: &str, what: &str) -> u64 {
    let wanted = format!(".downstream_{what}_active");
    let counts = text.lines().filter(|line| !line.starts_with("http.admin.")).filter_map(|line| line.split_once(": "));
    let counts = counts.filter(|(name, _)| name.ends_with(&wanted));
    counts.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn clients_are_counted_without_the_administrator() {
        let text = "http.admin.downstream_cx_active: 1\nhttp.http-8080.downstream_cx_active: 3\n\
                    http.http-8080.downstream_rq_active: 1\nhttp.https-8443.downstream_cx_active: 4\n";
        assert_eq!((active(text, "cx"), active(text, "rq")), (7, 1));
        assert_eq!(active("", "cx"), 0);
    }

    #[tokio::test]
    async fn who_doesnt_answer_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert!(matches!(Admin::new(&path).ready(Duration::from_secs(60)).await, Err(AdminError::Connect(_))));
        let _listener = tokio::net::UnixListener::bind(&path).unwrap();
        let answer = Admin::new(&path).ready(Duration::from_millis(20)).await;
        assert!(matches!(answer, Err(AdminError::Timeout(_))), "{answer:?}");
    }
}
