//! A platform, a node, an engine: each can go and come back.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use foregate_envoy::{Delta, Resource, ResourceId, ResourceKind};
use foregate_xds::client::Response;
use foregate_xds::tls::{self, NODE_USER, NODES_GROUP, TlsError};
use foregate_xds::{Cache, Client, Directory, Event, Instance, Options, Relay, RelayOptions, ServeError};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::ResolvesServerCertUsingSni;
use rustls::sign::CertifiedKey;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const GROUP: &str = "tenant-default/gw";
pub const ID: &str = "tenant-default.gw.n1";
const PATIENCE: Duration = Duration::from_secs(90);

/// Tests wait for conditions, never for time; this is the bound.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing came in time")
}

pub fn instance(group: &str, node: &str) -> Instance {
    Instance { group: group.into(), node: node.into() }
}

pub fn set(resources: impl IntoIterator<Item = Resource>) -> Delta {
    Delta { set: resources.into_iter().collect(), remove: Vec::new() }
}

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "test-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key of a client.
    pub fn client(&self, user: &str, group: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, group);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self) -> Arc<ResolvesServerCertUsingSni> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &self.issuer);
        let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).unwrap();
        let mut resolver = ResolvesServerCertUsingSni::new();
        let certified = CertifiedKey::new(vec![certificate.unwrap().der().clone()], key);
        resolver.add("localhost", certified).unwrap();
        Arc::new(resolver)
    }

    /// A node's side of TLS.
    pub fn node(&self, name: &str) -> Arc<ClientConfig> {
        let (certificate, key) = self.client(&format!("{NODE_USER}{name}"), NODES_GROUP);
        tls::client_config(&self.pem, &certificate, &key).unwrap()
    }
}

/// The platform's end.
pub struct Platform {
    pub cache: Cache,
    pub events: UnboundedReceiver<Event>,
    pub directory: Directory,
    pub address: SocketAddr,
    shutdown: CancellationToken,
    server: JoinHandle<Result<(), TlsError>>,
}

impl Platform {
    /// Serves on a port, which may be that of an earlier one; it has the instance of [`ID`].
    pub fn start(authority: &Authority, address: Option<SocketAddr>, options: Options) -> Self {
        let listener = TcpListener::bind(address.unwrap_or(([127, 0, 0, 1], 0).into())).unwrap();
        let address = listener.local_addr().unwrap();
        let (cache, events) = Cache::new(options);
        let (directory, shutdown) = (Directory::new(), CancellationToken::new());
        directory.replace([(ID.into(), instance(GROUP, "n1"))]);
        let config = tls::server_config(authority.server(), &authority.pem).unwrap();
        let server = tokio::spawn(tls::serve_tls(cache.clone(), listener, config, directory.clone(), shutdown.clone()));
        Self { cache, events, directory, address, shutdown, server }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        within(self.server).await.unwrap().unwrap();
    }

    pub async fn event(&mut self) -> Event {
        within(self.events.recv()).await.unwrap()
    }

    /// Waits for an event, and passes over progress until then.
    pub async fn other_event(&mut self) -> Event {
        loop {
            match self.event().await {
                Event::Progress { .. } => {}
                other => return other,
            }
        }
    }

    /// Waits for progress up to a sequence; returns what else came before it.
    pub async fn progress(&mut self, sequence: u64) -> Vec<Event> {
        let mut others = Vec::new();
        loop {
            match self.event().await {
                Event::Progress { applied, .. } if applied >= sequence => return others,
                Event::Progress { .. } => {}
                other => others.push(other),
            }
        }
    }
}

/// A node's end.
pub struct Node {
    pub relay: Relay,
    pub socket: PathBuf,
    shutdown: CancellationToken,
    server: JoinHandle<Result<(), ServeError>>,
}

impl Node {
    /// Starts on a directory, follows the instance, and serves its engine.
    pub async fn start(dir: &Path, authority: &Authority, platform: SocketAddr) -> Self {
        let node = Self::start_quietly(dir, authority, platform).await;
        node.relay.follow(ID, instance(GROUP, "n1"), b"note".as_slice().into());
        node
    }

    /// The same with what is on disk only.
    pub async fn start_quietly(dir: &Path, authority: &Authority, platform: SocketAddr) -> Self {
        let options = RelayOptions {
            address: format!("localhost:{}", platform.port()),
            tls: authority.node("n1"),
            directory: dir.join("xds"),
            cache: Options { drain: Duration::ZERO, ..Options::default() },
        };
        let relay = Relay::open(options).unwrap();
        let (socket, shutdown) = (dir.join("xds.sock"), CancellationToken::new());
        let bound = foregate_xds::UnixSocket::bind(&socket).await.unwrap();
        let server = foregate_xds::serve(relay.cache().clone(), bound, instance(GROUP, "n1"), shutdown.clone());
        Self { relay, socket, shutdown, server: tokio::spawn(server) }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        within(self.server).await.unwrap().unwrap();
        within(self.relay.close()).await;
    }

    pub async fn engine(&self) -> Engine {
        Engine { client: within(Client::connect_unix(&self.socket, "engine")).await.unwrap() }
    }
}

/// An engine that takes clusters with their endpoints, and listeners.
pub struct Engine {
    pub client: Client,
}

impl Engine {
    /// Asks for everything, acknowledges it, and returns when it has these; in the order in which they came.
    pub async fn take_until(&mut self, wanted: &[(ResourceKind, &str)]) -> Vec<String> {
        let mut came = Vec::new();
        let has = |client: &Client, (kind, name): &(ResourceKind, &str)| {
            client.known().get(kind).is_some_and(|known| known.contains_key(*name))
        };
        while !wanted.iter().all(|want| has(&self.client, want)) {
            came.extend(self.take().await.1);
        }
        came
    }

    pub fn subscribe(&mut self) {
        self.client.subscribe(ResourceKind::Cluster, ["*"]).unwrap();
        self.client.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    }

    /// Takes one response and acknowledges it; endpoints of new clusters are asked for first.
    pub async fn take(&mut self) -> (Response, Vec<String>) {
        let response = within(self.client.next()).await.unwrap();
        if response.kind == ResourceKind::Cluster {
            let known = self.client.known().get(&ResourceKind::Cluster);
            let new = response.set.iter().map(|cluster| cluster.name.clone());
            let new: Vec<_> = new.filter(|name| known.is_none_or(|known| !known.contains_key(name))).collect();
            self.client.subscribe(ResourceKind::ClusterLoadAssignment, new).unwrap();
        }
        self.client.ack(&response).unwrap();
        let names = response.set.iter().map(|set| format!("{:?} {}", response.kind, set.name));
        let names = names.chain(response.removed.iter().map(|name| format!("{:?} -{name}", response.kind))).collect();
        (response, names)
    }
}

/// Waits until an instance's file says what is wanted.
pub async fn on_disk(dir: &Path, wanted: impl Fn(&[Resource]) -> bool) {
    let path = dir.join("xds").join(format!("{ID}.xds"));
    within(async {
        loop {
            let stored = std::fs::read(&path).ok().and_then(|bytes| foregate_xds::relay::parse(bytes.into()).ok());
            if stored.is_some_and(|stored| wanted(&stored.resources)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub fn has(resources: &[Resource], id: &ResourceId) -> bool {
    resources.iter().any(|resource| resource.id == *id)
}
