//! A Service with very many endpoints, all of which are replaced.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::Args;
use crate::harness::{apply, backend, eventually, http};
use crate::measure::{cpu, rss, until_quiet};
use crate::scene::{Load, NAMESPACE, Scene, none_failed, route};

const PER_SLICE: usize = 100;
const PORT: u16 = 3999;
/// Addresses for measurements (RFC 2544). One backend answers on all of them.
const RANGE: &str = "198.18.0.0/15";

/// 10,000 endpoints behind one Service, all of which answer. They are replaced slice by slice as a rolling restart
/// does it: the old ones terminate, and go when the new ones are there.
pub async fn run(scene: &Scene, args: &Args) {
    let slices = (args.times(10_000) / PER_SLICE).max(5);
    let _range = LocalRange::add();
    backend::start_at("many", (Ipv4Addr::UNSPECIFIED, PORT).into()).await;
    let yaml = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: many, namespace: {NAMESPACE}}}\n\
         spec: {{ports: [{{name: http, port: 80, targetPort: {PORT}}}]}}\n"
    );
    apply(&scene.client, &yaml).await;
    let api: Api<EndpointSlice> = Api::namespaced(scene.client.clone(), NAMESPACE);
    for index in 0..slices {
        write(&api, index, &generation(index, 0, true)).await;
    }
    apply(&scene.client, &route(NAMESPACE, "many", "many", "many")).await;
    eventually("the route with many endpoints serves", || async {
        http::get(scene.address, "many", "/").await.ok().filter(|response| response.status() == 200)
    })
    .await;
    let pids = scene.bed.pids();
    until_quiet(&pids).await;
    let (load, sent_before) = (Load::start(2, scene.address, "many", "/"), sent_bytes(scene).await);
    let (before, started): (Vec<Duration>, _) = (pids.iter().map(|&pid| cpu(pid)).collect(), Instant::now());
    for index in 0..slices {
        let both = [generation(index, 0, false), generation(index, 1, true)].concat();
        write(&api, index, &both).await;
        write(&api, index, &generation(index, 1, true)).await;
    }
    let took = started.elapsed();
    until_quiet(&pids[..1]).await;
    let (sent, failures) = load.finish().await;
    println!("  {} endpoints in {slices} slices replaced in {took:.1?}", slices * PER_SLICE);
    for (index, what) in ["controller", "up (with the load's requests)"].into_iter().enumerate() {
        let spent = (cpu(pids[index]) - before[index]).as_micros() / (2 * slices) as u128;
        println!("  {what}: {spent} µs CPU a written slice, {} MiB", rss(pids[index]));
    }
    let (bytes, writes) = (sent_bytes(scene).await - sent_before, (2 * slices) as u64);
    println!(
        "  over xDS: {} KiB of ClusterLoadAssignments for {writes} written slices, {} bytes each",
        bytes / 1024,
        bytes / writes
    );
    none_failed("endpoints replaced", sent, &failures);
}

/// The endpoints of a slice: the first, or those that replace them.
fn generation(slice: usize, generation: u8, ready: bool) -> Vec<Value> {
    let endpoint = |number| {
        let slice = u8::try_from(slice).unwrap();
        let address = Ipv4Addr::new(198, 18 + generation, slice, u8::try_from(number + 1).unwrap());
        json!({"addresses": [address.to_string()],
            "conditions": {"ready": ready, "serving": true, "terminating": !ready}})
    };
    (0..PER_SLICE).map(endpoint).collect()
}

/// Bytes of endpoints that the xDS server has sent.
async fn sent_bytes(scene: &Scene) -> u64 {
    let request = hyper::Request::get("/foregate/xds").body(vec![]).unwrap();
    let text = scene.bed.platform().await.request_text(request).await.unwrap();
    let of_endpoints =
        |line: &&str| line.starts_with("foregate_xds_sent_bytes_total{") && line.contains(".ClusterLoadAssignment\"");
    text.lines().find(of_endpoints).unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

async fn write(api: &Api<EndpointSlice>, index: usize, endpoints: &[Value]) {
    let name = format!("many-{index}");
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "many"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
        "endpoints": endpoints,
    });
    api.patch(&name, &PatchParams::apply("bench").force(), &Patch::Apply(slice)).await.unwrap();
}

/// Addresses that are local to the test bed's network namespace while this lives.
struct LocalRange;

impl LocalRange {
    fn add() -> Self {
        Self::ip("replace");
        Self
    }

    fn ip(verb: &str) {
        let status = Command::new("ip").args(["route", verb, "local", RANGE, "dev", "lo"]).status().unwrap();
        assert!(status.success(), "ip route {verb}");
    }
}

impl Drop for LocalRange {
    fn drop(&mut self) {
        Self::ip("del");
    }
}
