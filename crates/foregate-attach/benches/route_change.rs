//! What one change costs, at several numbers of routes: it must not depend on them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use foregate_attach::{Attach, Change, Derived, DerivedChange, Input, Settings, TargetId};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

const SIZES: [usize; 3] = [10, 1_000, 10_000];

fn route(i: usize, generation: i64, service: usize) -> Input {
    let route = serde_json::from_value(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {
            "name": format!("route-{i}"), "namespace": "default", "uid": format!("uid-{i}"), "generation": generation,
            "resourceVersion": generation.to_string(), "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "parentRefs": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway" }],
            "hostnames": [format!("h{i}.example.com")],
            "rules": [{
                "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }],
                "backendRefs": [{ "group": "", "kind": "Service", "name": format!("s{service}"), "port": 80 }],
            }],
        },
    }));
    Input::HttpRoute(Change::Set(Arc::new(route.unwrap())))
}

fn slice(addresses: &[&str]) -> Input {
    let slice = serde_json::from_value(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "s0", "namespace": "default", "uid": "e0", "labels": { "kubernetes.io/service-name": "s0" } },
        "ports": [{ "port": 8080 }], "endpoints": [{ "addresses": addresses }],
    }));
    Input::EndpointSlice(Change::Set(Arc::new(slice.unwrap())))
}

/// The platform's echo of what was written.
fn echoes(derived: BTreeMap<TargetId, Vec<DerivedChange>>) -> Vec<Input> {
    let echo = |change| match change {
        DerivedChange::Set(Derived::Claim(o)) => Some(Input::Claim(TargetId::DEFAULT, Change::Set(o))),
        DerivedChange::Set(Derived::Route(o)) => Some(Input::Route(TargetId::DEFAULT, Change::Set(o))),
        DerivedChange::Set(Derived::Backend(o)) => Some(Input::Backend(TargetId::DEFAULT, Change::Set(o))),
        DerivedChange::Set(Derived::Slice(o)) => Some(Input::Slice(TargetId::DEFAULT, Change::Set(o))),
        DerivedChange::Set(Derived::Secret(o)) => Some(Input::Secret(Change::Set(o))),
        DerivedChange::Delete(..) => None,
    };
    derived.into_values().flatten().filter_map(echo).collect()
}

fn world(routes: usize, now: &Time) -> Attach {
    let class = serde_json::from_value(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "foregate" },
        "spec": { "controllerName": foregate_api::CONTROLLER_NAME },
    }));
    let gateway = serde_json::from_value(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "name": "gateway", "namespace": "default", "uid": "gateway", "generation": 1 },
        "spec": { "gatewayClassName": "foregate", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] },
    }));
    let services = (0..10).map(|i| {
        let service = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": format!("s{i}"), "namespace": "default", "uid": format!("service-{i}") },
            "spec": { "ports": [{ "port": 80 }] },
        }));
        Input::Service(Change::Set(Arc::new(service.unwrap())))
    });
    let mut inputs = vec![
        Input::GatewayClass(Change::Set(Arc::new(class.unwrap()))),
        Input::Gateway(Change::Set(Arc::new(gateway.unwrap()))),
        slice(&["10.0.0.1"]),
    ];
    inputs.extend(services);
    inputs.extend((0..routes).map(|i| route(i, 1, i % 10)));
    let mut attach = Attach::new(Settings::local());
    let output = attach.apply(inputs, now);
    attach.apply(echoes(output.derived), now);
    attach
}

fn changes(criterion: &mut Criterion) {
    let now = Time(Timestamp::from_second(1_767_225_600).unwrap());
    let mut group = criterion.benchmark_group("attach");
    for size in SIZES {
        let mut attach = world(size, &now);
        let mut generation = 1;
        group.bench_function(BenchmarkId::new("route_backend_changed", size), |bencher| {
            bencher.iter_batched(
                || {
                    generation += 1;
                    route(3, generation, usize::try_from(generation % 10).unwrap())
                },
                |input| {
                    let output = attach.apply([input], &now);
                    attach.apply(echoes(output.derived), &now)
                },
                criterion::BatchSize::SmallInput,
            );
        });
        let mut turn = false;
        group.bench_function(BenchmarkId::new("endpoints_changed", size), |bencher| {
            bencher.iter_batched(
                || {
                    turn = !turn;
                    slice(if turn { &["10.0.0.2"] } else { &["10.0.0.1"] })
                },
                |input| attach.apply([input], &now),
                criterion::BatchSize::SmallInput,
            );
        });
        let mut created = size;
        group.bench_function(BenchmarkId::new("route_created", size), |bencher| {
            bencher.iter_batched(
                || {
                    created += 1;
                    route(created, 1, 0)
                },
                |input| attach.apply([input], &now),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, changes);
criterion_main!(benches);
