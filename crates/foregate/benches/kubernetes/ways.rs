//! Clients behind several ways to one address, as routers make them that spread connections over a gateway's instances.
//!
//! A request goes the client's own way first. When the connection can't be made or breaks, it goes the other way: that
//! is what a client's retry meets once routers have noticed. It has failed when that doesn't answer either. An answer
//! other than 200 is a failure at once: nobody tries again because of a 404.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::network::Far;

/// Between two requests of a client, so that the processors aren't the clients' alone.
const PACE: Duration = Duration::from_millis(2);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The two ways to a gateway.
#[derive(Clone)]
pub struct Ways {
    pub address: SocketAddr,
    pub far: Arc<Far>,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Near,
    Far,
}

pub const BOTH: [Way; 2] = [Way::Near, Way::Far];

/// Why a request wasn't answered.
enum Miss {
    /// Nobody listens.
    Refused,
    /// The connection broke, or nothing came.
    Cut(String),
    /// Another answer.
    Wrong(String),
}

type Connection = SendRequest<Empty<Bytes>>;

impl Ways {
    async fn dial(&self, way: Way) -> io::Result<TcpStream> {
        match way {
            Way::Near => TcpStream::connect(self.address).await,
            Way::Far => self.far.connect(self.address).await,
        }
    }

    async fn connect(&self, way: Way) -> Result<Connection, Miss> {
        let stream = self.dial(way).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Miss::Refused,
            _ => Miss::Cut(format!("connect: {error}")),
        })?;
        let _ = stream.set_nodelay(true);
        let made = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| Miss::Cut(format!("handshake: {error}")))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// One request on a connection of its own: the status, and the answer's headers.
    pub async fn ask(&self, way: Way, host: &str) -> Option<http::response::Parts> {
        let mut connection = self.connect(way).await.ok()?;
        let answer = tokio::time::timeout(PATIENCE, connection.send_request(request(host))).await.ok()?.ok()?;
        let (parts, body) = answer.into_parts();
        body.collect().await.ok()?;
        Some(parts)
    }

    /// Asks one way until the answer is as wanted; how long that took.
    pub async fn until(&self, way: Way, host: &str, wanted: impl Fn(&http::response::Parts) -> bool) -> Duration {
        let started = Instant::now();
        loop {
            let answer = self.ask(way, host).await;
            if answer.as_ref().is_some_and(&wanted) {
                return started.elapsed();
            }
            assert!(started.elapsed() < Duration::from_secs(90), "{way:?} {host}: never as wanted, but {answer:?}");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// Waits until a host's route serves on both ways; how long that took.
    pub async fn until_both_serve(&self, host: &str) -> Duration {
        let started = Instant::now();
        for way in BOTH {
            self.until(way, host, |answer| answer.status == 200).await;
        }
        started.elapsed()
    }
}

fn request(host: &str) -> Request<Empty<Bytes>> {
    Request::get("/").header("host", host).body(Empty::new()).unwrap()
}

/// What came of requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answered with 200, by either way.
    pub answered: u64,
    /// Of these, answered by the other way, since the connection broke or was refused.
    pub cut: u64,
    pub refused: u64,
    /// Answered by neither.
    pub failed: Vec<String>,
}

/// Running clients.
pub struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: JoinSet<()>,
}

impl Load {
    /// For each way so many clients with keep-alive connections, and as many with a connection for each request.
    pub fn start(clients: usize, ways: &Ways, host: &'static str) -> Self {
        let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Tally::default())));
        let mut set = JoinSet::new();
        for own in BOTH {
            for index in 0..clients * 2 {
                let (stop, tally) = (stop.clone(), tally.clone());
                let client = Client { ways: ways.clone(), own, host, keep_alive: index % 2 == 0, kept: None };
                set.spawn(client.run(stop, tally));
            }
        }
        Self { stop, tally, clients: set }
    }

    /// What came of all requests since the last call.
    pub fn take(&self) -> Tally {
        std::mem::take(&mut self.tally.lock().unwrap())
    }

    /// Waits until some more requests have been answered.
    pub async fn go_on(&self, more: u64) {
        let until = self.tally.lock().unwrap().answered + more;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.tally.lock().unwrap().answered < until {
            assert!(Instant::now() < deadline, "no requests are answered");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops; what came of the last requests.
    pub async fn finish(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        self.take()
    }
}

struct Client {
    ways: Ways,
    own: Way,
    host: &'static str,
    keep_alive: bool,
    kept: Option<Connection>,
}

impl Client {
    async fn run(mut self, stop: Arc<AtomicBool>, tally: Arc<Mutex<Tally>>) {
        while !stop.load(Ordering::Relaxed) {
            let first = self.once().await;
            let second = match &first {
                Err(Miss::Refused | Miss::Cut(_)) => Some(self.other_way().await),
                _ => None,
            };
            note(&mut tally.lock().unwrap(), first, second);
            tokio::time::sleep(PACE).await;
        }
    }

    /// On the kept connection, or on a new one where there is none or the server has closed it.
    async fn once(&mut self) -> Result<(), Miss> {
        let mut connection = match self.kept.take() {
            Some(kept) if !kept.is_closed() => kept,
            _ => self.ways.connect(self.own).await?,
        };
        let closes = exchange(&mut connection, self.host).await?;
        if self.keep_alive && !closes && connection.ready().await.is_ok() {
            self.kept = Some(connection);
        }
        Ok(())
    }

    async fn other_way(&self) -> Result<(), Miss> {
        let other = if self.own == Way::Near { Way::Far } else { Way::Near };
        exchange(&mut self.ways.connect(other).await?, self.host).await.map(drop)
    }
}

/// One request; whether the server wants the connection closed.
async fn exchange(connection: &mut Connection, host: &str) -> Result<bool, Miss> {
    let cut = |error: &dyn std::fmt::Display| Miss::Cut(error.to_string());
    let answer = async {
        let answer = connection.send_request(request(host)).await.map_err(|error| cut(&error))?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| cut(&error))?.to_bytes();
        if parts.status != 200 {
            return Err(Miss::Wrong(format!("{}: {}", parts.status, String::from_utf8_lossy(&body))));
        }
        Ok(parts.headers.get("connection").is_some_and(|value| value == "close"))
    };
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(Miss::Cut("no answer".to_owned())))
}

fn note(tally: &mut Tally, first: Result<(), Miss>, second: Option<Result<(), Miss>>) {
    let words = |miss: &Miss| match miss {
        Miss::Refused => "refused".to_owned(),
        Miss::Cut(words) | Miss::Wrong(words) => words.clone(),
    };
    match (&first, &second) {
        (Ok(()), _) => tally.answered += 1,
        (Err(miss), Some(Ok(()))) => {
            tally.answered += 1;
            *if matches!(miss, Miss::Refused) { &mut tally.refused } else { &mut tally.cut } += 1;
        }
        (Err(miss), Some(Err(other))) => tally.failed.push(format!("{}; the other way: {}", words(miss), words(other))),
        (Err(miss), None) => tally.failed.push(words(miss)),
    }
}
