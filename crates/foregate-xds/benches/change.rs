//! What one changed virtual host costs, per stream and in the store: apply, decide, render, acknowledge.
//! `cargo bench -p foregate-xds` prints nanoseconds per change; they should not grow with the number of hosts.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_envoy::pb::envoy::config::cluster::v3::Cluster;
use foregate_envoy::pb::envoy::config::route::v3::route::Action;
use foregate_envoy::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route_action,
};
use foregate_envoy::{Delta, Resource, ResourceId, ResourceKind};
use foregate_xds::Options;
use foregate_xds::store::Store;
use foregate_xds::stream::{Names, Output, Profile, Request, Stream};

const CLUSTERS: usize = 100;

fn host(number: usize, generation: usize) -> Resource {
    let cluster = format!("cluster-{}", number % CLUSTERS);
    let action = RouteAction {
        cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(cluster.clone())),
        ..Default::default()
    };
    let route = Route {
        name: format!("generation {generation}"),
        r#match: Some(RouteMatch::default()),
        action: Some(Action::Route(action)),
        ..Default::default()
    };
    let name = format!("http-8080/host-{number}.example.com");
    let message = VirtualHost {
        name: name.clone(),
        domains: vec![format!("host-{number}.example.com")],
        routes: vec![route; 4],
        ..Default::default()
    };
    let needs = [ResourceId::new(ResourceKind::Cluster, cluster)];
    Resource::new(ResourceId::new(ResourceKind::VirtualHost, name), &message, needs, [])
}

/// A client that acknowledges all at once.
struct Peer {
    store: Store,
    stream: Stream,
    now: Instant,
}

impl Peer {
    fn new(hosts: usize, vhds: bool) -> Self {
        let mut store = Store::new();
        let mut set: Vec<Resource> = (0..hosts).map(|number| host(number, 0)).collect();
        set.extend((0..CLUSTERS).map(|number| {
            let name = format!("cluster-{number}");
            let message = Cluster { name: name.clone(), ..Default::default() };
            Resource::new(ResourceId::new(ResourceKind::Cluster, name), &message, [], [])
        }));
        let shell = RouteConfiguration { name: "http-8080".into(), ..Default::default() };
        set.push(Resource::new(ResourceId::new(ResourceKind::RouteConfiguration, "http-8080"), &shell, [], []));
        store.apply(Delta { set, remove: vec![] });
        let now = Instant::now();
        let stream = Stream::new(Profile { delta: true, vhds }, &Options::default(), now);
        let mut peer = Self { store, stream, now };
        for (kind, name) in [
            (ResourceKind::Cluster, "*"),
            (ResourceKind::Listener, "*"),
            (ResourceKind::RouteConfiguration, "http-8080"),
            (ResourceKind::VirtualHost, "http-8080/*"),
        ] {
            if vhds || kind != ResourceKind::VirtualHost {
                peer.request(kind, String::new(), vec![name.into()]);
            }
        }
        peer
    }

    fn request(&mut self, kind: ResourceKind, nonce: String, subscribe: Vec<Arc<str>>) {
        let names = Names::Change { subscribe, unsubscribe: vec![], initial: HashMap::new() };
        self.stream.request(&self.store, Request { kind, names, nonce, error: None });
        self.advance();
    }

    /// Returns when all is acknowledged.
    fn advance(&mut self) {
        self.stream.advance(&self.store, self.now);
        for output in self.stream.take() {
            if let Output::Response(response) = black_box(output) {
                self.request(response.kind, response.nonce, vec![]);
            }
        }
    }

    /// Time in the store, and in the stream.
    fn change(&mut self, resource: Resource) -> (Duration, Duration) {
        let start = Instant::now();
        let changed = self.store.apply(Delta { set: vec![resource], remove: vec![] });
        let applied = Instant::now();
        let sequence = self.store.sequence();
        self.stream.changed(&self.store, changed.into_iter().map(|id| (id, sequence)).collect());
        self.advance();
        (applied - start, applied.elapsed())
    }
}

fn measure(hosts: usize, vhds: bool, changes: usize) {
    let mut peer = Peer::new(hosts, vhds);
    let mut times = (Duration::ZERO, Duration::ZERO);
    for generation in 1..=changes {
        let resource = host(generation * 7919 % hosts, generation);
        let (store, stream) = peer.change(resource);
        times = (times.0 + store, times.1 + stream);
    }
    let each = |time: Duration| time.as_nanos() / changes as u128;
    let name = if vhds { "one by one" } else { "whole     " };
    println!("{name} {hosts:>6} hosts: store {:>6} ns, stream {:>9} ns per change", each(times.0), each(times.1));
}

fn main() {
    for hosts in [10, 1_000, 10_000] {
        measure(hosts, true, 20_000);
    }
    for hosts in [10, 1_000, 10_000] {
        measure(hosts, false, 100);
    }
}
