//! Services and EndpointSlices that are read only where something names them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;

use common::{at, gone, input};
use foregate_attach::{
    Attach, Derived, DerivedChange, Fetched, Glimpse, GlimpseKind, Input, Key, Need, NeedChange, Output, Settings,
    TargetId, Told,
};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;

fn scene() -> Vec<Input> {
    vec![
        input(json!({
            "kind": "GatewayClass", "metadata": { "name": "foregate", "generation": 1 },
            "spec": { "controllerName": foregate_api::CONTROLLER_NAME },
        })),
        input(json!({
            "kind": "Gateway", "metadata": { "name": "g", "namespace": "default", "uid": "g", "generation": 1 },
            "spec": { "gatewayClassName": "foregate", "listeners": [{ "name": "a", "port": 80, "protocol": "HTTP" }] },
        })),
    ]
}

fn route(service: &str) -> Input {
    input(json!({
        "kind": "HTTPRoute", "metadata": { "name": "r", "namespace": "default", "uid": "r", "generation": service.len() },
        "spec": { "parentRefs": [{ "name": "g" }], "rules": [{ "backendRefs": [{ "name": service, "port": 80 }] }] },
    }))
}

fn service(version: u64) -> Arc<Service> {
    let metadata = json!({ "name": "s", "namespace": "default", "uid": "s", "resourceVersion": version.to_string() });
    Arc::new(serde_json::from_value(json!({ "metadata": metadata, "spec": { "ports": [{ "port": 80 }] } })).unwrap())
}

/// An EndpointSlice whose address ends with its version.
fn slice(name: &str, version: u64) -> Arc<EndpointSlice> {
    let metadata = json!({
        "name": name, "namespace": "default", "uid": name, "resourceVersion": version.to_string(),
        "labels": { "kubernetes.io/service-name": "s" },
    });
    let endpoints = json!([{ "addresses": [format!("10.0.0.{version}")] }]);
    let slice =
        json!({ "metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": [{ "port": 1 }] });
    Arc::new(serde_json::from_value(slice).unwrap())
}

fn glimpse(kind: GlimpseKind, name: &str, told: Told, version: u64) -> Glimpse {
    Glimpse {
        kind,
        key: Key::new("default", name),
        told,
        uid: name.to_owned(),
        version: Some(version),
        service: (kind == GlimpseKind::EndpointSlice).then(|| "s".to_owned()),
        may_be_ours: false,
    }
}

fn apply(attach: &mut Attach, inputs: Vec<Input>) -> Output {
    attach.apply(inputs, &at(0))
}

/// What is written: names, and addresses of slices.
fn written(output: &Output) -> Vec<String> {
    let changes = output.derived.get(&TargetId::DEFAULT).into_iter().flatten();
    let shown = changes.map(|change| match change {
        DerivedChange::Set(Derived::Slice(slice)) => {
            format!("+{} {}", change.name(), slice.spec.endpoints[0].addresses[0])
        }
        DerivedChange::Set(_) => format!("+{}", change.name()),
        DerivedChange::Delete(..) => format!("-{}", change.name()),
    });
    shown.collect()
}

/// One that has looked at everything, and knows of a Service `s` that nothing names; then a route names it. Returns the
/// number of the question.
fn asked() -> (Attach, u64) {
    let mut attach = Attach::new(Settings::local());
    attach.ask_for_needs();
    assert!(!attach.glimpse(&glimpse(GlimpseKind::Service, "s", Told::Listed, 1)));
    assert!(!attach.glimpse(&glimpse(GlimpseKind::EndpointSlice, "e", Told::Listed, 2)));
    assert_eq!(written(&apply(&mut attach, scene())), ["+local-g"]);
    let output = apply(&mut attach, vec![route("s")]);
    assert_eq!((written(&output), output.statuses.len()), (vec![], 0), "it waits");
    let [NeedChange::Follow(Need::Service(key), number)] = output.needs.as_slice() else { panic!("{output:?}") };
    assert_eq!(key, &Key::new("default", "s"));
    (attach, *number)
}

fn answer(number: u64, object: Option<Arc<Service>>, slices: Vec<Arc<EndpointSlice>>) -> Vec<Input> {
    vec![Input::Fetched(Fetched { service: Key::new("default", "s"), number, object, slices })]
}

const ALL: [&str; 3] = ["+local-e 10.0.0.2", "+local-s-80", "+local-r"];

#[test]
fn a_route_waits_for_a_service_that_was_not_read() {
    let (mut attach, number) = asked();
    assert_eq!(written(&apply(&mut attach, answer(number, Some(service(1)), vec![slice("e", 2)]))), ALL);
    // From now on it is read as it changes.
    assert!(attach.glimpse(&glimpse(GlimpseKind::EndpointSlice, "e", Told::Set, 3)));
    let output = apply(&mut attach, vec![Input::EndpointSlice(foregate_attach::Change::Set(slice("e", 3)))]);
    assert_eq!(written(&output), ["+local-e 10.0.0.3"]);
}

#[test]
fn one_that_is_not_there_is_said_to_be_missing_and_served_once_it_comes() {
    let (mut attach, number) = asked();
    let output = apply(&mut attach, answer(number, None, vec![]));
    assert_eq!(written(&output), ["+local-r"]);
    assert!(output.statuses.iter().any(|change| change.status.to_string().contains("BackendNotFound")));
    assert!(attach.glimpse(&glimpse(GlimpseKind::Service, "s", Told::Set, 9)));
    let output = apply(&mut attach, vec![Input::Service(foregate_attach::Change::Set(service(9)))]);
    assert_eq!(written(&output), ["+local-s-80", "+local-r"]);
}

#[test]
fn a_late_answer_brings_nothing_back() {
    let (mut attach, number) = asked();
    // The watch is ahead of the answer: the slice changed, then went; the Service went.
    for (kind, name) in [(GlimpseKind::EndpointSlice, "e"), (GlimpseKind::Service, "s")] {
        assert!(attach.glimpse(&glimpse(kind, name, Told::Gone, 20)));
    }
    let both = vec![gone("EndpointSlice", Key::new("default", "e")), gone("Service", Key::new("default", "s"))];
    assert!(written(&apply(&mut attach, both)).is_empty());
    let output = apply(&mut attach, answer(number, Some(service(1)), vec![slice("e", 2)]));
    assert_eq!(written(&output), ["+local-r"], "without a backend");
    assert!(output.statuses.iter().any(|change| change.status.to_string().contains("BackendNotFound")));
}

#[test]
fn a_late_watch_overwrites_no_answer() {
    let (mut attach, number) = asked();
    let slices = vec![slice("e", 2), slice("f", 30)];
    assert_eq!(written(&apply(&mut attach, answer(number, Some(service(1)), slices))).len(), 4);
    for (told, version, counts) in [(Told::Set, 10, false), (Told::Gone, 20, false), (Told::Set, 30, true)] {
        let late = glimpse(GlimpseKind::EndpointSlice, "f", told, version);
        assert_eq!(attach.glimpse(&late), counts, "{told:?} {version}");
    }
    // After a list the list counts, whatever it says.
    let (mut attach, number) = asked();
    apply(&mut attach, answer(number, Some(service(1)), vec![slice("e", 9)]));
    assert!(attach.glimpse(&glimpse(GlimpseKind::EndpointSlice, "e", Told::Listed, 8)));
}

#[test]
fn what_nothing_names_any_more_is_forgotten_and_asked_for_again() {
    let (mut attach, number) = asked();
    assert_eq!(written(&apply(&mut attach, answer(number, Some(service(1)), vec![slice("e", 2)]))), ALL);
    let output = apply(&mut attach, vec![gone("HTTPRoute", Key::new("default", "r"))]);
    assert_eq!(output.needs, [NeedChange::Forget(Need::Service(Key::new("default", "s")))]);
    assert_eq!(written(&output), ["-local-r", "-local-s-80", "-local-e"]);
    assert!(!attach.glimpse(&glimpse(GlimpseKind::EndpointSlice, "e", Told::Set, 3)));
    let output = apply(&mut attach, vec![route("s")]);
    let [NeedChange::Follow(_, again)] = output.needs.as_slice() else { panic!("{output:?}") };
    assert!(written(&apply(&mut attach, answer(number, Some(service(1)), vec![]))).is_empty(), "of the first question");
    let output = apply(&mut attach, answer(*again, Some(service(1)), vec![slice("e", 2)]));
    assert_eq!(written(&output), ALL);
}

#[test]
fn what_was_said_before_the_question_does_not_count() {
    let (mut attach, first) = asked();
    // Said while the first answer is due, then forgotten.
    assert!(attach.glimpse(&glimpse(GlimpseKind::EndpointSlice, "e", Told::Set, 3)));
    apply(&mut attach, vec![Input::EndpointSlice(foregate_attach::Change::Set(slice("e", 3)))]);
    apply(&mut attach, vec![route("other")]);
    assert!(!attach.glimpse(&glimpse(GlimpseKind::EndpointSlice, "e", Told::Set, 4)));
    let output = apply(&mut attach, vec![route("s")]);
    let number = output.needs.iter().find_map(|change| match change {
        NeedChange::Follow(Need::Service(key), number) if &*key.name == "s" => Some(*number),
        _ => None,
    });
    assert!(number.unwrap() > first);
    let output = apply(&mut attach, answer(number.unwrap(), Some(service(1)), vec![slice("e", 5)]));
    assert_eq!(written(&output), ["+local-e 10.0.0.5", "+local-s-80", "+local-r"]);
}
