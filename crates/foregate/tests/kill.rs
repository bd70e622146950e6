//! kill -9 at any moment: nothing acknowledged is lost, and what serves is whole.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use harness::{Foregate, PATIENCE, apply, backend, gateway, gateway_address, http, route, service};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use rustix::process::Signal;

const POOL: &str = "127.116.0.0/24";
/// Enough to meet the ordinary cases; `FOREGATE_KILLS=200` for the full figure.
const KILLS: usize = 8;

fn kills() -> usize {
    std::env::var("FOREGATE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// Writes objects until the server is gone, and notes what was acknowledged with its resourceVersion.
async fn write_until_gone(api: Api<ConfigMap>, round: usize, acknowledged: Arc<Mutex<Vec<(String, u64)>>>) {
    for index in 0.. {
        let name = format!("r{round}-{index}");
        let object: ConfigMap =
            serde_json::from_value(serde_json::json!({ "metadata": { "name": name }, "data": { "v": "1" } })).unwrap();
        match tokio::time::timeout(PATIENCE, api.create(&PostParams::default(), &object)).await.unwrap() {
            Ok(created) => {
                let version = created.resource_version().unwrap().parse().unwrap();
                acknowledged.lock().unwrap().push((name, version));
            }
            Err(_) => return,
        }
    }
}

async fn check(foregate: &Foregate, acknowledged: &[(String, u64)]) {
    let api: Api<ConfigMap> = Api::default_namespaced(foregate.client().await);
    let there: BTreeSet<String> =
        api.list(&ListParams::default()).await.unwrap().items.iter().map(ResourceExt::name_any).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|(name, _)| !there.contains(name)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let versions: BTreeSet<u64> = acknowledged.iter().map(|(_, version)| *version).collect();
    assert_eq!(versions.len(), acknowledged.len(), "a resourceVersion was given twice");
}

async fn serves(address: SocketAddr) {
    let response = http::get(address, "web", "/").await.expect("the gateway is there when it says that it is ready");
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let target = backend::start("one").await;
    let address = first_start(dir.path(), target).await;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    for round in 0..kills() {
        let foregate = Foregate::start(dir.path(), POOL, &[]);
        serves(address).await;
        check(&foregate, &acknowledged.lock().unwrap().clone()).await;
        let api: Api<ConfigMap> = Api::default_namespaced(foregate.client().await);
        let before = acknowledged.lock().unwrap().len();
        let writers: Vec<_> = (0..4)
            .map(|writer| tokio::spawn(write_until_gone(api.clone(), round * 10 + writer, acknowledged.clone())))
            .collect();
        let some = 5 + round % 17;
        harness::eventually("some writes", || async { (acknowledged.lock().unwrap().len() >= before + some).then_some(()) })
            .await;
        foregate.stop(Signal::KILL);
        for writer in writers {
            tokio::time::timeout(PATIENCE, writer).await.unwrap().unwrap();
        }
    }
    let foregate = Foregate::start(dir.path(), POOL, &[]);
    check(&foregate, &acknowledged.lock().unwrap().clone()).await;
    println!("{} kills, {} acknowledged writes, none lost", kills(), acknowledged.lock().unwrap().len());
}

async fn first_start(dir: &Path, target: SocketAddr) -> SocketAddr {
    let foregate = Foregate::start(dir, POOL, &[]);
    let client = foregate.client().await;
    for yaml in [service("one", &[target]), gateway("web"), route("web", "web", "/", "one")] {
        apply(&client, &yaml).await;
    }
    let address = SocketAddr::new(gateway_address(&client, "web").await, 8080);
    harness::eventually("the route serves", || async {
        http::get(address, "web", "/").await.ok().filter(|response| response.status() == 200)
    })
    .await;
    foregate.stop(Signal::KILL);
    address
}
