//! Many routes over many namespaces at a steady rate, each verified by a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_api::gateway::HTTPRoute;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::Args;
use crate::harness::apply;
use crate::measure::{Memory, Probe, cpu, rss, spread};
use crate::scene::{NAMESPACE, Scene, route_object};
use crate::writes;

const NAMESPACES: usize = 50;
const PER_SECOND: u32 = 100;
const PROBES: usize = 4;

/// Writes 5,000 routes at 100 a second; each is asked for until it serves.
pub async fn run(scene: &Scene, args: &Args) {
    let routes = args.times(5000);
    for index in 0..NAMESPACES {
        apply(&scene.client, &namespace(index)).await;
    }
    let pids = scene.bed.pids();
    let before: Vec<Duration> = pids.iter().map(|&pid| cpu(pid)).collect();
    let written = writes::ours(scene).await;
    let (mut writes, mut peak) = (JoinSet::new(), vec![0; pids.len()]);
    let started = Instant::now();
    let (sender, receiver) = mpsc::unbounded_channel();
    let queue: Queue = Arc::new(Mutex::new(receiver));
    let mut probes = JoinSet::new();
    for _ in 0..PROBES {
        probes.spawn(verify(scene.address, queue.clone()));
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    for index in 0..routes {
        ticks.tick().await;
        let (client, sender) = (scene.client.clone(), sender.clone());
        writes.spawn(async move {
            let api: Api<HTTPRoute> = Api::namespaced(client, &name(index % NAMESPACES));
            let host = format!("s{index}.scale.test");
            let route = route_object(&name(index % NAMESPACES), &format!("s{index}"), &host, "one");
            let route = with_backend_of(route);
            api.create(&PostParams::default(), &route).await.unwrap();
            sender.send((host, Instant::now())).unwrap();
        });
        if index % 100 == 0 {
            pids.iter().zip(&mut peak).for_each(|(&pid, peak)| *peak = rss(pid).max(*peak));
        }
    }
    drop(sender);
    while let Some(write) = writes.join_next().await {
        write.unwrap();
    }
    let mut live = Vec::new();
    while let Some(times) = probes.join_next().await {
        live.extend(times.unwrap());
    }
    let took = started.elapsed();
    assert_eq!(live.len(), routes, "every route was verified");
    println!("  {routes} routes over {NAMESPACES} namespaces at {PER_SECOND}/s: all live after {took:.1?}");
    println!("  live ms p50/p99/max: {}", spread(&mut live));
    for (index, what) in ["controller", "up"].into_iter().enumerate() {
        let spent = (cpu(pids[index]) - before[index]).as_micros() / routes as u128;
        let (now, most) = (Memory::of(pids[index]), peak[index].max(rss(pids[index])));
        println!("  {what}: {spent} µs CPU a route, {now} MiB, at most {most}");
    }
    let ours = (writes::ours(scene).await - written) / routes as f64;
    println!("  writes of ours that the cluster's API answered: {ours:.2} a route");
    for index in 0..NAMESPACES {
        let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(scene.client.clone());
        api.delete(&name(index), &DeleteParams::default()).await.unwrap();
    }
}

/// Hosts that were written and when, for whoever asks first.
type Queue = Arc<Mutex<mpsc::UnboundedReceiver<(String, Instant)>>>;

async fn verify(address: SocketAddr, queue: Queue) -> Vec<Duration> {
    let (mut probe, mut times) = (Probe::connect(address).await, Vec::new());
    loop {
        let next = queue.lock().await.recv().await;
        let Some((host, acknowledged)) = next else { return times };
        probe.until_200(&host).await;
        times.push(acknowledged.elapsed());
    }
}

fn name(index: usize) -> String {
    format!("foregate-bench-{index}")
}

/// A namespace, and the leave to send from it to the pods.
fn namespace(index: usize) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\n\
         metadata: {{name: from-{name}, namespace: {NAMESPACE}}}\n\
         spec:\n  from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: {name}}}]\n  \
         to: [{{group: \"\", kind: Service}}]\n",
        name = name(index)
    )
}

fn with_backend_of(route: HTTPRoute) -> HTTPRoute {
    let mut value = serde_json::to_value(route).unwrap();
    value["spec"]["rules"][0]["backendRefs"][0]["namespace"] = NAMESPACE.into();
    serde_json::from_value(value).unwrap()
}
