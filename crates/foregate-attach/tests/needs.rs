//! Secrets and ConfigMaps that are read only where something names them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{at, gone, input};
use foregate_attach::{
    Attach, Derived, DerivedChange, Input, Key, Need, NeedChange, Output, Settings, StatusKind, TargetId,
};
use serde_json::{Value, json};

fn class() -> Input {
    input(json!({
        "kind": "GatewayClass", "metadata": { "name": "foregate", "generation": 1 },
        "spec": { "controllerName": foregate_api::CONTROLLER_NAME },
    }))
}

fn gateway(generation: i64, secret: &str) -> Input {
    input(json!({
        "kind": "Gateway",
        "metadata": { "name": "g", "namespace": "default", "uid": "g", "generation": generation },
        "spec": { "gatewayClassName": "foregate", "listeners": [{
            "name": "tls", "port": 443, "protocol": "HTTPS", "tls": { "certificateRefs": [{ "name": secret }] },
        }] },
    }))
}

fn secret(name: &str) -> Input {
    input(json!({
        "kind": "Secret", "metadata": { "name": name, "namespace": "default", "uid": name },
        "data": { "tls.crt": "@a.crt", "tls.key": "@a.key" },
    }))
}

fn need(name: &str) -> Need {
    Need::Secret(Key::new("default", name))
}

/// One that asks for what it needs.
fn attach() -> Attach {
    let mut attach = Attach::new(Settings::local());
    attach.ask_for_needs();
    attach
}

fn written(output: &Output) -> Vec<String> {
    let changes = output.derived.get(&TargetId::DEFAULT).into_iter().flatten();
    changes.map(|c| format!("{}{}", if matches!(c, DerivedChange::Set(_)) { "+" } else { "-" }, c.name())).collect()
}

fn certificates(output: &Output) -> Vec<String> {
    let claim = output.derived[&TargetId::DEFAULT].iter().find_map(|change| match change {
        DerivedChange::Set(Derived::Claim(claim)) => Some(claim.clone()),
        _ => None,
    });
    claim.unwrap().spec.listeners.iter().flat_map(|l| l.tls.clone().unwrap().certificates).collect()
}

/// A Gateway that serves with Secret `a`.
fn serving() -> Attach {
    let mut attach = attach();
    let needs = attach.prepare([class(), gateway(1, "a")]);
    let [NeedChange::Follow(named, number)] = needs.as_slice() else { panic!("{needs:?}") };
    assert_eq!(*named, need("a"));
    assert!(!attach.knows_its_needs());
    assert!(attach.prepare([secret("a"), Input::Known(need("a"), *number)]).is_empty());
    assert!(attach.knows_its_needs());
    let output = attach.apply([], &at(0));
    assert_eq!(written(&output), ["+local-a", "+local-g"]);
    attach
}

#[test]
fn a_gateway_keeps_what_it_has_until_the_new_secret_is_known() {
    let mut attach = serving();
    let output = attach.apply([gateway(2, "b")], &at(1));
    let [NeedChange::Follow(named, number)] = output.needs.as_slice() else { panic!("{:?}", output.needs) };
    assert_eq!(*named, need("b"));
    assert_eq!(written(&output), Vec::<String>::new(), "neither claim nor copy changes");
    let output = attach.apply([secret("b"), Input::Known(need("b"), *number)], &at(2));
    assert_eq!(certificates(&output), ["local-b"]);
    assert_eq!(written(&output), ["+local-b", "+local-g", "-local-a"]);
    assert_eq!(output.needs, [NeedChange::Forget(need("a"))]);
}

#[test]
fn a_secret_that_is_missing_is_said_to_be_once_that_is_known() {
    let mut attach = serving();
    let output = attach.apply([gateway(2, "b")], &at(1));
    let [NeedChange::Follow(_, number)] = output.needs.as_slice() else { panic!("{:?}", output.needs) };
    let conditions = |output: &Output| -> Vec<Value> {
        let status = output.statuses.iter().find(|s| s.kind == StatusKind::Gateway);
        status.map(|s| s.status["listeners"][0]["conditions"].as_array().unwrap().clone()).unwrap_or_default()
    };
    let is_unresolved = |c: &Value| c["type"] == "ResolvedRefs" && c["status"] == "False";
    assert!(!conditions(&output).iter().any(is_unresolved));
    let output = attach.apply([Input::Known(need("b"), number - 1)], &at(2));
    assert!(!conditions(&output).iter().any(is_unresolved), "that was of an earlier watch");
    let output = attach.apply([Input::Known(need("b"), *number)], &at(3));
    assert!(conditions(&output).iter().any(is_unresolved), "{:?}", output.statuses);
}

#[test]
fn nobody_elses_secrets_are_taken_notice_of() {
    let mut attach = serving();
    assert!(attach.apply([secret("other")], &at(1)).is_empty());
    let output = attach.apply([gone("Gateway", Key::new("default", "g"))], &at(2));
    assert_eq!(output.needs, [NeedChange::Forget(need("a"))]);
    assert_eq!(written(&output), ["-local-g", "-local-a"]);
    assert!(attach.apply([secret("a")], &at(3)).is_empty(), "news come late");
}
