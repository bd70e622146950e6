//! What one write of a typical HTTPRoute costs in schema, rules and ownership.
//!
//! `cargo bench -p foregate-apiserver --bench objects`; without `--bench` each step runs once.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark speaks to its user")]

use std::hint::black_box;
use std::time::Instant;

use foregate_apiserver::patch::managed::{self, Writer};
use foregate_apiserver::schema::{FieldValidation, Schema};
use serde_json::{Value, json};

/// Runs `step` often and prints the best mean of five rounds, in microseconds.
fn measure(name: &str, mut step: impl FnMut()) {
    let times = if std::env::args().any(|argument| argument == "--bench") { 5_000 } else { 1 };
    let round = |_| {
        let start = Instant::now();
        (0..times).for_each(|_| step());
        start.elapsed().as_secs_f64() * 1e6 / f64::from(times)
    };
    let best = (0..5).map(round).fold(f64::MAX, f64::min);
    println!("{name:<32} {best:>8.1} µs");
}

fn schema() -> Schema {
    let crds = foregate_api::crds().unwrap();
    let crd = crds.iter().find(|crd| crd.spec.names.kind == "HTTPRoute").unwrap();
    let version = crd.spec.versions.iter().find(|version| version.name == "v1").unwrap();
    let source = serde_json::to_value(version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()).unwrap();
    Schema::compile(&source).unwrap()
}

fn route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "default", "labels": {"app": "shop"}},
        "spec": {
            "parentRefs": [{"name": "main", "sectionName": "http"}],
            "hostnames": ["shop.example.com", "www.shop.example.com"],
            "rules": [
                {
                    "matches": [
                        {"path": {"type": "PathPrefix", "value": "/api"}, "headers": [{"name": "version", "value": "2"}]},
                        {"path": {"type": "Exact", "value": "/health"}},
                    ],
                    "filters": [
                        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}},
                        {"type": "URLRewrite", "urlRewrite": {"hostname": "internal.example.com"}},
                    ],
                    "timeouts": {"request": "10s", "backendRequest": "5s"},
                    "backendRefs": [{"name": "one", "port": 8080, "weight": 90}, {"name": "two", "port": 8080, "weight": 10}],
                },
                {"backendRefs": [{"name": "three", "port": 80}]},
            ],
        },
    })
}

fn main() {
    let schema = schema();
    let writer = Writer {
        schema: &schema,
        manager: "kubectl",
        api_version: "gateway.networking.k8s.io/v1",
        subresource: None,
        has_status: true,
        now: "2026-01-01T00:00:00Z",
    };
    let applied = route();
    let live = managed::apply(&writer, None, &applied, false).unwrap();
    let mut changed = applied.clone();
    changed["spec"]["rules"][1]["backendRefs"][0]["port"] = 81.into();
    let next = managed::apply(&writer, Some(&live), &changed, false).unwrap();
    println!("an HTTPRoute of {} bytes", live.to_string().len());
    measure("clone", || drop(black_box(live.clone())));
    measure("clone and prepare", || {
        let mut object = applied.clone();
        black_box(schema.prepare(&mut object, FieldValidation::Strict).unwrap());
    });
    measure("validate a new one", || assert!(schema.validate(black_box(&live), None).is_empty()));
    measure("validate a changed backend", || assert!(schema.validate(black_box(&next), Some(&live)).is_empty()));
    measure("apply what is there", || assert_eq!(managed::apply(&writer, Some(&live), &applied, false).unwrap(), live));
    measure("apply a changed backend", || {
        drop(black_box(managed::apply(&writer, Some(&live), &changed, false).unwrap()))
    });
    measure("note a changed backend", || {
        let mut object = next.clone();
        managed::update(&writer, Some(&live), &mut object);
        black_box(&object);
    });
}
