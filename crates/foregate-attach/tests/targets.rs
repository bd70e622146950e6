//! Classes with parameters: where their gateways run, what is derived there, and what the classes say of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::{at, gone, input, pem};
use foregate_attach::{
    Attach, Change, Connection, DefaultTarget, Derived, DerivedChange, Health, Input, Key, Output, Release, Settings,
    StatusKind, TargetChange, TargetEvent, TargetId,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

fn class(name: &str, parameters: Option<&str>) -> Input {
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

fn parameters(name: &str, url: &str, ca: &str) -> Value {
    json!({
        "kind": "GatewayClassParameters", "metadata": { "name": name, "namespace": "system" },
        "spec": {
            "platform": { "url": url, "caCertificates": ca }, "credentialsRef": { "name": "credential" },
            "tenant": "shop", "cluster": "edge", "template": "small",
        },
    })
}

fn credential(certificate: &str) -> Input {
    input(json!({
        "kind": "Secret", "metadata": { "name": "credential", "namespace": "system", "uid": "c" },
        "data": { "tls.crt": format!("@{certificate}.crt"), "tls.key": format!("@{certificate}.key") },
    }))
}

fn gateway(name: &str, class: &str) -> Input {
    input(json!({
        "kind": "Gateway", "metadata": { "name": name, "namespace": "default", "uid": name, "generation": 1 },
        "spec": { "gatewayClassName": class, "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] },
    }))
}

fn route(parents: &[&str]) -> Input {
    let parents: Vec<Value> = parents.iter().map(|name| json!({ "name": name })).collect();
    input(json!({
        "kind": "HTTPRoute", "metadata": { "name": "r", "namespace": "default", "uid": "r", "generation": 1 },
        "spec": { "parentRefs": parents, "rules": [{ "backendRefs": [{ "name": "s", "port": 80 }] }] },
    }))
}

fn service() -> [Input; 2] {
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

fn attach() -> Attach {
    Attach::new(Settings { default_target: None, ..Settings::local() })
}

/// The targets that are to be connected to, by URL.
fn connected(output: &Output) -> BTreeMap<String, (TargetId, Arc<Connection>)> {
    let connects = output.targets.iter().filter_map(|change| match change {
        TargetChange::Connect(id, to) => Some((to.url.clone(), (*id, to.clone()))),
        TargetChange::Drop(_) => None,
    });
    connects.collect()
}

/// Says that a target is there and has nothing.
fn opened(id: TargetId) -> [Input; 2] {
    let health = Health::Good { missing_templates: BTreeSet::new() };
    [Input::Target(id, TargetEvent::Listed), Input::Target(id, TargetEvent::Checked(health))]
}

/// Status, reason and message of the condition Accepted of a class.
fn accepted(output: &Output, class: &str) -> (String, String, String) {
    let status = output.statuses.iter().rfind(|s| s.kind == StatusKind::GatewayClass && &*s.key.name == class).unwrap();
    let condition = &status.status["conditions"][0];
    assert_eq!(condition["type"], "Accepted");
    let text = |field: &str| condition[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// What is written, by target: `+name` and `-name`.
fn written(output: &Output, id: TargetId) -> BTreeSet<String> {
    let changes = output.derived.get(&id).into_iter().flatten();
    changes.map(|c| format!("{}{}", if matches!(c, DerivedChange::Set(_)) { "+" } else { "-" }, c.name())).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

const A: &str = "https://a.test:7443";
const B: &str = "https://b.test:7443";

/// Two platforms with a Gateway on each, and a route on both. Returns what was said last, with the targets.
fn two_platforms() -> (Attach, Output, TargetId, TargetId) {
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

#[test]
fn a_broken_reference_says_what_is_wrong() {
    let unknown = |group: &str| {
        let mut parameters = parameters("p", A, pem("a.crt"));
        parameters["metadata"]["namespace"] = json!("system");
        let class = json!({
            "kind": "GatewayClass", "metadata": { "name": "c" },
            "spec": {
                "controllerName": foregate_api::CONTROLLER_NAME,
                "parametersRef": { "group": group, "kind": "GatewayClassParameters", "name": "p" },
            },
        });
        vec![input(class), input(parameters)]
    };
    let mut elsewhere = parameters("p", A, pem("a.crt"));
    elsewhere["spec"]["credentialsRef"]["namespace"] = json!("vault");
    let mut ill_named = parameters("p", A, pem("a.crt"));
    ill_named["spec"]["cluster"] = json!("Edge");
    let referring = |parameters: Value| vec![class("c", Some("p")), input(parameters), credential("a")];
    for (inputs, contains) in [
        (vec![class("c", None)], "spec.parametersRef is missing"),
        (vec![class("c", Some("p"))], "GatewayClassParameters system/p doesn't exist; `foregate cluster add`"),
        (unknown("example.com"), "isn't a kind of parameters that Foregate knows"),
        (unknown("foregate.dev"), "it needs the namespace"),
        (
            vec![class("c", Some("p")), input(parameters("p", A, pem("a.crt")))],
            "Secret system/credential doesn't exist",
        ),
        (referring(elsewhere), "no ReferenceGrant in vault lets it name Secret vault/credential"),
        (referring(ill_named), "spec.cluster of GatewayClassParameters system/p"),
        (referring(parameters("p", A, "nonsense")), "spec.platform.caCertificates of GatewayClassParameters system/p"),
    ] {
        let output = attach().apply(inputs, &at(0));
        let (status, reason, message) = accepted(&output, "c");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "InvalidParameters"), "{message}");
        assert!(message.contains(contains), "{message:?} has no {contains:?}");
        assert!(output.targets.is_empty(), "{message}");
    }
}

#[test]
fn a_class_says_what_the_platform_says() {
    let mut attach = attach();
    let inputs = [class("c", Some("p")), input(parameters("p", A, pem("a.crt"))), credential("a")];
    let first = attach.apply(inputs, &at(0));
    assert_eq!(accepted(&first, "c").0, "Unknown", "nobody has asked the platform yet");
    let (id, to) = connected(&first)[A].clone();
    assert_eq!((to.namespace.as_str(), to.cluster.as_str()), ("tenant-shop", "edge"));
    let mut told = |health| accepted(&attach.apply([Input::Target(id, TargetEvent::Checked(health))], &at(1)), "c");
    let good = |missing: &[&str]| Health::Good { missing_templates: set(missing) };
    assert_eq!(told(good(&[])).0, "True");
    let (status, reason, message) = told(good(&["small"]));
    assert_eq!((status.as_str(), reason.as_str()), ("False", "InvalidParameters"));
    assert!(message.contains("GatewayTemplate tenant-shop/small"), "{message}");
    assert_eq!(told(Health::Refused("401".to_owned())).1, "InvalidParameters");
    let (status, reason, message) = told(Health::Away("no route".to_owned()));
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "PlatformUnreachable"));
    assert!(message.contains("no route"), "{message}");
}

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

#[test]
fn a_class_says_what_an_old_release_of_the_gateway_api_lacks() {
    let mut attach = Attach::new(Settings::local());
    let mut supported = |version: &str, missing: &[&str]| {
        let missing = missing.iter().map(|&plural| plural.to_owned()).collect();
        let release = Release { version: Some(version.to_owned()), missing };
        let output = attach.apply([class("c", None), Input::Release(release)], &at(0));
        let status = output.statuses.iter().find(|s| s.kind == StatusKind::GatewayClass).unwrap();
        let conditions = status.status["conditions"].as_array().unwrap().clone();
        let found = conditions.into_iter().find(|c| c["type"] == "SupportedVersion").unwrap();
        (found["status"].as_str().unwrap().to_owned(), found["message"].as_str().unwrap().to_owned())
    };
    let (status, message) = supported("v1.4.0", &["listenersets", "tcproutes"]);
    assert_eq!(status, "False");
    assert!(message.contains("v1.4.0") && message.contains("listenersets, tcproutes"), "{message}");
    assert_eq!(supported("v1.7.0", &[]).0, "True");
}

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

#[test]
fn a_credential_is_for_one_tenant_and_cluster() {
    let secret = |user: &str| {
        let mut made = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        made.distinguished_name.push(rcgen::DnType::CommonName, user);
        let key = rcgen::KeyPair::generate().unwrap();
        let data = [("tls.crt", made.self_signed(&key).unwrap().pem()), ("tls.key", key.serialize_pem())];
        Input::Secret(Change::Set(Arc::new(Secret {
            metadata: serde_json::from_value(json!({ "name": "credential", "namespace": "system", "uid": "c" }))
                .unwrap(),
            data: Some(data.map(|(name, pem)| (name.to_owned(), ByteString(pem.into_bytes()))).into()),
            ..Secret::default()
        })))
    };
    for (user, whose) in [
        ("foregate:cluster:shop:edge", None),
        ("somebody", None),
        ("foregate:cluster:shop:other", Some("shop/other")),
        ("foregate:cluster:books:edge", Some("books/edge")),
    ] {
        let inputs = [class("c", Some("p")), input(parameters("p", A, pem("a.crt"))), secret(user)];
        let output = attach().apply(inputs, &at(0));
        assert_eq!(output.targets.is_empty(), whose.is_some(), "{user}");
        let Some(whose) = whose else { continue };
        let (status, reason, message) = accepted(&output, "c");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "InvalidParameters"));
        let expected = format!(
            "the credential is for {whose} (its certificate's common name), spec.tenant/spec.cluster say shop/edge"
        );
        assert!(message.contains(&expected), "{message}");
    }
}
