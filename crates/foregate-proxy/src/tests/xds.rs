//! The engine and Foregate's own xDS server over a unix socket: what the whole of Foregate runs on.

use std::sync::Arc;
use std::time::Duration;

use foregate_envoy::{Delta, Owner, Resource, ResourceId, ResourceKind};
use foregate_xds::client::ClientResource;
use foregate_xds::{Cache, Event, Instance, Options, serve_unix};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::client::{Client, LIMIT};
use super::resources::{eds_cluster, endpoints, host, listener, rds, resource};
use super::rig::until;
use crate::{ConfigSource, Engine, EngineOptions, InstanceOptions};

const GROUP: &str = "tenant/gw";

/// A resource as translation makes it.
fn published(kind: ResourceKind, resource: &ClientResource, needs: &[(ResourceKind, &str)]) -> Resource {
    let needs: Vec<ResourceId> = needs.iter().map(|(kind, name)| ResourceId::new(*kind, *name)).collect();
    let version = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&resource.body));
    let owner = Owner { uid: "u1".into(), generation: 1 };
    Resource {
        id: ResourceId::new(kind, resource.name.as_str()),
        version: version.into(),
        body: resource.body.clone(),
        needs: needs.into(),
        owners: [owner].into(),
    }
}

fn to(cluster: &str) -> String {
    format!("- {{ match: {{ prefix: / }}, route: {{ cluster: {cluster} }} }}")
}

fn host_of(domain: &str, cluster: &str) -> Resource {
    let own = host("rc", domain, &to(cluster));
    let needs = [(ResourceKind::Cluster, cluster), (ResourceKind::ClusterLoadAssignment, cluster)];
    published(ResourceKind::VirtualHost, &own, &needs)
}

fn backend_of(name: &str, port: u16) -> [Resource; 2] {
    [
        published(ResourceKind::Cluster, &eds_cluster(name, ""), &[]),
        published(ResourceKind::ClusterLoadAssignment, &endpoints(name, &[port]), &[]),
    ]
}

/// Waits for everything up to a sequence to be answered; NACKs on the way are returned.
async fn settled(events: &mut UnboundedReceiver<Event>, sequence: u64) -> Vec<String> {
    let mut nacks = Vec::new();
    let waiting = async {
        loop {
            match events.recv().await.expect("the server runs") {
                Event::Progress { applied, .. } if applied >= sequence => return,
                Event::Nacked { id, message, .. } => nacks.push(format!("{id:?}: {message}")),
                _ => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("an answer in time");
    nacks
}

/// A listener, and a route configuration that stays empty.
fn without_routes(name: &str, config: &str) -> Vec<Resource> {
    let shell = resource(ResourceKind::RouteConfiguration, config, &format!("name: {config}"));
    let needs = [(ResourceKind::RouteConfiguration, config)];
    let bare = published(ResourceKind::Listener, &listener(name, 0, &rds(config), ""), &needs);
    vec![published(ResourceKind::RouteConfiguration, &shell, &[]), bare]
}

/// Does something until it is done before a listener would have waited for its routes (5 s). On a busy machine not
/// every turn is, but one of them.
async fn at_once(mut turn: impl AsyncFnMut() -> Duration) {
    let mut took = Vec::new();
    while took.len() < 10 {
        took.push(turn().await);
        if took.last().is_some_and(|took| *took < Duration::from_secs(4)) {
            return;
        }
    }
    panic!("never at once: {took:?}");
}

#[tokio::test]
async fn from_the_cache_to_traffic_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("xds.sock");
    let (cache, mut events) = Cache::new(Options { drain: Duration::from_millis(50), ..Options::default() });
    let stop = CancellationToken::new();
    let serve = |stop: CancellationToken| {
        let identity = Instance { group: GROUP.into(), node: "local".into() };
        let (cache, socket) = (cache.clone(), socket.clone());
        tokio::spawn(async move { serve_unix(cache, &socket, identity, stop).await })
    };
    let mut server = serve(stop.clone());
    let (a, b) = (Backend::named("a").await, Backend::named("b").await);

    let shell = resource(ResourceKind::RouteConfiguration, "rc", "name: rc\nignore_port_in_host_matching: true");
    let mut set = vec![
        published(
            ResourceKind::Listener,
            &listener("http-1", 0, &rds("rc"), ""),
            &[(ResourceKind::RouteConfiguration, "rc")],
        ),
        published(ResourceKind::RouteConfiguration, &shell, &[]),
        host_of("a.example.com", "a"),
    ];
    set.extend(backend_of("a", a.port()));
    let sequence = cache.apply(GROUP, Delta { set, remove: Vec::new() });

    let engine = Engine::start(EngineOptions { workers: 2, ..EngineOptions::default() }).unwrap();
    let options = InstanceOptions {
        name: GROUP.into(),
        xds: ConfigSource::Socket { path: socket.clone(), node_id: "local".into() },
    };
    engine.add(options.clone()).await.unwrap();
    assert_eq!(engine.add(options).await.unwrap_err().to_string(), "gateway instance tenant/gw runs already");
    assert!(settled(&mut events, sequence).await.is_empty());
    let address = engine.addresses()[0].address;
    let mut client = Client::to(address).await;
    assert_eq!(client.get("a.example.com", "/").await.body, "a");

    let mut set = vec![host_of("b.example.com", "b")];
    set.extend(backend_of("b", b.port()));
    let sequence = cache.apply(GROUP, Delta { set, remove: Vec::new() });
    assert!(settled(&mut events, sequence).await.is_empty());
    assert_eq!(client.get("b.example.com", "/").await.body, "b");

    let bad = host("rc", "bad", "- { match: { prefix: / }, route: { cluster_header: x } }");
    let set = vec![published(ResourceKind::VirtualHost, &bad, &[]), host_of("c.example.com", "a")];
    let sequence = cache.apply(GROUP, Delta { set, remove: Vec::new() });
    let nacks = settled(&mut events, sequence).await;
    assert_eq!(nacks.len(), 1, "{nacks:?}");
    assert!(nacks[0].contains("rc/bad: routes[0].route.cluster_header: not supported"), "{nacks:?}");
    assert_eq!(client.get("c.example.com", "/").await.body, "a");

    // A gateway without any route is there at once: it answers 404, it doesn't wait for routes.
    let bare = async || {
        let begin = std::time::Instant::now();
        let sequence = cache.apply(GROUP, Delta { set: without_routes("http-2", "rc2"), remove: Vec::new() });
        assert!(settled(&mut events, sequence).await.is_empty());
        let bare = engine.addresses().into_iter().find(|it| &*it.listener == "http-2").unwrap().address;
        assert_eq!(Client::to(bare).await.get("a", "/").await.status, 404);
        let took = begin.elapsed();
        let gone = [(ResourceKind::Listener, "http-2"), (ResourceKind::RouteConfiguration, "rc2")];
        let remove = gone.map(|(kind, name)| ResourceId::new(kind, name)).into();
        let sequence = cache.apply(GROUP, Delta { set: Vec::new(), remove });
        settled(&mut events, sequence).await;
        until("it is gone", || engine.addresses().len() == 1).await;
        took
    };
    at_once(bare).await;

    stop.cancel();
    server.await.unwrap().unwrap();
    until("the stream is down", || engine.metrics().contains("xds_connected{instance=\"tenant/gw\"} 0")).await;
    assert_eq!(client.get("a.example.com", "/").await.body, "a", "traffic outlives the control plane");
    let sequence = cache.apply(GROUP, Delta { set: vec![host_of("a.example.com", "b")], remove: Vec::new() });
    let again = CancellationToken::new();
    server = serve(again.clone());
    settled(&mut events, sequence).await;
    assert_eq!(client.get("a.example.com", "/").await.body, "b", "it catches up when the stream is back");

    // A port that changes its protocol: another listener at the same address.
    let needs = [(ResourceKind::RouteConfiguration, "rc")];
    let heir = published(ResourceKind::Listener, &listener("heir", address.port(), &rds("rc"), ""), &needs);
    let gone = ResourceId::new(ResourceKind::Listener, Arc::<str>::from("http-1"));
    let sequence = cache.apply(GROUP, Delta { set: vec![heir], remove: vec![gone] });
    let nacks = settled(&mut events, sequence).await;
    assert!(nacks.is_empty(), "{nacks:?}");
    assert!(client.is_closed().await);
    assert_eq!(Client::to(address).await.get("a.example.com", "/").await.body, "b");
    engine.shutdown(Duration::from_secs(5)).await;
    again.cancel();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_gateway_without_routes_answers_at_once() {
    at_once(gateway_without_routes).await;
}

/// How long a request to one takes that is just there.
async fn gateway_without_routes() -> Duration {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("xds.sock");
    let (cache, mut events) = Cache::new(Options::default());
    let stop = CancellationToken::new();
    let identity = Instance { group: GROUP.into(), node: "local".into() };
    let server = tokio::spawn({
        let (cache, socket, stop) = (cache.clone(), socket.clone(), stop.clone());
        async move { serve_unix(cache, &socket, identity, stop).await }
    });
    let sequence = cache.apply(GROUP, Delta { set: without_routes("http-1", "rc"), remove: Vec::new() });
    let engine = Engine::start(EngineOptions { workers: 1, ..EngineOptions::default() }).unwrap();
    let options =
        InstanceOptions { name: GROUP.into(), xds: ConfigSource::Socket { path: socket, node_id: "local".into() } };
    engine.add(options).await.unwrap();
    settled(&mut events, sequence).await;
    let begin = std::time::Instant::now();
    assert_eq!(Client::to(engine.addresses()[0].address).await.get("a", "/").await.status, 404);
    let took = begin.elapsed();
    engine.shutdown(Duration::from_secs(1)).await;
    stop.cancel();
    server.await.unwrap().unwrap();
    took
}
