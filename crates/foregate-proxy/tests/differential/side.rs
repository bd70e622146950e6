//! One side of the comparison: a proxy, its translator, its configuration, its backends.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use foregate_api::address::ProxyRef;
use foregate_envoy::{Delta, Resource};
use foregate_proxy::{ConfigSource, Engine, EngineOptions, InstanceOptions};
use foregate_translate::explain::Gateway;
use foregate_translate::{Input, Options, Translator};
use foregate_xds::{Cache, Event, Instance, UnixSocket, serve};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::backend::{self, Log};
use super::{http2, objects, support};

const LIMIT: Duration = Duration::from_secs(60);

/// Backends of HTTP/1.1 by name; `g` speaks HTTP/2, `dead` refuses connections, `empty` has no endpoints.
pub const BACKENDS: [&str; 3] = ["a", "b", "c"];

/// Who serves.
enum Proxy {
    Envoy(Child),
    Engine(#[allow(dead_code, reason = "kept until the end")] Engine),
}

pub struct Side {
    pub name: &'static str,
    pub address: SocketAddr,
    pub log: Log,
    translator: Translator,
    cache: Cache,
    events: UnboundedReceiver<Event>,
    proxy: Proxy,
    directory: tempfile::TempDir,
    stop: CancellationToken,
}

impl Drop for Side {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Proxy::Envoy(process) = &mut self.proxy {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

const GROUP: &str = "tenant-a/web";

impl Side {
    /// A real Envoy.
    pub async fn envoy(binary: &Path, address: SocketAddr, objects: Vec<Value>) -> Self {
        let binary = binary.to_owned();
        Self::start("Envoy", address, objects, async |directory| Proxy::Envoy(spawn(&binary, directory))).await
    }

    /// The built-in engine.
    pub async fn engine(address: SocketAddr, objects: Vec<Value>) -> Self {
        Self::start("engine", address, objects, async |directory| Proxy::Engine(run(directory).await)).await
    }

    async fn start(
        name: &'static str,
        address: SocketAddr,
        objects: Vec<Value>,
        proxy: impl AsyncFnOnce(&Path) -> Proxy,
    ) -> Self {
        let mut side = Self::bare(name, address, proxy).await;
        let mut ports = Vec::new();
        for name in BACKENDS {
            ports.push((name, backend::start(name, side.log.clone()).await));
        }
        let calls = http2::backend("g", side.log.clone()).await;
        let mut all = vec![objects::proxy(address)];
        all.extend(ports.into_iter().flat_map(|(name, port)| objects::backend(name, Some(port))));
        all.extend(objects::http2_backend("g", calls));
        all.extend(objects::backend("empty", None));
        all.extend(objects::backend("dead", Some(closed_port())));
        all.extend(objects);
        side.apply(all).await;
        side
    }

    /// A proxy without any configuration.
    async fn bare(name: &'static str, address: SocketAddr, proxy: impl AsyncFnOnce(&Path) -> Proxy) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket: PathBuf = directory.path().join("xds");
        let (cache, events) = Cache::new(foregate_xds::Options::default());
        let stop = CancellationToken::new();
        let instance = Instance { group: GROUP.into(), node: name.into() };
        let socket = UnixSocket::bind(&socket).await.unwrap();
        tokio::spawn(serve(cache.clone(), socket, instance, stop.clone()));
        let proxy = proxy(directory.path()).await;
        let translator = Translator::new(Options::default());
        Self { name, address, log: Log::default(), translator, cache, events, proxy, directory, stop }
    }

    /// Both kinds of proxies, without any configuration: a real Envoy and the engine.
    pub async fn both(binary: &Path) -> [Self; 2] {
        let [envoy, engine] = addresses();
        let binary = binary.to_owned();
        let (envoy, engine) = tokio::join!(
            Self::bare("Envoy", envoy, async |directory| Proxy::Envoy(spawn(&binary, directory))),
            Self::bare("engine", engine, async |directory| Proxy::Engine(run(directory).await))
        );
        [envoy, engine]
    }

    /// Applies resources as they are, and waits until the proxy has them.
    pub async fn set(&mut self, set: Vec<Resource>) {
        let sequence = self.cache.apply(GROUP, Delta { set, remove: Vec::new() });
        self.applied(sequence).await;
    }

    /// Applies objects, and waits until the proxy has them.
    pub async fn apply(&mut self, objects: Vec<Value>) {
        let inputs: Vec<Input> = objects.into_iter().map(support::input).collect();
        let output = self.translator.apply(inputs);
        let problems: Vec<_> = output.reports.iter().filter_map(|report| report.problem.as_deref()).collect();
        assert_eq!(problems, [""; 0], "objects that can't be translated");
        for delta in output.deltas.into_values() {
            let sequence = self.cache.apply(GROUP, delta);
            self.applied(sequence).await;
        }
    }

    async fn applied(&mut self, sequence: u64) {
        let waiting = async {
            loop {
                match self.events.recv().await.unwrap() {
                    Event::Progress { applied, .. } if applied >= sequence => return,
                    Event::Nacked { id, message, .. } => panic!("{} refuses {id:?}: {message}", self.name),
                    _ => {}
                }
            }
        };
        let done = tokio::time::timeout(LIMIT, waiting).await;
        assert!(done.is_ok(), "{} doesn't apply its configuration; see {}", self.name, self.directory.path().display());
    }

    /// What the translator's own matcher works on.
    pub fn gateway(&self) -> Gateway {
        let proxy = ProxyRef { namespace: "tenant-a".to_owned(), name: "web".to_owned() };
        Gateway::read(self.translator.resources(&proxy)).unwrap()
    }
}

async fn run(directory: &Path) -> Engine {
    let engine = Engine::start(EngineOptions { workers: 1, ..EngineOptions::default() }).unwrap();
    let options = InstanceOptions {
        name: "web".into(),
        xds: ConfigSource::Socket { path: directory.join("xds"), node_id: "local".into() },
    };
    engine.add(options).await.unwrap();
    engine
}

/// A port where nobody listens, and which nobody else gets until the process ends.
pub fn closed_port() -> u16 {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    std::mem::forget(socket);
    port
}

fn spawn(binary: &Path, directory: &Path) -> Child {
    std::fs::write(directory.join("bootstrap.yaml"), BOOTSTRAP).unwrap();
    let mut command = Command::new(binary);
    command.args(["-c", "bootstrap.yaml", "--concurrency", "1", "--disable-hot-restart", "--drain-time-s", "1"]);
    command.args(["--log-level", "off"]).current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

const BOOTSTRAP: &str = r#"
node: { id: local, cluster: test }
dynamic_resources:
  ads_config: { api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{ envoy_grpc: { cluster_name: xds } }] }
  cds_config: { ads: {}, resource_api_version: V3 }
  lds_config: { ads: {}, resource_api_version: V3 }
static_resources:
  clusters:
  - name: xds
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
    load_assignment:
      cluster_name: xds
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: xds } } } }] }]
"#;

/// Two addresses of this test alone, and a port that is free on both.
pub fn addresses() -> [SocketAddr; 2] {
    static TESTS: AtomicU8 = AtomicU8::new(0);
    let test = TESTS.fetch_add(10, Ordering::SeqCst);
    let process = std::process::id();
    let (high, low) = ((process >> 7) as u8 | 1, (process << 1) as u8);
    let address = |last: u8| Ipv4Addr::new(127, high, low, test + last);
    let port = TcpListener::bind((address(1), 0)).unwrap().local_addr().unwrap().port();
    [1, 2].map(|last| SocketAddr::from((address(last), port)))
}

/// The address that clients of this one come from. It isn't 127.0.0.1: for that one Envoy says its own in
/// `x-forwarded-for`.
pub fn client_of(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            SocketAddr::from(([a, b, c, d - d % 10 + 9], 0))
        }
        v6 => v6,
    }
}
