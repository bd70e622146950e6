//! Clients that send requests without pause, and count what fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Running clients.
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    /// Starts `clients` clients with keep-alive connections, and as many with a connection per request.
    pub fn start(clients: usize, address: SocketAddr, host: &'static str, path: &'static str) -> Self {
        Self::start_with(clients, address, host, path, None)
    }

    /// The same over TLS, trusting what `tls` trusts.
    pub fn start_with(
        clients: usize,
        address: SocketAddr,
        host: &'static str,
        path: &'static str,
        tls: Option<TlsConnector>,
    ) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut set = JoinSet::new();
        for index in 0..clients * 2 {
            let keep_alive = index % 2 == 0;
            let (stop, sent, tls) = (stop.clone(), sent.clone(), tls.clone());
            let client = Client { address, host, path, tls, keep_alive, stop, sent };
            set.spawn(client.run());
        }
        Self { stop, sent, clients: set }
    }

    /// Requests that were answered so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, and returns the number of requests and what failed.
    pub async fn finish(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        while let Some(result) = self.clients.join_next().await {
            failures.extend(result.unwrap());
        }
        (self.sent.load(Ordering::Relaxed), failures)
    }
}

struct Client {
    address: SocketAddr,
    host: &'static str,
    path: &'static str,
    tls: Option<TlsConnector>,
    keep_alive: bool,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
}

impl Client {
    async fn run(self) -> Vec<String> {
        let mut failures = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(failure) = self.connection().await {
                failures.push(failure);
                if failures.len() > 50 {
                    break;
                }
            }
        }
        failures
    }

    /// Requests on one connection, until the server closes it in good order.
    async fn connection(&self) -> Result<(), String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| format!("connect: {error}"))?;
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return self.requests(stream).await };
        let name = ServerName::try_from(self.host).unwrap();
        self.requests(tls.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?).await
    }

    async fn requests(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<(), String> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("handshake: {error}"))?;
        tokio::spawn(connection);
        while !self.stop.load(Ordering::Relaxed) {
            let request = Request::get(self.path).header("host", self.host).body(Empty::<Bytes>::new()).unwrap();
            let response = sender.send_request(request).await.map_err(|error| format!("request: {error:?}"))?;
            let status = response.status();
            let closes = response.headers().get("connection").is_some_and(|value| value == "close");
            let body = response.into_body().collect().await.map_err(|error| format!("body: {error}"))?.to_bytes();
            if status != 200 {
                return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
            }
            self.sent.fetch_add(1, Ordering::Relaxed);
            if closes || !self.keep_alive {
                return Ok(());
            }
            if sender.ready().await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}
