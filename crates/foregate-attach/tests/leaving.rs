//! GatewayClasses on their way out: they stay until what they lead to is gone from the platform.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{at, gone, input, pem};
use foregate_api::GatewayClaim;
use foregate_attach::{
    Attach, Change, Derived, DerivedChange, Health, Input, Key, Output, Settings, StatusKind, TargetChange,
    TargetEvent, TargetId,
};
use serde_json::{Value, json};

const FINALIZER: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";

/// A class of the platform, with its finalizers.
fn class(name: &str, finalizers: &[&str]) -> Value {
    json!({
        "kind": "GatewayClass", "metadata": { "name": name, "generation": 1, "finalizers": finalizers },
        "spec": { "controllerName": foregate_api::CONTROLLER_NAME, "parametersRef": {
            "group": "foregate.dev", "kind": "GatewayClassParameters", "name": "p", "namespace": "system",
        } },
    })
}

fn leaving(name: &str, finalizers: &[&str]) -> Input {
    let mut class = class(name, finalizers);
    class["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    input(class)
}

/// What leads to the platform.
fn connection() -> [Input; 2] {
    let parameters = input(json!({
        "kind": "GatewayClassParameters", "metadata": { "name": "p", "namespace": "system" },
        "spec": {
            "platform": { "url": "https://a.test:7443", "caCertificates": pem("a.crt") },
            "credentialsRef": { "name": "credential" }, "tenant": "shop", "cluster": "edge", "template": "small",
        },
    }));
    let secret = input(json!({
        "kind": "Secret", "metadata": { "name": "credential", "namespace": "system", "uid": "c" },
        "data": { "tls.crt": "@a.crt", "tls.key": "@a.key" },
    }));
    [parameters, secret]
}

/// A controller that has just started, and its target.
fn started(classes: impl IntoIterator<Item = Input>) -> (Attach, TargetId, Output) {
    let mut attach = Attach::new(Settings { default_target: None, ..Settings::local() });
    let output = attach.apply(classes.into_iter().chain(connection()), &at(0));
    let [TargetChange::Connect(id, _)] = output.targets[..] else { panic!("{:?}", output.targets) };
    (attach, id, output)
}

fn checked(id: TargetId, health: Health) -> Input {
    Input::Target(id, TargetEvent::Checked(health))
}

fn good(id: TargetId) -> Input {
    checked(id, Health::Good { missing_templates: BTreeSet::new() })
}

fn away(id: TargetId) -> Input {
    checked(id, Health::Away("the platform can't be reached: no route".to_owned()))
}

fn listed(id: TargetId) -> Input {
    Input::Target(id, TargetEvent::Listed)
}

/// Class and whether it is to have the finalizer.
fn finalizers(output: &Output) -> Vec<(&str, bool)> {
    output.finalizers.iter().map(|it| (&*it.class, it.finalizers.iter().any(|one| one == FINALIZER))).collect()
}

fn accepted(output: &Output, class: &str) -> String {
    let status = output.statuses.iter().rfind(|s| s.kind == StatusKind::GatewayClass && &*s.key.name == class).unwrap();
    status.status["conditions"][0]["message"].as_str().unwrap().to_owned()
}

fn gateway(class: &str) -> Input {
    input(json!({
        "kind": "Gateway", "metadata": { "name": "g", "namespace": "default", "uid": "g", "generation": 1 },
        "spec": { "gatewayClassName": class, "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] },
    }))
}

fn no_gateway() -> Input {
    gone("Gateway", Key::new("default", "g"))
}

/// The claim of that Gateway.
fn claim() -> Arc<GatewayClaim> {
    let (mut attach, id, _) = started([input(class("c", &[FINALIZER])), gateway("c")]);
    let output = attach.apply([listed(id), good(id)], &at(1));
    let mut claims = output.derived[&id].iter().filter_map(|change| match change {
        DerivedChange::Set(Derived::Claim(claim)) => Some(claim.clone()),
        _ => None,
    });
    claims.next_back().unwrap()
}

fn seen(id: TargetId) -> Input {
    Input::Claim(id, Change::Set(claim()))
}

fn deleted(id: TargetId) -> Input {
    Input::Claim(id, Change::Gone(Key::new("tenant-shop", "edge-g")))
}

#[test]
fn after_a_restart_the_class_still_leads_to_what_is_to_be_deleted() {
    let (mut attach, id, output) = started([leaving("c", &["other", FINALIZER])]);
    assert_eq!(finalizers(&output), [], "nobody knows yet what is there");
    let output = attach.apply([away(id)], &at(1));
    assert_eq!(finalizers(&output), []);
    let message = accepted(&output, "c");
    for part in ["can't be reached: no route; what was made on the platform is still", "`foregate cluster remove`"] {
        assert!(message.contains(part), "{message}");
    }
    let output = attach.apply([seen(id), listed(id), good(id)], &at(2));
    assert!(matches!(output.derived[&id][..], [DerivedChange::Delete(..)]), "{:?}", output.derived);
    assert_eq!(finalizers(&output), []);
    let output = attach.apply([away(id)], &at(3));
    assert!(accepted(&output, "c").contains("1 object on the platform is still to be deleted"));
    let output = attach.apply([deleted(id)], &at(4));
    assert_eq!(finalizers(&output), [("c", false)]);
    assert_eq!(output.finalizers[0].finalizers, ["other"]);
}

#[test]
fn where_the_platform_answers_the_class_goes_at_once() {
    let (mut attach, id, _) = started([input(class("c", &[FINALIZER])), gateway("c")]);
    let output = attach.apply([listed(id), good(id), seen(id)], &at(1));
    assert_eq!(finalizers(&output), []);
    let output = attach.apply([no_gateway(), leaving("c", &[FINALIZER])], &at(2));
    assert_eq!(finalizers(&output), []);
    assert_eq!(finalizers(&attach.apply([deleted(id)], &at(3))), [("c", false)]);
}

#[test]
fn what_is_deleted_before_it_is_seen_has_no_echo_and_holds_nobody() {
    let (mut attach, id, _) = started([input(class("c", &[FINALIZER])), gateway("c")]);
    attach.apply([listed(id), good(id)], &at(1));
    let output = attach.apply([away(id), no_gateway(), leaving("c", &[FINALIZER])], &at(2));
    assert_eq!(finalizers(&output), [], "it may have been written");
    assert_eq!(finalizers(&attach.apply([good(id)], &at(3))), [("c", false)]);
}

#[test]
fn a_platform_that_has_removed_the_cluster_holds_no_class() {
    let (mut attach, id, _) = started([leaving("c", &[FINALIZER])]);
    let output = attach.apply([checked(id, Health::Refused("forbidden".to_owned()))], &at(1));
    assert_eq!(finalizers(&output), [], "what it had may be there");
    let output = attach.apply([checked(id, Health::Disowned("no such credential".to_owned()))], &at(2));
    assert_eq!(finalizers(&output), [("c", false)]);
    assert_eq!(accepted(&output, "c"), "no such credential");
}

#[test]
fn another_class_of_the_same_platform_takes_over_first() {
    let (mut attach, id, _) = started([input(class("a", &[FINALIZER])), input(class("b", &[])), gateway("a")]);
    let output = attach.apply([listed(id), good(id), seen(id)], &at(1));
    assert_eq!(finalizers(&output), []);
    let output = attach.apply([away(id), no_gateway(), leaving("a", &[FINALIZER])], &at(2));
    assert_eq!(finalizers(&output), [("b", true)], "somebody must lead there");
    let output = attach.apply([input(class("b", &[FINALIZER]))], &at(3));
    assert_eq!(finalizers(&output), [("a", false)]);
    let output = attach.apply([gone("GatewayClass", Key::new("", "a"))], &at(4));
    assert_eq!(finalizers(&output), []);
    assert_eq!(finalizers(&attach.apply([good(id), deleted(id)], &at(5))), [("b", false)]);
}

#[test]
fn while_another_class_is_used_an_unused_one_is_free() {
    let (mut attach, id, output) =
        started([input(class("a", &[FINALIZER])), input(class("b", &[FINALIZER])), gateway("a")]);
    assert_eq!(finalizers(&output), [("b", false)]);
    attach.apply([input(class("b", &[])), listed(id), good(id), seen(id)], &at(1));
    let output = attach.apply([leaving("b", &[FINALIZER])], &at(2));
    assert_eq!(finalizers(&output), [("b", false)]);
}
