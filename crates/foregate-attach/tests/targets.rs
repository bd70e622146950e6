//! Classes with parameters: where their gateways run, and what is derived there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::platforms::{
    A, B, accepted, attach, class, connected, credential, gateway, opened, parameters, route, service, set,
    two_platforms, written,
};
use common::{at, gone, input, pem};
use foregate_attach::{
    Attach, Change, DefaultTarget, Derived, DerivedChange, Health, Input, Key, Output, Settings, StatusKind,
    TargetChange, TargetEvent, TargetId,
};
use serde_json::json;

#[test]
fn each_target_has_what_is_attached_there() {
    let (mut attach, output, a, b) = two_platforms();
    assert_eq!(written(&output, a), set(&["+edge-e", "+edge-s-80", "+edge-ga", "+edge-r"]));
    assert_eq!(written(&output, b), set(&["+edge-e", "+edge-s-80", "+edge-gb", "+edge-r"]));
    let claims = |output: &Output, id| {
        let routes = output.derived[&id].iter().filter_map(|change| match change {
            DerivedChange::Set(Derived::Route(route)) => Some(route.spec.attachments.clone()),
            _ => None,
        });
        routes.flatten().map(|attachment| attachment.claim).collect::<Vec<_>>()
    };
    assert_eq!((claims(&output, a), claims(&output, b)), (vec!["edge-ga".to_owned()], vec!["edge-gb".to_owned()]));
    let output = attach.apply([route(&["ga"])], &at(2));
    assert_eq!(written(&output, a), set(&[]), "nothing changes there");
    assert_eq!(written(&output, b), set(&["-edge-r", "-edge-s-80", "-edge-e"]));
}

#[test]
fn a_status_has_parents_of_all_targets_and_a_refusal_is_one_targets() {
    let (mut attach, output, _, b) = two_platforms();
    let written = output.derived[&b].iter().find_map(|change| match change {
        DerivedChange::Set(Derived::Route(route)) => Some(route.clone()),
        _ => None,
    });
    let mut refused = (*written.unwrap()).clone();
    refused.status = serde_json::from_value(json!({
        "originGeneration": 1, "observedGeneration": 1,
        "conditions": [{
            "type": "Accepted", "status": "False", "reason": "Refused", "message": "by an engine",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }))
    .unwrap();
    let output = attach.apply([Input::Route(b, Change::Set(Arc::new(refused)))], &at(3));
    let status = output.statuses.iter().find(|s| s.kind == StatusKind::HttpRoute).unwrap();
    let accepted: BTreeMap<&str, &str> = status.status["parents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parent| {
            (parent["parentRef"]["name"].as_str().unwrap(), parent["conditions"][0]["status"].as_str().unwrap())
        })
        .collect();
    assert_eq!(accepted, [("ga", "True"), ("gb", "False")].into());
}

#[test]
fn new_credentials_go_to_the_same_target() {
    let (mut attach, _, a, b) = two_platforms();
    let output = attach.apply([credential("b")], &at(2));
    let targets = connected(&output);
    assert_eq!((targets[A].0, targets[B].0), (a, b));
    assert_eq!(targets[A].1.certificate, pem("b.crt").as_bytes());
    assert!(output.derived.is_empty(), "{:?}", output.derived);
}

#[test]
fn parameters_deleted_by_mistake_take_nothing_down() {
    let (mut attach, _, a, _) = two_platforms();
    let output = attach.apply([gone("GatewayClassParameters", Key::new("system", "a"))], &at(2));
    assert!(output.derived.is_empty() && output.targets.is_empty(), "{output:?}");
    let (status, reason, message) = accepted(&output, "a");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "InvalidParameters"));
    assert!(message.ends_with("Gateways keep what they have"), "{message}");
    let output = attach.apply([input(parameters("a", A, pem("a.crt")))], &at(3));
    assert_eq!(accepted(&output, "a").0, "True");
    assert!(output.derived.is_empty() && output.targets.is_empty(), "{:?} {a:?}", output.derived);
}

#[test]
fn a_class_that_moves_takes_its_gateways_along_and_the_empty_target_is_dropped() {
    let (mut attach, output, a, b) = two_platforms();
    let echo = |change: &DerivedChange| match change {
        DerivedChange::Set(Derived::Claim(o)) => Input::Claim(a, Change::Set(o.clone())),
        DerivedChange::Set(Derived::Route(o)) => Input::Route(a, Change::Set(o.clone())),
        DerivedChange::Set(Derived::Backend(o)) => Input::Backend(a, Change::Set(o.clone())),
        DerivedChange::Set(Derived::Slice(o)) => Input::Slice(a, Change::Set(o.clone())),
        other => panic!("{other:?}"),
    };
    attach.apply(output.derived[&a].iter().map(echo).collect::<Vec<_>>(), &at(2));
    let output = attach.apply([input(parameters("a", B, pem("a.crt")))], &at(3));
    assert_eq!(written(&output, a), set(&["-edge-e", "-edge-s-80", "-edge-ga", "-edge-r"]));
    assert_eq!(written(&output, b), set(&["+edge-ga", "+edge-r"]));
    assert!(output.targets.is_empty(), "what is there has to go first");
    let gone = |name: &str| Change::Gone(Key::new("tenant-shop", name));
    let ends = [
        Input::Route(a, Change::Gone(Key::new("tenant-shop", "edge-r"))),
        Input::Claim(a, Change::Gone(Key::new("tenant-shop", "edge-ga"))),
        Input::Backend(a, Change::Gone(Key::new("tenant-shop", "edge-s-80"))),
        Input::Slice(a, gone("edge-e")),
    ];
    assert_eq!(attach.apply(ends, &at(4)).targets, [TargetChange::Drop(a)]);
}

#[test]
fn what_is_there_and_not_wanted_goes_once_all_is_known() {
    let (_, output, ..) = two_platforms();
    let stale = output.derived.values().flatten().find_map(|change| match change {
        DerivedChange::Set(Derived::Claim(claim)) => Some((**claim).clone()),
        _ => None,
    });
    let mut stale = stale.unwrap();
    stale.metadata.name = Some("edge-stale".to_owned());
    let mut fresh = attach();
    let inputs = [class("a", Some("a")), input(parameters("a", A, pem("a.crt"))), credential("a")];
    let (id, _) = connected(&fresh.apply(inputs, &at(0)))[A].clone();
    let output = fresh.apply([Input::Claim(id, Change::Set(Arc::new(stale)))], &at(1));
    assert!(output.derived.is_empty());
    assert_eq!(written(&fresh.apply(opened(id), &at(2)), id), set(&["-edge-stale"]));
}

#[test]
fn a_standby_says_all_that_differs_once_it_leads() {
    let settings = Settings { default_target: Some(DefaultTarget::remote("edge".to_owned())), ..Settings::local() };
    let mut attach = Attach::standby(settings);
    let mut inputs = vec![class("c", None), gateway("g", "c"), route(&["g"])];
    inputs.extend(service());
    inputs.extend(opened(TargetId::DEFAULT));
    let output = attach.apply(inputs, &at(0));
    assert!(output.is_empty(), "{output:?}");
    attach.lead();
    let output = attach.apply([], &at(1));
    assert_eq!(written(&output, TargetId::DEFAULT), set(&["+edge-e", "+edge-s-80", "+edge-g", "+edge-r"]));
    assert_eq!(output.statuses.len(), 3);
}

#[test]
fn copies_of_secrets_are_written_again_to_who_was_away() {
    let mut attach = attach();
    let certificate = input(json!({
        "kind": "Secret", "metadata": { "name": "tls", "namespace": "default", "uid": "tls" },
        "data": { "tls.crt": "@a.crt", "tls.key": "@a.key" },
    }));
    let gateway = input(json!({
        "kind": "Gateway", "metadata": { "name": "g", "namespace": "default", "uid": "g", "generation": 1 },
        "spec": { "gatewayClassName": "c", "listeners": [{
            "name": "tls", "port": 443, "protocol": "HTTPS", "tls": { "certificateRefs": [{ "name": "tls" }] },
        }] },
    }));
    let inputs =
        [class("c", Some("p")), input(parameters("p", A, pem("a.crt"))), credential("a"), certificate, gateway];
    let id = connected(&attach.apply(inputs, &at(0)))[A].0;
    let secrets = |output: &Output| written(output, id).into_iter().filter(|it| it == "+edge-tls").count();
    assert_eq!(secrets(&attach.apply(opened(id), &at(1))), 1);
    assert_eq!(secrets(&attach.apply(opened(id), &at(2))), 0, "it is taken for there");
    let away = Input::Target(id, TargetEvent::Checked(Health::Away("gone".to_owned())));
    assert_eq!(secrets(&attach.apply([away], &at(3))), 0);
    assert_eq!(secrets(&attach.apply(opened(id), &at(4))), 1);
}
