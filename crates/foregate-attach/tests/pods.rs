//! Thousands of Pods behind an XBackend: slices of a size that can be written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{at, gone, input};
use foregate_attach::{Attach, Derived, DerivedChange, DerivedKind, Input, Key, Output, Settings, TargetId};
use serde_json::json;

fn pod(number: usize) -> Input {
    let address = format!("10.{}.{}.{}", number / 65_536, number / 256 % 256, number % 256);
    input(json!({
        "kind": "Pod", "metadata": { "name": format!("web-{number}"), "namespace": "default", "labels": { "app": "web" } },
        "status": { "phase": "Running", "podIP": address, "conditions": [{ "type": "Ready", "status": "True" }] },
    }))
}

fn others() -> Vec<Input> {
    let objects = [
        json!({
            "kind": "GatewayClass", "metadata": { "name": "c" },
            "spec": { "controllerName": foregate_api::CONTROLLER_NAME },
        }),
        json!({
            "kind": "Gateway", "metadata": { "name": "g", "namespace": "default", "uid": "g" },
            "spec": { "gatewayClassName": "c", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] },
        }),
        json!({
            "kind": "XBackend", "metadata": { "name": "x", "namespace": "default", "uid": "x" },
            "spec": {
                "type": "EndpointSelector", "port": { "number": 80 },
                "endpointSelector": { "matchLabels": { "app": "web" } },
            },
        }),
        json!({
            "kind": "HTTPRoute", "metadata": { "name": "r", "namespace": "default", "uid": "r" },
            "spec": { "parentRefs": [{ "name": "g" }], "rules": [{ "backendRefs": [
                { "group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": "x" },
            ] }] },
        }),
    ];
    objects.into_iter().map(input).collect()
}

/// What the platform has.
#[derive(Default)]
struct Platform {
    slices: BTreeMap<String, BTreeSet<String>>,
    listed: Vec<String>,
}

impl Platform {
    /// Takes what is written; returns the names of slices that were.
    fn take(&mut self, output: &Output) -> BTreeSet<String> {
        let mut written = BTreeSet::new();
        for change in output.derived.get(&TargetId::DEFAULT).into_iter().flatten() {
            match change {
                DerivedChange::Set(Derived::Slice(slice)) => {
                    let addresses = slice.spec.endpoints.iter().flat_map(|e| e.addresses.clone()).collect();
                    self.slices.insert(change.name().to_owned(), addresses);
                    written.insert(change.name().to_owned());
                }
                DerivedChange::Delete(DerivedKind::Slice, name) => {
                    self.slices.remove(&**name);
                    written.insert(name.to_string());
                }
                DerivedChange::Set(Derived::Backend(backend)) => {
                    self.listed.clone_from(&backend.spec.endpoint_slices);
                }
                _ => {}
            }
        }
        let names: Vec<&String> = self.slices.keys().collect();
        assert_eq!(self.listed.iter().collect::<Vec<_>>(), names, "the backend lists what there is");
        assert!(self.slices.values().all(|slice| slice.len() <= 1000));
        written
    }

    fn endpoints(&self) -> usize {
        self.slices.values().flatten().collect::<BTreeSet<_>>().len()
    }
}

#[test]
fn many_pods_are_in_several_slices_that_hardly_change() {
    let mut attach = Attach::new(Settings::local());
    let mut platform = Platform::default();
    let mut inputs = others();
    inputs.extend((0..1000).map(pod));
    platform.take(&attach.apply(inputs, &at(0)));
    assert_eq!((platform.slices.len(), platform.endpoints()), (1, 1000));
    assert!(platform.slices.contains_key("local-x"), "as few as ever are in one");

    platform.take(&attach.apply([pod(1000)], &at(1)));
    assert_eq!((platform.slices.len(), platform.endpoints()), (2, 1001));

    platform.take(&attach.apply((1001..5000).map(pod), &at(2)));
    assert_eq!(platform.endpoints(), 5000);
    assert!((5..=16).contains(&platform.slices.len()), "{}", platform.slices.len());
    for number in [0, 77, 4999] {
        let one = gone("Pod", Key::new("default", format!("web-{number}")));
        assert_eq!(platform.take(&attach.apply([one], &at(3))).len(), 1, "the slice that it was in");
    }
    assert_eq!(platform.endpoints(), 4997);

    // Another controller that begins anew comes to the same.
    let mut other = Platform::default();
    let mut inputs = others();
    inputs.extend((0..5000).filter(|number| ![0, 77, 4999].contains(number)).map(pod));
    other.take(&Attach::new(Settings::local()).apply(inputs, &at(4)));
    assert_eq!(other.slices, platform.slices);

    let all = (0..5000).map(|number| gone("Pod", Key::new("default", format!("web-{number}"))));
    platform.take(&attach.apply(all, &at(5)));
    assert_eq!((platform.slices.len(), platform.endpoints()), (1, 0));
}
