//! Classes with parameters, the platforms that they lead to, and what is said and written there.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foregate_attach::{
    Attach, Connection, DerivedChange, Health, Input, Output, Settings, StatusKind, TargetChange, TargetEvent, TargetId,
};
use serde_json::{Value, json};

use super::{at, input, pem};

pub fn class(name: &str, parameters: Option<&str>) -> Input {
    let mut class = json!({
        "kind": "GatewayClass", "metadata": { "name": name, "generation": 1 },
        "spec": { "controllerName": foregate_api::CONTROLLER_NAME },
    });
    if let Some(parameters) = parameters {
        class["spec"]["parametersRef"] = json!({
            "group": "foregate.dev", "kind": "GatewayClassParameters", "name": parameters, "namespace": "system",
        });
    }
    input(class)
}

pub fn parameters(name: &str, url: &str, ca: &str) -> Value {
    json!({
        "kind": "GatewayClassParameters", "metadata": { "name": name, "namespace": "system" },
        "spec": {
            "platform": { "url": url, "caCertificates": ca }, "credentialsRef": { "name": "credential" },
            "tenant": "shop", "cluster": "edge", "template": "small",
        },
    })
}

pub fn credential(certificate: &str) -> Input {
    input(json!({
        "kind": "Secret", "metadata": { "name": "credential", "namespace": "system", "uid": "c" },
        "data": { "tls.crt": format!("@{certificate}.crt"), "tls.key": format!("@{certificate}.key") },
    }))
}

pub fn gateway(name: &str, class: &str) -> Input {
    input(json!({
        "kind": "Gateway", "metadata": { "name": name, "namespace": "default", "uid": name, "generation": 1 },
        "spec": { "gatewayClassName": class, "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] },
    }))
}

pub fn route(parents: &[&str]) -> Input {
    let parents: Vec<Value> = parents.iter().map(|name| json!({ "name": name })).collect();
    input(json!({
        "kind": "HTTPRoute", "metadata": { "name": "r", "namespace": "default", "uid": "r", "generation": 1 },
        "spec": { "parentRefs": parents, "rules": [{ "backendRefs": [{ "name": "s", "port": 80 }] }] },
    }))
}

pub fn service() -> [Input; 2] {
    [
        input(json!({
            "kind": "Service", "metadata": { "name": "s", "namespace": "default", "uid": "s" },
            "spec": { "ports": [{ "port": 80 }] },
        })),
        input(json!({
            "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{ "port": 8080 }],
            "metadata": {
                "name": "e", "namespace": "default", "uid": "e", "labels": { "kubernetes.io/service-name": "s" },
            },
            "endpoints": [{ "addresses": ["10.0.0.1"] }],
        })),
    ]
}

pub fn attach() -> Attach {
    Attach::new(Settings { default_target: None, ..Settings::local() })
}

/// The targets that are to be connected to, by URL.
pub fn connected(output: &Output) -> BTreeMap<String, (TargetId, Arc<Connection>)> {
    let connects = output.targets.iter().filter_map(|change| match change {
        TargetChange::Connect(id, to) => Some((to.url.clone(), (*id, to.clone()))),
        TargetChange::Drop(_) => None,
    });
    connects.collect()
}

/// Says that a target is there and has nothing.
pub fn opened(id: TargetId) -> [Input; 2] {
    let health = Health::Good { missing_templates: BTreeSet::new() };
    [Input::Target(id, TargetEvent::Listed), Input::Target(id, TargetEvent::Checked(health))]
}

/// Status, reason and message of the condition Accepted of a class.
pub fn accepted(output: &Output, class: &str) -> (String, String, String) {
    let status = output.statuses.iter().rfind(|s| s.kind == StatusKind::GatewayClass && &*s.key.name == class).unwrap();
    let condition = &status.status["conditions"][0];
    assert_eq!(condition["type"], "Accepted");
    let text = |field: &str| condition[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// What is written, by target: `+name` and `-name`.
pub fn written(output: &Output, id: TargetId) -> BTreeSet<String> {
    let changes = output.derived.get(&id).into_iter().flatten();
    changes.map(|c| format!("{}{}", if matches!(c, DerivedChange::Set(_)) { "+" } else { "-" }, c.name())).collect()
}

pub fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

pub const A: &str = "https://a.test:7443";
pub const B: &str = "https://b.test:7443";

/// Two platforms with a Gateway on each, and a route on both. Returns what was said last, with the targets.
pub fn two_platforms() -> (Attach, Output, TargetId, TargetId) {
    let mut attach = attach();
    let mut inputs = vec![
        class("a", Some("a")),
        class("b", Some("b")),
        input(parameters("a", A, pem("a.crt"))),
        input(parameters("b", B, pem("a.crt"))),
        credential("a"),
        gateway("ga", "a"),
        gateway("gb", "b"),
        route(&["ga", "gb"]),
    ];
    inputs.extend(service());
    let first = attach.apply(inputs, &at(0));
    let targets = connected(&first);
    assert!(first.derived.is_empty(), "nothing is written before it is known what is there");
    let (a, b) = (targets[A].0, targets[B].0);
    let output = attach.apply(opened(a).into_iter().chain(opened(b)), &at(1));
    (attach, output, a, b)
}
