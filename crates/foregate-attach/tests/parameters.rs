//! Parameters of classes and Gateways that aren't a platform's: EnvoyProxy, and templates of single Gateways.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use common::{at, gone, input};
use foregate_api::claim::GatewayClaimSpec;
use foregate_attach::{Attach, Derived, DerivedChange, Input, Key, Output, Settings, StatusKind, TargetId};
use serde_json::{Value, json};

fn class(parameters: Option<&str>) -> Input {
    let mut class = json!({
        "kind": "GatewayClass", "metadata": { "name": "c", "uid": "class-uid", "generation": 1 },
        "spec": { "controllerName": foregate_api::CONTROLLER_NAME },
    });
    if let Some(name) = parameters {
        class["spec"]["parametersRef"] =
            json!({ "group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": name, "namespace": "system" });
    }
    input(class)
}

fn envoy_proxy(namespace: &str, spec: Value) -> Input {
    input(json!({ "kind": "EnvoyProxy", "metadata": { "name": "p", "namespace": namespace }, "spec": spec }))
}

fn template(spec: Value) -> Input {
    input(json!({ "kind": "GatewayClassParameters", "metadata": { "name": "p", "namespace": "apps" }, "spec": spec }))
}

fn gateway(name: &str, reference: Option<(&str, &str)>) -> Input {
    let mut gateway = json!({
        "kind": "Gateway", "metadata": { "name": name, "namespace": "apps", "uid": name, "generation": 1 },
        "spec": { "gatewayClassName": "c", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] },
    });
    if let Some((group, kind)) = reference {
        gateway["spec"]["infrastructure"] = json!({ "parametersRef": { "group": group, "kind": kind, "name": "p" } });
    }
    input(gateway)
}

const OWN: Option<(&str, &str)> = Some(("foregate.dev", "GatewayClassParameters"));
const ENVOY: Option<(&str, &str)> = Some(("gateway.envoyproxy.io", "EnvoyProxy"));

/// Status, reason and message of Accepted.
fn accepted(output: &Output, kind: StatusKind) -> (String, String, String) {
    let status = output.statuses.iter().rfind(|status| status.kind == kind).expect("a status");
    let conditions = status.status["conditions"].as_array().unwrap();
    let condition = conditions.iter().find(|condition| condition["type"] == "Accepted").unwrap();
    let text = |field: &str| condition[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// Claims that are written, by name; none: deleted.
fn claims(output: &Output) -> BTreeMap<String, Option<GatewayClaimSpec>> {
    let changes = output.derived.get(&TargetId::DEFAULT).into_iter().flatten();
    changes
        .filter_map(|change| match change {
            DerivedChange::Set(Derived::Claim(claim)) => Some((change.name().to_owned(), Some(claim.spec.clone()))),
            DerivedChange::Delete(foregate_attach::DerivedKind::Claim, name) => Some((name.to_string(), None)),
            _ => None,
        })
        .collect()
}

#[test]
fn gateways_of_a_class_share_a_gateway_where_its_envoy_proxy_merges() {
    let mut attach = Attach::new(Settings::local());
    let inputs = [
        class(Some("p")),
        envoy_proxy("system", json!({ "mergeGateways": true, "provider": { "type": "Kubernetes" } })),
        gateway("a", None),
        gateway("b", None),
    ];
    let output = attach.apply(inputs, &at(0));
    let (status, _, message) = accepted(&output, StatusKind::GatewayClass);
    assert_eq!(status, "True");
    assert!(message.contains("; spec.provider of the EnvoyProxy has no meaning here"), "{message}");
    let keys: Vec<_> = claims(&output).into_values().map(|claim| claim.unwrap().sharing_key.unwrap()).collect();
    assert_eq!(keys, ["local-class-uid", "local-class-uid"]);

    let output = attach.apply([envoy_proxy("system", json!({}))], &at(1));
    let keys: Vec<_> = claims(&output).into_values().map(|claim| claim.unwrap().sharing_key.unwrap()).collect();
    assert_eq!(keys, ["local-a", "local-b"], "each has its own again");
}

#[test]
fn what_a_class_s_envoy_proxy_asks_for_in_vain_is_named() {
    let mut attach = Attach::new(Settings::local());
    let output = attach.apply([class(Some("p")), gateway("a", None)], &at(0));
    let (status, reason, message) = accepted(&output, StatusKind::GatewayClass);
    assert_eq!((&*status, &*reason), ("False", "InvalidParameters"));
    assert!(message.contains("EnvoyProxy system/p doesn't exist"), "{message}");

    let output = attach.apply([envoy_proxy("system", json!({}))], &at(1));
    assert_eq!(accepted(&output, StatusKind::GatewayClass).0, "True");
    assert_eq!(claims(&output).len(), 1);

    let output = attach.apply([envoy_proxy("system", json!({ "concurrency": 2 }))], &at(2));
    let (status, reason, message) = accepted(&output, StatusKind::GatewayClass);
    assert_eq!((&*status, &*reason), ("False", "InvalidParameters"));
    assert!(message.contains("EnvoyProxy system/p: spec.concurrency: "), "{message}");
    assert!(claims(&output).is_empty(), "what serves stays");

    let without = Settings { default_target: None, ..Settings::local() };
    let output = Attach::new(without).apply([class(Some("p")), envoy_proxy("system", json!({}))], &at(0));
    let (_, reason, message) = accepted(&output, StatusKind::GatewayClass);
    assert_eq!(reason, "InvalidParameters");
    assert!(message.starts_with("an EnvoyProxy names no platform"), "{message}");
}

#[test]
fn a_gateway_may_have_another_template() {
    let mut attach = Attach::new(Settings::local());
    let output = attach.apply([class(None), gateway("a", OWN)], &at(0));
    let (status, reason, message) = accepted(&output, StatusKind::Gateway);
    assert_eq!((&*status, &*reason), ("False", "InvalidParameters"));
    assert!(message.ends_with("GatewayClassParameters apps/p doesn't exist"), "{message}");
    assert!(claims(&output).is_empty());

    let output = attach.apply([template(json!({ "template": "large" }))], &at(1));
    assert_eq!(accepted(&output, StatusKind::Gateway).0, "True");
    assert_eq!(claims(&output)["local-a"].as_ref().unwrap().template, "large");

    // Whoever spoils or deletes them takes nothing down.
    for (change, why) in [
        (
            template(json!({ "template": "small", "tenant": "x" })),
            "spec.tenant of GatewayClassParameters apps/p is for",
        ),
        (gone("GatewayClassParameters", Key::new("apps", "p")), "doesn't exist; it keeps what it has"),
    ] {
        let output = attach.apply([change], &at(2));
        let (status, reason, message) = accepted(&output, StatusKind::Gateway);
        assert_eq!((&*status, &*reason), ("False", "InvalidParameters"));
        assert!(message.contains(why), "{message}");
        assert!(claims(&output).is_empty(), "what serves stays");
    }
    let output = attach.apply([gateway("a", None)], &at(3));
    assert_eq!(accepted(&output, StatusKind::Gateway).0, "True");
    assert_eq!(claims(&output)["local-a"].as_ref().unwrap().template, "default");
}

#[test]
fn a_gateway_s_envoy_proxy_says_what_it_can_not_do() {
    for (spec, why) in [
        (json!({}), None),
        (json!({ "mergeGateways": true }), Some("spec.mergeGateways: is for a GatewayClass")),
        (json!({ "telemetry": { "metrics": { "x": 1 } } }), Some("EnvoyProxy apps/p: spec.telemetry.metrics.x: ")),
    ] {
        let mut attach = Attach::new(Settings::local());
        let output = attach.apply([class(None), envoy_proxy("apps", spec.clone()), gateway("a", ENVOY)], &at(0));
        let (status, reason, message) = accepted(&output, StatusKind::Gateway);
        match why {
            None => assert_eq!((&*status, claims(&output).len()), ("True", 1), "{message}"),
            Some(why) => {
                assert_eq!((&*status, &*reason), ("False", "InvalidParameters"), "{spec}");
                assert!(message.contains(why), "{message}");
            }
        }
    }
}
