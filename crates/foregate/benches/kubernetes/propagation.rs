//! A new route live, and what a change costs, at several numbers of routes.

use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};

use crate::Args;
use crate::harness::{condition, eventually};
use crate::measure::{Memory, Probe, cpu, spread, until_quiet};
use crate::scene::{NAMESPACE, Scene, route_object};
use crate::writes;

/// Adds routes one after another, each with a host name of its own: from the API's answer to the first 200.
pub async fn run(scene: &Scene, args: &Args) {
    println!(
        "  {:>7} {:>22} {:>12} {:>12} {:>8} {:>22} {:>22}",
        "routes", "live ms p50/p99/max", "CPU µs contr.", "CPU µs up", "writes", "MiB contr.", "MiB up"
    );
    println!("  (writes: of ours to the cluster's API, a route; MiB: resident = own + files' (proportional))");
    let (mut serial, mut there) = (0, 1);
    for &at in &args.at {
        let wanted = if args.check { at.min(100) } else { at };
        while there < wanted {
            let batch: Vec<_> = (0..32.min(wanted - there)).map(|_| next(&mut serial)).collect();
            there += batch.len();
            let (api, params) = (scene.routes(), PostParams::default());
            let writes = batch.iter().map(|(_, route)| api.create(&params, route));
            futures::future::try_join_all(writes).await.unwrap();
        }
        let mut probe = Probe::connect(scene.address).await;
        if serial > 0 {
            probe.until_200(&host(serial)).await;
        }
        measure(scene, &mut probe, &mut serial, args.times(args.changes)).await;
        there = serial + 1;
    }
    statuses_are_true(scene).await;
    let others = ListParams::default().fields("metadata.name!=first");
    scene.routes().delete_collection(&DeleteParams::default(), &others).await.unwrap();
    until_quiet(&scene.bed.pids()).await;
    let pids = scene.bed.pids();
    println!("  after deleting all: {} MiB controller, {} MiB up", Memory::of(pids[0]), Memory::of(pids[1]));
}

fn host(serial: usize) -> String {
    format!("r{serial}.bench.test")
}

fn next(serial: &mut usize) -> (String, foregate_api::gateway::HTTPRoute) {
    *serial += 1;
    let host = host(*serial);
    let route = route_object(NAMESPACE, &format!("r{serial}"), &host, "one");
    (host, route)
}

async fn measure(scene: &Scene, probe: &mut Probe, serial: &mut usize, changes: usize) {
    let (pids, api) = (scene.bed.pids(), scene.routes());
    let routes = *serial;
    until_quiet(&pids).await;
    let mut live = Vec::new();
    for _ in 0..changes {
        live.push(one(scene, probe, serial).await);
    }
    // The same changes again with nobody asking, so that answering probes isn't counted.
    until_quiet(&pids).await;
    let (before, written): (Vec<Duration>, _) = (pids.iter().map(|&pid| cpu(pid)).collect(), writes::ours(scene).await);
    for _ in 0..changes {
        let (_, route) = next(serial);
        api.create(&PostParams::default(), &route).await.unwrap();
    }
    until_quiet(&pids).await;
    let each = |index: usize| (cpu(pids[index]) - before[index]).as_micros() / changes as u128;
    println!(
        "  {:>7} {:>22} {:>12} {:>12} {:>8.2} {:>22} {:>22}",
        routes,
        spread(&mut live),
        each(0),
        each(1),
        (writes::ours(scene).await - written) / changes as f64,
        Memory::of(pids[0]),
        Memory::of(pids[1])
    );
}

/// Writes one more route. Returns how long it took from the API's answer to the first 200.
pub async fn one(scene: &Scene, probe: &mut Probe, serial: &mut usize) -> Duration {
    let (host, route) = next(serial);
    scene.routes().create(&PostParams::default(), &route).await.unwrap();
    let acknowledged = Instant::now();
    probe.until_200(&host).await;
    acknowledged.elapsed()
}

/// Every route says that it is accepted.
pub async fn statuses_are_true(scene: &Scene) {
    let api = scene.routes();
    eventually("every route is Accepted", || async {
        let all = api.list(&ListParams::default()).await.ok()?;
        let accepted = all.items.iter().all(|route| {
            let value = serde_json::to_value(route).unwrap_or_default();
            let accepted = condition(&value, "/status/parents/0/conditions", "Accepted");
            accepted.is_some_and(|(status, _, _)| status == "True") || route.name_any() == "first"
        });
        accepted.then_some(())
    })
    .await;
}
