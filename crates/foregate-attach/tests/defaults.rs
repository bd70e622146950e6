//! Default Gateways (GEP-3793): routes that ask for them attach to all that there are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{at, gone, input};
use foregate_attach::{Attach, Input, Key, Output, Settings, StatusKind};
use serde_json::{Value, json};

fn class() -> Input {
    input(json!({
        "kind": "GatewayClass", "metadata": { "name": "c" },
        "spec": { "controllerName": foregate_api::CONTROLLER_NAME },
    }))
}

fn gateway(name: &str, scope: Option<&str>, from: Value) -> Input {
    let mut gateway = json!({
        "kind": "Gateway", "metadata": { "name": name, "namespace": "infra", "uid": name },
        "spec": { "gatewayClassName": "c", "listeners": [
            { "name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": { "namespaces": from } },
        ] },
    });
    if let Some(scope) = scope {
        gateway["spec"]["defaultScope"] = scope.into();
    }
    input(gateway)
}

fn route(scope: Option<&str>, parents: &[&str]) -> Input {
    let parents: Vec<Value> = parents.iter().map(|name| json!({ "name": name, "namespace": "infra" })).collect();
    let mut route = json!({
        "kind": "HTTPRoute", "metadata": { "name": "r", "namespace": "apps", "uid": "r" },
        "spec": { "parentRefs": parents, "rules": [{ "backendRefs": [{ "name": "s", "port": 80 }] }] },
    });
    if let Some(scope) = scope {
        route["spec"]["useDefaultGateways"] = scope.into();
    }
    input(route)
}

/// The route's parents in its last status, with whether they take it; none: it has no new status.
fn parents(output: &Output) -> Option<Vec<String>> {
    let status = output.statuses.iter().rfind(|status| status.kind == StatusKind::HttpRoute)?;
    let parents = status.status["parents"].as_array().unwrap().iter().map(|parent| {
        let accepted = &parent["conditions"][0];
        assert_eq!(accepted["type"], "Accepted");
        format!("{}: {}", parent["parentRef"]["name"].as_str().unwrap(), accepted["status"].as_str().unwrap())
    });
    Some(parents.collect())
}

fn all() -> Value {
    json!({ "from": "All" })
}

#[test]
fn routes_follow_the_default_gateways() {
    let mut attach = Attach::new(Settings::local());
    let said = |output: Output| parents(&output).unwrap();
    let inputs = [class(), gateway("a", Some("All"), all()), gateway("b", None, all()), route(Some("All"), &[])];
    assert_eq!(said(attach.apply(inputs, &at(0))), ["a: True"]);
    let more = [gateway("b", Some("All"), all())];
    assert_eq!(said(attach.apply(more, &at(1))), ["a: True", "b: True"], "one becomes a default one");
    let less = [gateway("a", Some("None"), all())];
    assert_eq!(said(attach.apply(less, &at(2))), ["b: True"], "one isn't any more");
    let named = [route(Some("All"), &["b", "a"])];
    assert_eq!(said(attach.apply(named, &at(3))), ["b: True", "a: True"], "who names one has it once");
    assert_eq!(said(attach.apply([route(Some("None"), &["a"])], &at(4))), ["a: True"]);
    assert_eq!(said(attach.apply([route(Some("All"), &[])], &at(5))), ["b: True"]);
    let gone = attach.apply([gone("Gateway", Key::new("infra", "b"))], &at(6));
    assert_eq!(said(gone), Vec::<String>::new());
}

#[test]
fn listeners_say_whom_they_take() {
    let mut attach = Attach::new(Settings::local());
    let selected = json!({ "from": "Selector", "selector": { "matchLabels": { "team": "x" } } });
    let namespace =
        |team: &str| input(json!({ "kind": "Namespace", "metadata": { "name": "apps", "labels": { "team": team } } }));
    let inputs = [class(), gateway("a", Some("All"), selected), route(Some("All"), &[]), namespace("y")];
    assert_eq!(parents(&attach.apply(inputs, &at(0))).unwrap(), ["a: False"]);
    assert_eq!(parents(&attach.apply([namespace("x")], &at(1))).unwrap(), ["a: True"]);
}
