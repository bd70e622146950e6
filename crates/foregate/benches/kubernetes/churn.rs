//! New routes one after another, while nothing else changes and while much does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::Args;
use crate::harness::apply;
use crate::measure::{Probe, cpu, spread, until_quiet};
use crate::propagation;
use crate::scene::{Load, NAMESPACE, Scene, none_failed, route_object};

/// Routes that change, besides those that are new.
const OTHERS: usize = 50;
/// Between changes of other routes and of endpoints.
const EVERY: Duration = Duration::from_millis(20);
const SLICE: &str = "churning-1";

/// 3,000 routes one after another, each from the API's answer to the first 200; then as many while fifty times a second
/// another route or the endpoints of a Service change. No request fails that somebody else's route serves meanwhile.
pub async fn run(scene: &Scene, args: &Args) {
    let (routes, pids, mut serial) = (args.times(3000), scene.bed.pids(), 0);
    others(scene).await;
    for churns in [false, true] {
        until_quiet(&pids).await;
        let (load, mut probe) = (Load::start(1, scene.address, "web", "/"), Probe::connect(scene.address).await);
        let (before, started): (Vec<Duration>, _) = (pids.iter().map(|&pid| cpu(pid)).collect(), Instant::now());
        let changes = Arc::new(AtomicUsize::new(0));
        let churn = churns.then(|| Churn(tokio::spawn(churn(scene.client.clone(), changes.clone()))));
        let mut live = Vec::with_capacity(routes);
        for _ in 0..routes {
            live.push(propagation::one(scene, &mut probe, &mut serial).await);
        }
        let (took, changes) = (started.elapsed(), changes.load(Ordering::Relaxed));
        drop(churn);
        let spent: Vec<u128> = pids.iter().zip(before).map(|(&pid, before)| (cpu(pid) - before).as_micros()).collect();
        println!(
            "  {routes} routes one after another in {took:.1?}, {changes} other changes: live ms p50/p99/max {}",
            spread(&mut live)
        );
        let each = |spent: u128| spent / (routes + changes) as u128;
        println!("  CPU µs a change: {} controller, {} up (with requests)", each(spent[0]), each(spent[1]));
        let (sent, failures) = load.finish().await;
        none_failed("meanwhile", sent, &failures);
    }
    propagation::statuses_are_true(scene).await;
    let all = ListParams::default().fields("metadata.name!=first");
    scene.routes().delete_collection(&DeleteParams::default(), &all).await.unwrap();
    until_quiet(&pids).await;
}

/// Ends with it.
struct Churn(tokio::task::JoinHandle<()>);

impl Drop for Churn {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is going to change: routes to a Service without a selector.
async fn others(scene: &Scene) {
    let yaml = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: churning, namespace: {NAMESPACE}}}\n\
         spec: {{ports: [{{name: http, port: 80, targetPort: 3000}}]}}\n"
    );
    apply(&scene.client, &yaml).await;
    write_slice(&Api::namespaced(scene.client.clone(), NAMESPACE), 0).await;
    for index in 0..OTHERS {
        let route = route_object(NAMESPACE, &format!("other-{index}"), &format!("other-{index}.test"), "churning");
        scene.routes().create(&PostParams::default(), &route).await.unwrap();
    }
}

/// Changes something every 20 ms: a route's filter, or a slice's endpoints.
async fn churn(client: kube::Client, changes: Arc<AtomicUsize>) {
    let routes: Api<foregate_api::gateway::HTTPRoute> = Api::namespaced(client.clone(), NAMESPACE);
    let slices = Api::namespaced(client, NAMESPACE);
    let mut ticks = tokio::time::interval(EVERY);
    for turn in 0_usize.. {
        ticks.tick().await;
        changes.fetch_add(1, Ordering::Relaxed);
        if turn % 2 == 0 {
            write_slice(&slices, turn).await;
            continue;
        }
        let header = json!({"type": "ResponseHeaderModifier", "responseHeaderModifier":
            {"set": [{"name": "x-turn", "value": turn.to_string()}]}});
        let rules = json!([{"filters": [header], "backendRefs": [{"name": "churning", "port": 80}]}]);
        let (name, patch) = (format!("other-{}", turn / 2 % OTHERS), json!({"spec": {"rules": rules}}));
        routes.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
}

/// Ten endpoints, one of which is new every time.
async fn write_slice(api: &Api<EndpointSlice>, turn: usize) {
    let endpoints = (turn..turn + 10).map(|number| json!({"addresses": [format!("198.18.7.{}", number % 250 + 1)]}));
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": SLICE, "labels": {"kubernetes.io/service-name": "churning"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 3000, "protocol": "TCP"}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    });
    api.patch(SLICE, &PatchParams::apply("bench").force(), &Patch::Apply(slice)).await.unwrap();
}
