//! An engine with one instance, whose xDS server is the test.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foregate_envoy::ResourceKind;
use foregate_xds::client::{ClientResource, Response};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::client::{Client, LIMIT};
use super::resources::{eds_cluster, endpoints, host, listener, rds, response, shell};
use crate::control::source::fake::{FakeConnector, Said};
use crate::resolve::fixed::Names;
use crate::{Engine, EngineOptions};

/// An engine, and the other end of its stream.
pub(super) struct Rig {
    pub(super) engine: Engine,
    pub(super) responses: UnboundedSender<Response>,
    pub(super) said: UnboundedReceiver<Said>,
    /// What the engine finds when it looks up names.
    pub(super) names: Names,
    nonce: AtomicUsize,
}

/// The instance's name.
pub(super) const INSTANCE: &str = "gw/local";

impl Rig {
    /// An engine with two workers.
    pub(super) async fn new() -> Self {
        Self::with(EngineOptions { workers: 2, drain: Duration::from_secs(5), ..EngineOptions::default() }).await
    }

    pub(super) async fn with(options: EngineOptions) -> Self {
        let engine = Engine::start(options).unwrap();
        let (responses, receiver) = unbounded_channel();
        let (say, said) = unbounded_channel();
        let names = Names::default();
        let connector = FakeConnector { responses: Some(receiver), said: say, names: names.clone() };
        engine.add_fake(INSTANCE, connector).await.unwrap();
        Self { engine, responses, said, names, nonce: AtomicUsize::new(0) }
    }

    /// Sends a response; returns what the engine says to it: `Ok` or the refusal.
    pub(super) async fn send(&mut self, mut response: Response) -> Result<(), String> {
        let nonce = self.nonce.fetch_add(1, Ordering::SeqCst).to_string();
        response.nonce.clone_from(&nonce);
        self.responses.send(response).unwrap();
        let answer = async {
            loop {
                match self.said.recv().await.expect("the engine runs") {
                    Said::Ack(own) if own == nonce => return Ok(()),
                    Said::Nack(own, why) if own == nonce => return Err(why),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(LIMIT, answer).await.expect("an answer in time")
    }

    /// Sends resources that must be accepted.
    pub(super) async fn set(&mut self, kind: ResourceKind, resources: Vec<ClientResource>) {
        self.send(response(kind, resources, &[])).await.unwrap();
    }

    pub(super) async fn remove(&mut self, kind: ResourceKind, names: &[&str]) {
        self.send(response(kind, Vec::new(), names)).await.unwrap();
    }

    /// A cluster with endpoints on these ports.
    pub(super) async fn cluster(&mut self, name: &str, ports: &[u16]) {
        self.set(ResourceKind::Cluster, vec![eds_cluster(name, "")]).await;
        self.set(ResourceKind::ClusterLoadAssignment, vec![endpoints(name, ports)]).await;
    }

    /// A listener `http-1` with virtual host `*` and these routes; returns its address.
    pub(super) async fn serve(&mut self, routes: &str) -> SocketAddr {
        self.serve_with("use_remote_address: true", routes).await
    }

    /// The same, with options for the connection manager.
    pub(super) async fn serve_with(&mut self, http: &str, routes: &str) -> SocketAddr {
        self.set(ResourceKind::Listener, vec![listener("http-1", 0, &rds("rc"), http)]).await;
        self.set(ResourceKind::RouteConfiguration, vec![shell("rc")]).await;
        self.set(ResourceKind::VirtualHost, vec![host("rc", "*", routes)]).await;
        self.address("http-1")
    }

    /// Replaces the routes of virtual host `*`.
    pub(super) async fn routes(&mut self, routes: &str) {
        self.set(ResourceKind::VirtualHost, vec![host("rc", "*", routes)]).await;
    }

    pub(super) fn address(&self, listener: &str) -> SocketAddr {
        let all = self.engine.addresses();
        all.iter().find(|it| &*it.listener == listener).expect("the listener is bound").address
    }

    pub(super) async fn client(&self) -> Client {
        Client::to(self.address("http-1")).await
    }

    /// A metric's value, summed over all that begin so.
    pub(super) fn metric(&self, begins: &str) -> f64 {
        let text = self.engine.metrics();
        text.lines().filter(|l| l.starts_with(begins)).filter_map(|l| l.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

/// Waits until something is so.
pub(super) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, waiting).await.is_ok(), "never came: {what}");
}
