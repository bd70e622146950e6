//! Connections and datagrams, from a real process: on both engines, over ListenerSets, and while an engine is exchanged.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;
use std::time::Duration;

use foregate_api::GatewayProxy;
use harness::envoy::{self, NEW};
use harness::{Foregate, apply, condition, eventually, gateway_address};
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// How long a datagram may take before it counts as lost.
const LOST: Duration = Duration::from_secs(60);
/// After which time it is sent again, where some may be lost: a listener isn't there yet, or is replaced.
const AGAIN: Duration = Duration::from_secs(1);
/// A port for both transports.
const PORT: u16 = 9000;
/// A port of the ListenerSet.
const EXTRA: u16 = 9001;

/// A server of both transports, on one port, that answers whatever it gets with its name.
async fn server(name: &'static str) -> SocketAddr {
    let (listener, socket) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // The number may be taken for datagrams.
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
            break (listener, socket);
        }
    };
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    stream.write_all(name.as_bytes()).await.unwrap();
                }
            });
        }
    });
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
            socket.send_to(name.as_bytes(), from).await.unwrap();
        }
    });
    address
}

/// A Service of both transports, with one endpoint.
fn service(name: &str, address: SocketAddr) -> String {
    let slice = |protocol: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: {name}-{protocol}, labels: {{kubernetes.io/service-name: {name}}}}}\naddressType: IPv4\n\
             ports: [{{name: {protocol}, port: {}, protocol: {}}}]\nendpoints: [{{addresses: [{}]}}]\n",
            address.port(),
            protocol.to_uppercase(),
            address.ip()
        )
    };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  ports:\n  \
         - {{name: tcp, port: 80, protocol: TCP}}\n  - {{name: udp, port: 81, protocol: UDP}}\n{}{}",
        slice("tcp"),
        slice("udp")
    )
}

fn gateway() -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: web}}\nspec:\n  \
         gatewayClassName: foregate\n  allowedListeners: {{namespaces: {{from: Same}}}}\n  listeners:\n  \
         - {{name: tcp, port: {PORT}, protocol: TCP}}\n  - {{name: udp, port: {PORT}, protocol: UDP}}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{name: extra}}\nspec:\n  \
         parentRef: {{name: web}}\n  listeners: [{{name: more, port: {EXTRA}, protocol: TCP}}]\n"
    )
}

fn route(kind: &str, name: &str, parent: &str, service: &str) -> String {
    let port = if kind == "UDPRoute" { 81 } else { 80 };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  \
         parentRefs: [{parent}]\n  rules: [{{backendRefs: [{{name: {service}, port: {port}}}]}}]\n"
    )
}

const TCP: &str = "{name: web, sectionName: tcp}";
const UDP: &str = "{name: web, sectionName: udp}";
const SET: &str = "{group: gateway.networking.k8s.io, kind: ListenerSet, name: extra}";

async fn ask(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.write_all(b"?").await?;
    let mut buffer = [0; 64];
    let count = stream.read(&mut buffer).await?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

async fn tcp(address: SocketAddr) -> Option<String> {
    ask(&mut TcpStream::connect(address).await.ok()?).await.ok().filter(|answer| !answer.is_empty())
}

/// None: the datagram was lost, or refused.
async fn udp(address: SocketAddr, patience: Duration) -> Option<String> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.ok()?;
    socket.send(b"?").await.ok()?;
    let mut buffer = [0; 64];
    let count = tokio::time::timeout(patience, socket.recv(&mut buffer)).await.ok()?.ok()?;
    Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

async fn answers<F: Future<Output = Option<String>>>(what: &str, expected: &str, ask: impl Fn() -> F) {
    eventually(&format!("{what} answers as {expected}"), || async { ask().await.filter(|it| it == expected) }).await;
}

struct Scene {
    foregate: Foregate,
    dir: envoy::DataDir,
    client: Client,
    ip: std::net::IpAddr,
}

impl Scene {
    /// A Gateway with a ListenerSet, and three routes to `one`.
    async fn set(pool: &str, engine: &str) -> Self {
        let dir = envoy::DataDir::new();
        envoy::install_all(dir.path());
        let foregate = Foregate::start(dir.path(), pool, &["--engine", engine, "--workers", "2"]);
        let client = foregate.client().await;
        for name in ["one", "two"] {
            apply(&client, &service(name, server(name).await)).await;
        }
        apply(&client, &gateway()).await;
        apply(&client, &route("TCPRoute", "tcp", TCP, "one")).await;
        apply(&client, &route("UDPRoute", "udp", UDP, "one")).await;
        apply(&client, &route("TCPRoute", "more", SET, "one")).await;
        let ip = gateway_address(&client, "web").await;
        let scene = Self { foregate, dir, client, ip };
        answers("TCP", "one", || tcp(scene.at(PORT))).await;
        answers("UDP", "one", || udp(scene.at(PORT), AGAIN)).await;
        answers("the ListenerSet", "one", || tcp(scene.at(EXTRA))).await;
        scene
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, port)
    }
}

async fn everything_is_served_on(pool: &str, engine: &str) {
    let scene = Scene::set(pool, engine).await;
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "ListenerSet");
    let sets: Api<DynamicObject> = Api::default_namespaced_with(scene.client.clone(), &ApiResource::from_gvk(&kind));
    eventually("the ListenerSet is Programmed", || async {
        let set = serde_json::to_value(sets.get("extra").await.ok()?).ok()?;
        (condition(&set, "/status/conditions", "Programmed")?.0 == "True").then_some(())
    })
    .await;
    let proxies: Api<GatewayProxy> = Api::all(scene.client.clone());
    let proxies = proxies.list(&ListParams::default()).await.unwrap().items;
    let claims: Vec<_> = proxies.iter().map(|proxy| proxy.status.clone().unwrap().claims).collect();
    assert_eq!(claims.iter().map(Vec::len).collect::<Vec<_>>(), [2], "one proxy for both claims");
    assert_eq!(proxies[0].name_any(), claims[0][0], "called like the Gateway's claim");

    // A connection that is open stays where it is, the next one goes elsewhere.
    let mut open = TcpStream::connect(scene.at(PORT)).await.unwrap();
    assert_eq!(ask(&mut open).await.unwrap(), "one");
    apply(&scene.client, &route("TCPRoute", "tcp", TCP, "two")).await;
    apply(&scene.client, &route("UDPRoute", "udp", UDP, "two")).await;
    answers("TCP", "two", || tcp(scene.at(PORT))).await;
    // Envoy ends it after the drain time.
    assert_eq!(ask(&mut open).await.unwrap(), "one");
    answers("UDP", "two", || udp(scene.at(PORT), AGAIN)).await;
    assert_eq!(tcp(scene.at(EXTRA)).await.as_deref(), Some("one"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_datagrams_are_served_by_the_builtin_engine() {
    everything_is_served_on("127.142.0.0/24", "builtin").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_datagrams_are_served_by_envoy() {
    everything_is_served_on("127.142.1.0/24", NEW).await;
}

/// Clients that make connections and send datagrams, each only once, and count those that aren't answered.
struct Load {
    stop: tokio::sync::watch::Sender<bool>,
    clients: Vec<tokio::task::JoinHandle<(&'static str, usize, usize)>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let clients = ["UDP", "UDP", "TCP"].map(|transport| {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                let (mut sent, mut lost) = (0, 0);
                while !*stopped.borrow() {
                    let answer = if transport == "UDP" { udp(address, LOST).await } else { tcp(address).await };
                    sent += 1;
                    lost += usize::from(answer.is_none());
                    // So that the sockets of connections that are over don't run out.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                (transport, sent, lost)
            })
        });
        Self { stop, clients: clients.into() }
    }

    async fn nothing_was_lost(self) {
        self.stop.send(true).unwrap();
        for client in self.clients {
            let (transport, sent, lost) = client.await.unwrap();
            println!("{transport}: {sent} sent, {lost} lost");
            assert!(sent > 50, "{transport}: only {sent} were sent");
            assert_eq!(lost, 0, "{transport}: of {sent}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_and_no_datagram_is_lost_while_engines_are_exchanged() {
    let scene = Scene::set("127.142.2.0/24", "builtin").await;
    let load = Load::start(scene.at(PORT));
    for engine in [NEW, "builtin", NEW] {
        envoy::switch(&scene.client, engine).await;
    }
    load.nothing_was_lost().await;
}

/// The next agent has a new Envoy listen beside the old one, which lets go once the new one serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_and_no_datagram_is_lost_when_foregate_is_killed_and_comes_back() {
    const POOL: &str = "127.142.3.0/24";
    let Scene { foregate, dir, client, ip } = Scene::set(POOL, NEW).await;
    let before = envoy::until(&client, |status| status.pid.is_some()).await.pid.unwrap();
    let load = Load::start(SocketAddr::new(ip, PORT));
    foregate.stop(rustix::process::Signal::KILL);
    let foregate = Foregate::start(dir.path(), POOL, &["--workers", "2"]);
    let client = foregate.client().await;
    envoy::until(&client, |status| status.pid.is_some_and(|pid| pid != before)).await;
    eventually("the old one ends", || async { (!envoy::lives(before)).then_some(()) }).await;
    load.nothing_was_lost().await;
}
