//! A route that changes five times a second under load.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::Args;
use crate::scene::{Load, Scene, none_failed};

/// The backend and a header filter change every 200 ms, for five minutes: no request fails.
pub async fn run(scene: &Scene, args: &Args) {
    let (lasting, api) = (args.lasting(Duration::from_secs(300)), scene.routes());
    let load = Load::start(4, scene.address, "web", "/");
    let (started, mut flips) = (Instant::now(), 0);
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    while started.elapsed() < lasting {
        ticks.tick().await;
        let service = if flips % 2 == 0 { "two" } else { "one" };
        let header = json!({"type": "ResponseHeaderModifier", "responseHeaderModifier":
            {"set": [{"name": "x-flip", "value": flips.to_string()}]}});
        let filters = if flips % 3 == 0 { json!([]) } else { json!([header]) };
        let rules = json!([{"filters": filters, "backendRefs": [{"name": service, "port": 80}]}]);
        let patch = json!({"spec": {"rules": rules}});
        api.patch("first", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        flips += 1;
    }
    let (sent, failures) = load.finish().await;
    none_failed(&format!("{flips} changes of a route in {} s", lasting.as_secs()), sent, &failures);
}
