//! CPU and time per write, in process: `cargo run --release -p foregate-apiserver --example load [COUNT]`.
//!
//! Every kind of write is done COUNT times on the same HTTPRoute, one after the other, by a derived client. CPU is
//! that of the whole process: client, server and store.
#![allow(clippy::print_stdout, reason = "an example speaks to its user")]

use std::time::{Duration, Instant};

use foregate_apiserver::{Durability, Server, ServerOptions};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let count: u32 = std::env::args().nth(1).map_or(Ok(5000), |n| n.parse())?;
    let dir = tempfile::tempdir()?;
    let server = Server::open(ServerOptions::new(dir.path()))?;
    let crds: Api<DynamicObject> = Api::all_with(
        server.client(),
        &ApiResource::erase::<
            k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        >(&()),
    );
    for text in [
        include_str!("../../foregate-api/crds/gateway-api/gateway.networking.k8s.io_httproutes.yaml"),
        include_str!("../../foregate-api/crds/foregate/foregate.dev_gatewayroutes.yaml"),
    ] {
        crds.create(&PostParams::default(), &serde_json::from_value(serde_saphyr::from_str(text)?)?).await?;
    }
    let gvk = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    let resource = ApiResource::from_gvk(&gvk);
    let routes: Api<DynamicObject> = Api::namespaced_with(server.client_for(Durability::Derived), "default", &resource);
    let manager = PatchParams::apply("load");
    routes.patch("web", &manager, &Patch::Apply(route(0))).await?;

    let forced = PatchParams::apply("load").force();
    let plain = PatchParams::default();
    measure("get", count, async |_| routes.get("web").await).await?;
    measure("server-side apply", count, async |i| routes.patch("web", &forced, &Patch::Apply(route(i))).await).await?;
    measure("merge patch", count, async |i| {
        let patch = json!({"spec": {"hostnames": [format!("h{i}.example.com")]}});
        routes.patch("web", &plain, &Patch::Merge(patch)).await
    })
    .await?;
    measure("merge patch of status", count, async |i| {
        let patch = json!({"status": {"parents": [{"controllerName": "a.b/c", "parentRef": {"name": "gw"},
            "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": format!("m{i}"),
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": i}]}]}});
        routes.patch_status("web", &plain, &Patch::Merge(patch)).await
    })
    .await?;
    measure("put", count, async |i| {
        let mut object = routes.get("web").await?;
        object.data["spec"]["hostnames"] = json!([format!("p{i}.example.com")]);
        routes.replace("web", &PostParams::default(), &object).await
    })
    .await?;
    server.shutdown().await;
    Ok(())
}

fn route(i: u32) -> Value {
    let rule = |n: u32| {
        json!({"matches": [{"path": {"type": "PathPrefix", "value": format!("/p{n}")},
                "headers": [{"type": "Exact", "name": "x-version", "value": "one"}]}],
            "backendRefs": [{"name": "svc", "port": 80, "weight": 1 + (i + n) % 9}]})
    };
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web"},
        "spec": {"parentRefs": [{"name": "gw"}], "hostnames": ["a.example.com"],
            "rules": (0..4).map(rule).collect::<Vec<_>>()}})
}

async fn measure(
    what: &str,
    count: u32,
    mut act: impl AsyncFnMut(u32) -> Result<DynamicObject, kube::Error>,
) -> Result<(), Failure> {
    let (began, cpu) = (Instant::now(), cpu()?);
    for i in 0..count {
        act(i + 1).await?;
    }
    let (time, cpu) = (began.elapsed(), crate::cpu()?.saturating_sub(cpu));
    println!("{what:24} {:6.0} µs CPU  {:6.0} µs", each(cpu, count), each(time, count));
    Ok(())
}

fn each(total: Duration, count: u32) -> f64 {
    total.as_secs_f64() * 1e6 / f64::from(count)
}

/// CPU time of this process.
fn cpu() -> Result<Duration, Failure> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Ok(Duration::from_millis((ticks(11) + ticks(12)) * 10))
}
