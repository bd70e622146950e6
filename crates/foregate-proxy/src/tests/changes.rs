//! Configuration that changes under running clients: no request may fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use foregate_envoy::ResourceKind;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::backend::Backend;
use super::client::{Client, LONG};
use super::resources::{endpoints, host, listener, rds, response, shell};
use super::rig::{Rig, until};

/// Clients that ask without pause until they are told to stop; every answer must be 200.
struct Traffic {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    fn start(address: std::net::SocketAddr, clients: usize) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..clients).map(|n| tokio::spawn(ask(address, n, stop.clone(), count.clone()))).collect();
        Self { stop, count, tasks }
    }

    /// Waits until so many more requests have been answered.
    async fn more(&self, requests: usize) {
        let target = self.count.load(Ordering::SeqCst) + requests;
        until("requests are answered", || {
            self.count.load(Ordering::SeqCst) >= target || self.tasks.iter().any(|task| task.is_finished())
        })
        .await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

async fn ask(address: std::net::SocketAddr, n: usize, stop: Arc<AtomicBool>, count: Arc<AtomicUsize>) {
    let mut client = Client::to(address).await;
    let mut requests: usize = 0;
    while !stop.load(Ordering::SeqCst) {
        let reply = if n.is_multiple_of(2) {
            client.get("a", "/").await
        } else {
            client.ask("POST", "a", "/", &[], "some body").await
        };
        assert_eq!(reply.status, 200, "{reply:?}");
        count.fetch_add(1, Ordering::SeqCst);
        requests += 1;
        if reply.header("connection") == Some("close") || requests.is_multiple_of(20) {
            client = Client::to(address).await;
        }
    }
}

const TO_A: &str = "- { match: { prefix: / }, route: { cluster: a } }";
const TO_B: &str = "- { match: { prefix: / }, route: { cluster: b } }";

#[tokio::test]
async fn no_request_fails_while_routes_endpoints_and_options_change() {
    let (a, b) = (Backend::named("a").await, Backend::named("b").await);
    let mut rig = Rig::new().await;
    rig.cluster("a", &[a.port()]).await;
    rig.cluster("b", &[b.port()]).await;
    let address = rig.serve(TO_A).await;
    let traffic = Traffic::start(address, 4);
    for round in 0..30 {
        traffic.more(4).await;
        rig.routes(if round % 2 == 0 { TO_B } else { TO_A }).await;
        let ports = if round % 3 == 0 { vec![a.port(), b.port()] } else { vec![b.port()] };
        rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", &ports)]).await;
        let options = format!("stream_idle_timeout: {}s", 100 + round);
        rig.set(ResourceKind::Listener, vec![listener("http-1", 0, &rds("rc"), &options)]).await;
        rig.set(ResourceKind::Listener, vec![listener("http-2", 0, &rds("rc"), "")]).await;
        rig.set(ResourceKind::VirtualHost, vec![host("rc", &format!("h{round}.example.com"), TO_A)]).await;
        if round % 5 == 4 {
            rig.remove(ResourceKind::Listener, &["http-2"]).await;
        }
    }
    traffic.more(4).await;
    traffic.end().await;
    assert_eq!(rig.address("http-1"), address, "the socket stayed");
    assert!(!a.got().is_empty() && !b.got().is_empty());
}

#[tokio::test]
async fn a_new_version_counts_for_requests_on_old_connections() {
    let mut rig = Rig::new().await;
    rig.serve_with("server_name: one", "- { match: { prefix: / }, direct_response: { status: 200 } }").await;
    let mut client = rig.client().await;
    assert_eq!(client.get("a", "/").await.header("server"), Some("one"));
    rig.set(ResourceKind::Listener, vec![listener("http-1", 0, &rds("rc"), "server_name: two")]).await;
    rig.routes("- { match: { prefix: / }, direct_response: { status: 201 } }").await;
    let reply = client.get("a", "/").await;
    assert_eq!((reply.status, reply.header("server")), (201, Some("two")));
}

#[tokio::test]
async fn a_listener_that_goes_away_finishes_what_it_began() {
    let gate = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::with(crate::EngineOptions { workers: 2, drain: LONG, ..Default::default() }).await;
    rig.cluster("a", &[gate.local_addr().unwrap().port()]).await;
    let address = rig.serve(TO_A).await;
    let mut busy = Client::to(address).await;
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut upstream, _) = gate.accept().await.unwrap();
    let mut head = [0; 4096];
    let _ = tokio::io::AsyncReadExt::read(&mut upstream, &mut head).await.unwrap();
    let mut idle = Client::to(address).await;
    idle.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(idle.reply(false).await.unwrap().status, 400, "an answer that needs no endpoint");
    rig.remove(ResourceKind::Listener, &["http-1"]).await;
    assert!(idle.is_closed().await, "an idle connection is closed");
    until("nobody listens", || std::net::TcpStream::connect(address).is_err()).await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
    let reply = busy.reply(false).await.unwrap();
    assert_eq!((&*reply.body, reply.header("connection")), ("done", Some("close")));
    assert!(busy.is_closed().await);
}

#[tokio::test]
async fn an_address_goes_from_one_listener_to_another_in_one_step() {
    let mut rig = Rig::new().await;
    let address = rig.serve("- { match: { prefix: / }, direct_response: { status: 200 } }").await;
    for round in 0..10 {
        let (old, new) = (format!("http-{}", round + 1), format!("http-{}", round + 2));
        let set = vec![listener(&new, address.port(), &rds("rc"), "")];
        rig.send(response(ResourceKind::Listener, set, &[&old])).await.unwrap();
        let reply = Client::to(address).await.get("a", "/").await;
        assert_eq!(reply.status, 200);
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_does_not_hold_up_a_drain() {
    let options = crate::EngineOptions { workers: 1, drain: LONG, ..Default::default() };
    let mut rig = Rig::with(options).await;
    let address = rig.serve("- { match: { prefix: / }, direct_response: { status: 200 } }").await;
    let mut silent = Client::to(address).await;
    until("it is accepted", || rig.metric("foregate_proxy_connections_active") == 1.0).await;
    rig.remove(ResourceKind::Listener, &["http-1"]).await;
    assert!(silent.is_closed().await);
}

#[tokio::test]
async fn a_drain_ends_some_time() {
    let gate = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = crate::EngineOptions { workers: 1, drain: Duration::from_millis(300), ..Default::default() };
    let mut rig = Rig::with(options).await;
    rig.cluster("a", &[gate.local_addr().unwrap().port()]).await;
    let address = rig.serve(TO_A).await;
    let mut busy = Client::to(address).await;
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let _upstream = gate.accept().await.unwrap();
    rig.engine.remove(super::rig::INSTANCE).await.unwrap();
    assert!(busy.reply(false).await.is_none(), "cut off when its time is over");
    let error = rig.engine.remove(super::rig::INSTANCE).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no gateway instance gw/local");
}

#[tokio::test]
async fn who_is_busy_when_an_instance_goes_is_told_with_the_next_response() {
    let mut rig = Rig::new().await;
    let address = rig.serve("- { match: { prefix: / }, direct_response: { status: 200 } }").await;
    let (mut busy, mut idle) = (rig.client().await, rig.client().await);
    for client in [&mut busy, &mut idle] {
        assert_eq!(client.get("a", "/").await.header("connection"), None);
    }
    let removal = rig.engine.remove(super::rig::INSTANCE);
    let next = async {
        until("nobody listens", || std::net::TcpStream::connect(address).is_err()).await;
        busy.get("a", "/").await
    };
    let (removed, reply) = tokio::join!(removal, next);
    removed.unwrap();
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert!(busy.is_closed().await);
    assert!(idle.is_closed().await, "who says nothing more is closed, too");
}

#[tokio::test]
async fn an_instance_comes_and_goes() {
    let mut rig = Rig::new().await;
    let address = rig.serve("- { match: { prefix: / }, direct_response: { status: 200 } }").await;
    assert_eq!(rig.client().await.get("a", "/").await.status, 200);
    rig.engine.shutdown(Duration::from_secs(5)).await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn domains_move_between_virtual_hosts_in_one_step() {
    let mut rig = Rig::new().await;
    rig.serve("[]").await;
    let status = |domains: &str, name: &str, status: u16| {
        let yaml = format!(
            "name: {name}\ndomains: {domains}\nroutes:\n- {{ match: {{ prefix: / }}, direct_response: {{ status: {status} }} }}"
        );
        super::resources::resource(ResourceKind::VirtualHost, name, &yaml)
    };
    rig.set(ResourceKind::VirtualHost, vec![status("[a, b]", "rc/one", 201), status("[c]", "rc/two", 202)]).await;
    let mut client = rig.client().await;
    rig.set(ResourceKind::VirtualHost, vec![status("[c, a]", "rc/two", 202), status("[b]", "rc/one", 201)]).await;
    for (name, want) in [("a", 202), ("b", 201), ("c", 202)] {
        assert_eq!(client.get(name, "/").await.status, want);
    }
    let refused = rig.send(response(ResourceKind::VirtualHost, vec![status("[c]", "rc/three", 203)], &[])).await;
    assert_eq!(refused.unwrap_err(), "rc/three: domains: \"c\" belongs to virtual host \"rc/two\" already");
    assert_eq!(client.get("c", "/").await.status, 202);
    rig.remove(ResourceKind::VirtualHost, &["rc/two"]).await;
    assert_eq!(client.get("c", "/").await.status, 404);
    assert_eq!(client.get("b", "/").await.status, 201);
}

#[tokio::test]
async fn what_is_refused_is_named_and_the_last_good_version_serves_on() {
    let mut rig = Rig::new().await;
    rig.serve("- { match: { prefix: / }, direct_response: { status: 200 } }").await;
    let bad = host("rc", "*", "- { match: { prefix: / }, route: { cluster_header: x-to } }");
    let good = host("rc", "good", "- { match: { prefix: / }, direct_response: { status: 201 } }");
    let refused = rig.send(response(ResourceKind::VirtualHost, vec![bad, good], &[])).await.unwrap_err();
    assert_eq!(refused, "rc/*: routes[0].route.cluster_header: not supported by the built-in engine");
    let mut client = rig.client().await;
    assert_eq!(client.get("x", "/").await.status, 200);
    assert_eq!(client.get("good", "/").await.status, 201, "what is good takes effect");
    let taken = listener("http-9", rig.address("http-1").port(), &rds("rc"), "");
    let refused = rig.send(response(ResourceKind::Listener, vec![taken], &[])).await.unwrap_err();
    assert!(refused.contains("listener http-1 of gateway instance gw/local has it already"), "{refused}");
    let broken = listener("http-1", 0, &rds("rc"), "proxy_status_config: {}");
    let refused = rig.send(response(ResourceKind::Listener, vec![broken], &[])).await.unwrap_err();
    assert_eq!(
        refused,
        "http-1: filter_chains[0].filters[0].typed_config.proxy_status_config: not supported by the built-in engine"
    );
    assert_eq!(client.get("x", "/").await.status, 200);
    assert_eq!(rig.metric("foregate_proxy_xds_nacks_total"), 3.0);
}

#[tokio::test]
async fn a_listener_waits_for_its_routes() {
    let mut rig = Rig::new().await;
    rig.set(ResourceKind::Listener, vec![listener("http-1", 0, &rds("rc"), "")]).await;
    let mut client = rig.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // One right behind the other: virtual hosts are waited for only so long.
    rig.responses.send(response(ResourceKind::RouteConfiguration, vec![shell("rc")], &[])).unwrap();
    rig.set(
        ResourceKind::VirtualHost,
        vec![host("rc", "*", "- { match: { prefix: / }, direct_response: { status: 200 } }")],
    )
    .await;
    assert_eq!(client.reply(false).await.unwrap().status, 200, "it came early and wasn't turned away");
}

#[tokio::test]
async fn an_address_changes() {
    let mut rig = Rig::new().await;
    let old = rig.serve("- { match: { prefix: / }, direct_response: { status: 200 } }").await;
    let yaml = super::resources::listener_yaml("http-1", "127.0.0.2", 0, &rds("rc"), "");
    let moved = super::resources::resource(ResourceKind::Listener, "http-1", &yaml);
    rig.set(ResourceKind::Listener, vec![moved]).await;
    let new = rig.address("http-1");
    assert_ne!(new.ip(), old.ip());
    assert_eq!(Client::to(new).await.get("a", "/").await.status, 200);
    until("nobody listens on the old one", || std::net::TcpStream::connect(old).is_err()).await;
}

#[tokio::test]
async fn connections_to_endpoints_that_are_gone_are_closed() {
    let gate = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::new().await;
    rig.cluster("a", &[gate.local_addr().unwrap().port()]).await;
    rig.serve(TO_A).await;
    let mut client = rig.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut upstream, _) = gate.accept().await.unwrap();
    let mut head = [0; 4096];
    let _ = tokio::io::AsyncReadExt::read(&mut upstream, &mut head).await.unwrap();
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    assert_eq!(client.reply(false).await.unwrap().body, "ok");
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", &[])]).await;
    let mut rest = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut upstream, &mut rest);
    tokio::time::timeout(super::client::LIMIT, closed).await.expect("closed in time").unwrap();
    assert_eq!(client.get("a", "/").await.body, "no healthy upstream");
    rig.remove(ResourceKind::Cluster, &["a"]).await;
    let reply = client.get("a", "/").await;
    assert_eq!((reply.status, &*reply.body), (503, ""));
}
