//! What one changed route costs: `cargo bench -p foregate-translate`, or `cargo run --release` of this target.
//!
//! Prints microseconds per change at 10, 1,000 and 10,000 routes, each route with a host name of its own, and with all
//! of them under one domain.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark of fixed inputs")]

use std::sync::Arc;
use std::time::Instant;

use foregate_translate::{Change, Input, Options, Translator, default_template};
use serde_json::json;

/// Changes per measurement.
const CHANGES: usize = 2_000;
/// Measurements; the median is printed.
const ROUNDS: usize = 5;

fn main() {
    println!("{:>7}  {:>22}  {:>22}", "routes", "own host name, µs", "one domain, µs");
    for routes in [10, 1_000, 10_000] {
        let own = measure(routes, |index| format!("host-{index}.example.com"), CHANGES);
        // A virtual host of n routes is n routes of bytes, whatever changes in it.
        let shared = measure(routes, |_| "example.com".to_owned(), CHANGES.min(2_000_000 / routes));
        println!("{routes:>7}  {own:>22.1}  {shared:>22.1}");
    }
}

fn measure(routes: usize, hostname: impl Fn(usize) -> String, changes: usize) -> f64 {
    let mut translator = Translator::new(Options::default());
    translator.apply(base().into_iter().chain((0..routes).map(|index| route(index, &hostname(index), 1))));
    let mut medians: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let inputs: Vec<Input> = (0..changes)
                .map(|n| {
                    let index = n * 7919 % routes;
                    let generation = i64::try_from(2 + round * changes + n).unwrap();
                    route(index, &hostname(index), generation)
                })
                .collect();
            let start = Instant::now();
            for input in inputs {
                let output = translator.apply([input]);
                assert_eq!(output.deltas.len(), 1);
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(changes).unwrap())
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    medians[ROUNDS / 2]
}

/// One gateway, ten backends.
fn base() -> Vec<Input> {
    let proxy = json!({
        "metadata": { "namespace": "tenant", "name": "web", "uid": "proxy", "generation": 1 },
        "spec": { "templateName": "default", "template": default_template().spec },
        "status": { "addresses": ["192.0.2.1"],
                    "listeners": [{ "claim": "claim", "name": "http", "port": 8080, "protocol": "HTTP" }] },
    });
    let backends = (0..10).map(|n| {
        let origin =
            json!({ "cluster": "local", "kind": "Service", "namespace": "shop", "name": "s", "uid": format!("s{n}") });
        let backend = json!({ "metadata": { "namespace": "tenant", "name": format!("backend-{n}") },
                              "spec": { "origin": origin, "port": 80 } });
        Input::Backend(Change::Set(Arc::new(serde_json::from_value(backend).unwrap())))
    });
    let proxy = Input::Proxy(Change::Set(Arc::new(serde_json::from_value(proxy).unwrap())));
    [proxy].into_iter().chain(backends).collect()
}

/// A route with two rules; each generation moves it to another backend.
fn route(index: usize, hostname: &str, generation: i64) -> Input {
    let backend = format!("backend-{}", (index + usize::try_from(generation).unwrap()) % 10);
    let route = json!({
        "metadata": { "namespace": "tenant", "name": format!("local-00000000-0000-0000-0000-{index:012}") },
        "spec": {
            "origin": { "cluster": "local", "kind": "HTTPRoute", "namespace": "shop", "name": format!("route-{index}"),
                        "uid": format!("00000000-0000-0000-0000-{index:012}"), "generation": generation,
                        "creationTimestamp": "2026-01-01T00:00:00Z" },
            "attachments": [{ "claim": "claim", "listener": "http",
                              "hostnames": [{ "effective": hostname, "original": hostname }] }],
            "rules": [
                { "matches": [{ "path": { "type": "PathPrefix", "value": format!("/api/{index}") },
                                "headers": [{ "name": "x-version", "value": "2" }] }],
                  "filters": [{ "requestHeaders": { "set": [{ "name": "x-a", "value": "b" }] } }],
                  "backends": [{ "backend": backend, "weight": 1 }] },
                { "matches": [{}], "backends": [{ "backend": backend, "weight": 1 }], "requestTimeoutMillis": 1000 },
            ],
        },
    });
    Input::Route(Change::Set(Arc::new(serde_json::from_value(route).unwrap())))
}
