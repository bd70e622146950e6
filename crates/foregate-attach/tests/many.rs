//! Many parents, and many objects that are somebody else's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use common::{at, input};
use foregate_attach::{Attach, Derived, DerivedChange, Input, Settings, StatusKind, TargetId};
use serde_json::{Value, json};

fn class(name: &str, controller: &str) -> Input {
    input(json!({ "kind": "GatewayClass", "metadata": { "name": name }, "spec": { "controllerName": controller } }))
}

fn gateway(namespace: &str, name: &str, class: &str, listeners: Value) -> Input {
    input(json!({
        "kind": "Gateway",
        "metadata": { "name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"), "generation": 1 },
        "spec": { "gatewayClassName": class, "listeners": listeners },
    }))
}

fn http(name: &str, port: u16) -> Value {
    json!([{ "name": name, "port": port, "protocol": "HTTP" }])
}

#[test]
fn a_route_with_sixteen_parents_tells_each_its_own() {
    let mut inputs = vec![class("ours", foregate_api::CONTROLLER_NAME), class("theirs", "example.com/other")];
    let mut parents = Vec::new();
    let mut expected = BTreeMap::new();
    let mut parent = |reference: Value, outcome: Option<&'static str>| {
        let shown =
            format!("{}/{}", reference["name"].as_str().unwrap(), reference["sectionName"].as_str().unwrap_or("-"));
        outcome.map(|outcome| expected.insert(shown, outcome));
        parents.push(reference);
    };
    for number in 0..8 {
        let name = format!("g{number}");
        inputs.push(gateway("default", &name, "ours", http("http", 80)));
        parent(json!({ "name": name }), Some("Accepted"));
    }
    let two = json!([
        { "name": "a", "port": 80, "protocol": "HTTP", "hostname": "a.test" },
        { "name": "b", "port": 80, "protocol": "HTTP", "hostname": "b.test" },
        { "name": "tcp", "port": 81, "protocol": "TCP" },
    ]);
    inputs.push(gateway("default", "hosts", "ours", two));
    for (section, outcome) in [
        ("a", "Accepted"),
        ("b", "NoMatchingListenerHostname"),
        ("tcp", "NotAllowedByListeners"),
        ("none", "NoMatchingParent"),
    ] {
        parent(json!({ "name": "hosts", "sectionName": section }), Some(outcome));
    }
    inputs.push(gateway("other", "closed", "ours", http("http", 80)));
    parent(json!({ "name": "closed", "namespace": "other" }), Some("NotAllowedByListeners"));
    // Of these nothing is to be said.
    inputs.push(gateway("default", "foreign", "theirs", http("http", 80)));
    parent(json!({ "name": "foreign" }), None);
    parent(json!({ "name": "absent" }), None);
    parent(json!({ "name": "s", "kind": "Service", "group": "" }), None);
    assert_eq!(parents.len(), 16);
    inputs.push(input(json!({
        "kind": "HTTPRoute", "metadata": { "name": "r", "namespace": "default", "uid": "r", "generation": 1 },
        "spec": { "hostnames": ["a.test"], "parentRefs": parents, "rules": [{}] },
    })));
    let output = Attach::new(Settings::local()).apply(inputs, &at(0));
    let status = output.statuses.iter().find(|change| change.kind == StatusKind::HttpRoute).unwrap();
    let told: BTreeMap<String, &str> = status.status["parents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parent| {
            let (reference, accepted) = (&parent["parentRef"], &parent["conditions"][0]);
            assert_eq!(accepted["type"], "Accepted");
            let section = reference["sectionName"].as_str().unwrap_or("-");
            (format!("{}/{section}", reference["name"].as_str().unwrap()), accepted["reason"].as_str().unwrap())
        })
        .collect();
    assert_eq!(told, expected);
    let attached = output.derived[&TargetId::DEFAULT].iter().find_map(|change| match change {
        DerivedChange::Set(Derived::Route(route)) => Some(route.spec.attachments.len()),
        _ => None,
    });
    assert_eq!(attached, Some(9));
}

#[test]
fn ten_thousand_foreign_objects_lead_to_nothing() {
    let mut inputs = vec![class("ours", foregate_api::CONTROLLER_NAME), class("theirs", "example.com/other")];
    for number in 0..2_000 {
        let (name, namespace) = (format!("o{number}"), format!("n{}", number % 50));
        inputs.push(gateway(&namespace, &name, "theirs", http("http", 80)));
        let uid = |kind: &str| json!({ "name": name, "namespace": namespace, "uid": format!("{kind}{number}"), "generation": 1 });
        inputs.push(input(json!({
            "kind": "HTTPRoute", "metadata": uid("r"),
            "spec": {
                "parentRefs": [{ "name": name }, { "name": "nobody" }],
                "rules": [{ "backendRefs": [{ "name": name, "port": 80 }] }],
            },
        })));
        inputs.push(input(json!({ "kind": "Service", "metadata": uid("s"), "spec": { "ports": [{ "port": 80 }] } })));
        inputs.push(input(json!({
            "kind": "Secret", "metadata": uid("t"), "data": { "tls.crt": "c", "tls.key": "k" },
        })));
        let mut slice = uid("e");
        slice["labels"] = json!({ "kubernetes.io/service-name": name });
        inputs.push(input(json!({
            "kind": "EndpointSlice", "metadata": slice, "addressType": "IPv4", "ports": [{ "port": 8080 }],
            "endpoints": [{ "addresses": ["10.0.0.1"] }],
        })));
    }
    let mut attach = Attach::new(Settings::local());
    let output = attach.apply(inputs, &at(0));
    assert!(output.derived.is_empty() && output.needs.is_empty() && output.services.is_empty());
    let told: Vec<&str> = output.statuses.iter().map(|change| &*change.key.name).collect();
    assert_eq!(told, ["ours"], "only the class of ours");
}
