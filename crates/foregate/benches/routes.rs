//! How fast a change travels, and what it costs: `cargo xtask bench routes`.
//!
//! One `foregate up` in a process of its own, with its API over TLS as `kubectl` uses it. At each number of routes, new
//! routes are added one after another, each with a host name of its own. Measured from the API's answer to the first
//! 200, and to the route's status being true; processor time is that of the whole process, API included, per change.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a measurement stops at the first surprise")]

#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "shared/measure.rs"]
mod measure;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foregate_api::gateway::HTTPRoute;
use futures::TryStreamExt;
use harness::{Foregate, apply, backend, gateway, gateway_address, http, route, service};
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use measure::{Probe, cpu, rss, spread};

struct Args {
    at: Vec<usize>,
    changes: usize,
}

#[tokio::main]
async fn main() {
    let args = parse();
    let dir = tempfile::tempdir().unwrap();
    let foregate = Foregate::start(dir.path(), "127.120.0.0/24", &[]);
    let client = foregate.client().await;
    let target = backend::start("one").await;
    for yaml in [service("one", &[target]), gateway("web"), route("first", "web", "/", "one")] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    harness::eventually("the first route serves", || async {
        http::get(address, "web", "/").await.ok().filter(|response| response.status() == 200)
    })
    .await;
    let mut bench = Bench { pid: foregate.pid(), api: Api::default_namespaced(client), address, routes: 1, serial: 0 };
    println!(
        "{:>7} {:>24} {:>24} {:>12} {:>10}",
        "routes", "live ms p50/p99/max", "status ms p50/p99/max", "CPU µs each", "RSS MiB"
    );
    for at in args.at {
        bench.fill(at).await;
        bench.measure(args.changes).await;
    }
    bench.delete_all().await;
    println!("after deleting all: RSS {} MiB", rss(bench.pid));
}

fn parse() -> Args {
    let mut args = Args { at: vec![10, 1000, 5000], changes: 300 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--at" => args.at = words.next().unwrap().split(',').map(|n| n.parse().unwrap()).collect(),
            "--changes" => args.changes = words.next().unwrap().parse().unwrap(),
            _ => {}
        }
    }
    args
}

struct Bench {
    pid: u32,
    api: Api<HTTPRoute>,
    address: SocketAddr,
    routes: usize,
    serial: usize,
}

impl Bench {
    fn next_route(&mut self) -> (String, HTTPRoute) {
        self.serial += 1;
        let name = format!("r{}", self.serial);
        let host = format!("{name}.bench.test");
        let yaml = route(&name, "web", "/", "one").replace("spec:\n", &format!("spec:\n  hostnames: [{host}]\n"));
        (host, serde_saphyr::from_str(&yaml).unwrap())
    }

    /// Adds routes until there are `wanted`, and waits until the last one serves.
    async fn fill(&mut self, wanted: usize) {
        let mut last = None;
        while self.routes < wanted {
            let batch: Vec<_> = (0..32.min(wanted - self.routes)).map(|_| self.next_route()).collect();
            self.routes += batch.len();
            last = batch.last().map(|(host, _)| host.clone());
            let params = PostParams::default();
            let writes = batch.iter().map(|(_, route)| self.api.create(&params, route));
            futures::future::try_join_all(writes).await.unwrap();
        }
        if let Some(host) = last {
            let mut probe = Probe::connect(self.address).await;
            probe.until_200(&host).await;
        }
        self.until_quiet().await;
    }

    async fn until_quiet(&self) {
        measure::until_quiet(&[self.pid]).await;
    }

    async fn measure(&mut self, changes: usize) {
        let routes = self.routes;
        let (mut live, mut status) = (Vec::new(), Vec::new());
        let mut probe = Probe::connect(self.address).await;
        let version = self.api.list_metadata(&ListParams::default().limit(1)).await.unwrap().metadata.resource_version;
        let watch = self.api.watch(&WatchParams::default(), &version.unwrap_or_default()).await.unwrap();
        let mut watch = Box::pin(watch);
        for _ in 0..changes {
            let (host, route) = self.next_route();
            self.api.create(&PostParams::default(), &route).await.unwrap();
            let acknowledged = Instant::now();
            let name = route.name_any();
            let until_status = async {
                loop {
                    match watch.try_next().await.unwrap() {
                        Some(WatchEvent::Modified(seen)) if seen.name_any() == name && is_accepted(&seen) => break,
                        Some(_) => {}
                        None => panic!("the watch ended"),
                    }
                }
                acknowledged.elapsed()
            };
            let until_live = async {
                probe.until_200(&host).await;
                acknowledged.elapsed()
            };
            let (live_after, status_after) = tokio::join!(until_live, until_status);
            live.push(live_after);
            status.push(status_after);
            self.routes += 1;
        }
        println!(
            "{:>7} {:>24} {:>24} {:>12} {:>10}",
            routes,
            spread(&mut live),
            spread(&mut status),
            self.cpu_per_change(changes).await.as_micros(),
            rss(self.pid)
        );
    }

    /// The same changes again with nobody asking, so that answering probes isn't counted.
    async fn cpu_per_change(&mut self, changes: usize) -> Duration {
        self.until_quiet().await;
        let before = cpu(self.pid);
        for _ in 0..changes {
            let (_, route) = self.next_route();
            self.api.create(&PostParams::default(), &route).await.unwrap();
            self.routes += 1;
        }
        self.until_quiet().await;
        (cpu(self.pid) - before) / u32::try_from(changes).unwrap()
    }

    async fn delete_all(&mut self) {
        self.api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
        self.until_quiet().await;
    }
}

fn is_accepted(route: &HTTPRoute) -> bool {
    let value = serde_json::to_value(route).unwrap();
    let conditions = value.pointer("/status/parents/0/conditions").and_then(|list| list.as_array().cloned());
    conditions.is_some_and(|list| list.iter().any(|one| one["type"] == "Accepted" && one["status"] == "True"))
}
