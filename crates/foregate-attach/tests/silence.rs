//! What Gateways and ListenerSets say while their platform isn't heard, or refuses to be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::platforms::{A, attach, class, connected, credential, gateway, opened, parameters};
use common::{at, input, pem};
use foregate_attach::{Change, Derived, DerivedChange, Health, Input, Output, StatusKind, TargetEvent};
use serde_json::{Value, json};

/// Programmed of what a status has: status, reason, message.
fn programmed(conditions: &Value) -> (String, String, String) {
    let condition = conditions.as_array().unwrap().iter().find(|c| c["type"] == "Programmed").unwrap();
    let text = |field: &str| condition[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

fn status_of(output: &Output, kind: StatusKind) -> Option<Value> {
    output.statuses.iter().rfind(|s| s.kind == kind).map(|s| s.status.clone())
}

/// A Gateway with a ListenerSet that an earlier controller has served, at a generation, with what it then said.
fn served(generation: i64) -> [Input; 2] {
    let programmed = |message: &str| {
        json!([{
            "type": "Programmed", "status": "True", "reason": "Programmed", "message": message,
            "observedGeneration": 1, "lastTransitionTime": "2025-01-01T00:00:00Z",
        }])
    };
    let status = |message: &str, listener: &str| {
        json!({
            "conditions": programmed(message),
            "listeners": [{
                "name": listener, "attachedRoutes": 0, "supportedKinds": [], "conditions": programmed("listens"),
            }],
        })
    };
    let mut of_gateway = status("all serve it", "http");
    of_gateway["addresses"] = json!([{ "type": "IPAddress", "value": "10.1.0.1" }]);
    [
        input(json!({
            "kind": "Gateway",
            "metadata": { "name": "g", "namespace": "default", "uid": "g", "generation": generation },
            "spec": {
                "gatewayClassName": "c", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
                "allowedListeners": { "namespaces": { "from": "Same" } },
            },
            "status": of_gateway,
        })),
        input(json!({
            "kind": "ListenerSet",
            "metadata": { "name": "l", "namespace": "default", "uid": "l", "generation": generation },
            "spec": {
                "parentRef": { "name": "g" }, "listeners": [{ "name": "more", "port": 81, "protocol": "HTTP" }],
            },
            "status": status("all serve it", "more"),
        })),
    ]
}

#[test]
fn what_the_platform_said_before_a_restart_stays_until_it_is_heard_again() {
    let away = || Health::Away("the platform can't be reached: no route".to_owned());
    let refused = || Health::Refused("it was revoked".to_owned());
    let good = || Health::Good { missing_templates: BTreeSet::new() };
    let doubted = "it was revoked. What is shown may be out of date; the platform said last: all serve it";
    let untaken = "the platform hasn't taken this generation yet";
    let unreachable = format!("{untaken}: the platform can't be reached: no route");
    for (generation, health, expected, message) in [
        (1, None, "True", "all serve it"),
        (1, Some(away()), "True", "all serve it"),
        (1, Some(good()), "True", "all serve it"),
        (1, Some(refused()), "True", doubted),
        (2, None, "Unknown", untaken),
        (2, Some(away()), "Unknown", unreachable.as_str()),
        (2, Some(refused()), "Unknown", "the platform hasn't taken this generation yet: it was revoked"),
    ] {
        let mut attach = attach();
        let mut inputs = vec![class("c", Some("p")), input(parameters("p", A, pem("a.crt"))), credential("a")];
        inputs.extend(served(generation));
        let mut output = attach.apply(inputs, &at(0));
        let id = connected(&output)[A].0;
        if let Some(health) = health {
            let told = attach.apply([Input::Target(id, TargetEvent::Checked(health))], &at(1));
            output.statuses.extend(told.statuses);
        }
        for (kind, listener_message) in [(StatusKind::Gateway, "listens"), (StatusKind::ListenerSet, "listens")] {
            let status = status_of(&output, kind).unwrap();
            let of_whole = programmed(&status["conditions"]);
            assert_eq!((of_whole.0.as_str(), of_whole.2.as_str()), (expected, message), "{kind:?}");
            let of_listener = programmed(&status["listeners"][0]["conditions"]);
            assert_eq!(of_listener.0, expected, "{kind:?} {message}");
            if expected == "True" {
                assert_eq!(of_listener.2, listener_message, "{kind:?}");
            }
        }
        let status = status_of(&output, StatusKind::Gateway).unwrap();
        assert_eq!(status["addresses"][0]["value"], "10.1.0.1", "{message}");

        // It is heard, and has no claim.
        let output = attach.apply(opened(id), &at(2));
        let status = status_of(&output, StatusKind::Gateway).unwrap();
        assert_eq!(programmed(&status["conditions"]).2, untaken);
        assert_eq!(status["addresses"].as_array().map_or(0, Vec::len), 0, "{status}");
    }
}

#[test]
fn a_gateway_says_that_the_platform_refuses_the_credential_as_long_as_it_does() {
    let mut attach = attach();
    let inputs = [class("c", Some("p")), input(parameters("p", A, pem("a.crt"))), credential("a"), gateway("g", "c")];
    let id = connected(&attach.apply(inputs, &at(0)))[A].0;
    let output = attach.apply(opened(id), &at(1));
    let claim = output.derived[&id].iter().find_map(|change| match change {
        DerivedChange::Set(Derived::Claim(claim)) => Some((**claim).clone()),
        _ => None,
    });
    let mut claim = claim.unwrap();
    claim.metadata.generation = Some(1);
    claim.status = serde_json::from_value(json!({
        "originGeneration": 1, "observedGeneration": 1, "addresses": ["10.1.0.1"],
        "conditions": [{
            "type": "Programmed", "status": "True", "reason": "Programmed", "message": "all serve it",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }))
    .unwrap();
    attach.apply([Input::Claim(id, Change::Set(Arc::new(claim)))], &at(2));
    let refused = Health::Refused("it was revoked".to_owned());
    let output = attach.apply([Input::Target(id, TargetEvent::Checked(refused))], &at(3));
    let status = status_of(&output, StatusKind::Gateway).unwrap();
    let (is, _, message) = programmed(&status["conditions"]);
    assert_eq!(is, "True");
    assert_eq!(message, "it was revoked. What is shown may be out of date; the platform said last: all serve it");
    assert_eq!(status["addresses"][0]["value"], "10.1.0.1");
    let good = Health::Good { missing_templates: BTreeSet::new() };
    let output = attach.apply([Input::Target(id, TargetEvent::Checked(good))], &at(4));
    let status = status_of(&output, StatusKind::Gateway).unwrap();
    assert_eq!(programmed(&status["conditions"]).2, "all serve it");
}
