//! Connections and datagrams: which route gets them, and what serves on when its present form can't.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use foregate_api::address::ProxyRef;
use foregate_envoy::{ResourceKind, to_json};
use foregate_translate::{Change, Input, Key, Options, Translator};
use serde_json::{Value, json};
use support::world;

/// Claim `claim-0` has `l1` and TCP at 9000 (`l4`), HTTP and UDP (`l0`, `l5`), HTTPS and TLS at 8443 (`l2`, `l3`).
fn gateway() -> Translator {
    let mut translator = Translator::new(Options::default());
    let backends = (0..2).map(|n| support::input(world::backend(n, 0)));
    let others = [support::input(world::proxy(0, 7, 1)), support::input(world::secret(0))];
    translator.apply(others.into_iter().chain(backends));
    translator
}

/// A route of one protocol at one listener, for one host name.
fn route(name: &str, created: u32, at: (&str, &str), hostname: (&str, &str), backend: &str, generation: i64) -> Input {
    let (protocol, listener) = at;
    let mut manifest = world::route(3, 0, [0, 0], generation);
    manifest["metadata"]["name"] = json!(name);
    let spec = &mut manifest["spec"];
    spec["origin"]["name"] = json!(name);
    spec["origin"]["uid"] = json!(format!("uid-{name}"));
    spec["origin"]["creationTimestamp"] = json!(format!("2026-01-01T00:00:{created:02}Z"));
    spec["protocol"] = json!(protocol);
    spec["attachments"] = json!([{ "claim": "claim-0", "listener": listener,
                                   "hostnames": [{ "effective": hostname.0, "original": hostname.1 }] }]);
    spec["rules"] = json!([{ "backends": [{ "backend": backend, "weight": 1 }] }]);
    support::input(manifest)
}

fn listener(translator: &Translator, name: &str) -> Value {
    let proxy = ProxyRef { namespace: "tenant-a".to_owned(), name: "proxy-0".to_owned() };
    let resources = translator.resources(&proxy);
    let found = resources.into_iter().find(|it| it.id.kind == ResourceKind::Listener && &*it.id.name == name).unwrap();
    to_json(ResourceKind::Listener, &found.body).unwrap()
}

/// Server names and clusters (without the fingerprint) of a listener's chains that carry connections.
fn chains(translator: &Translator, name: &str) -> Vec<String> {
    let listener = listener(translator, name);
    let chains = listener["filter_chains"].as_array().unwrap().iter().filter_map(|chain| {
        let cluster = chain["filters"][0]["typed_config"]["cluster"].as_str()?.split('/').next()?.to_owned();
        let server = chain["filter_chain_match"]["server_names"][0].as_str().unwrap_or("-").to_owned();
        Some(format!("{server} {cluster}"))
    });
    chains.collect()
}

const TLS: (&str, &str) = ("TLS", "l3");
const TCP: (&str, &str) = ("TCP", "l4");

#[test]
fn the_more_specific_host_name_of_its_own_has_it_then_the_oldest() {
    let mut translator = gateway();
    assert_eq!(chains(&translator, "https-8443"), ["*.example.com foregate-unresolved"]);
    let name = "a.example.com";
    translator.apply([route("old", 1, TLS, (name, "*.example.com"), "backend-0", 1)]);
    let served = ["*.example.com foregate-unresolved", "a.example.com backend-0"];
    assert_eq!(chains(&translator, "https-8443"), served);
    translator.apply([route("young", 2, TLS, (name, "*.example.com"), "backend-1", 1)]);
    assert_eq!(chains(&translator, "https-8443"), served, "the oldest has it");
    translator.apply([route("exact", 3, TLS, (name, name), "backend-1", 1)]);
    assert_eq!(chains(&translator, "https-8443")[1], "a.example.com backend-1", "an exact name goes before age");
    for gone in ["exact", "old"] {
        translator.apply([Input::Route(Change::Gone(Key::new("tenant-a", gone)))]);
    }
    assert_eq!(chains(&translator, "https-8443")[1], "a.example.com backend-1", "the next one follows");
}

#[test]
fn host_names_belong_to_the_listener_with_the_most_specific_one() {
    let mut translator = gateway();
    // Nothing that names this listener may take what `*.example.com` has.
    translator.apply([
        route("other", 1, ("TLS", "l2"), ("a.example.com", "a.example.com"), "backend-0", 1),
        route("outside", 1, TLS, ("a.example.org", "a.example.org"), "backend-0", 1),
        route("bytes", 1, ("TCP", "l3"), ("*", "*"), "backend-1", 1),
        route("datagrams", 1, ("UDP", "l4"), ("*", "*"), "backend-0", 1),
    ]);
    assert_eq!(chains(&translator, "https-8443"), ["*.example.com backend-1"], "bytes without a name: all of them");
    assert_eq!(chains(&translator, "tcp-9000"), ["- foregate-unresolved"]);
}

#[test]
fn a_refused_route_falls_back_to_its_last_good_form() {
    let mut translator = gateway();
    translator.apply([route("web", 1, TCP, ("*", "*"), "backend-0", 1)]);
    translator.apply([route("web", 1, TCP, ("*", "*"), "backend-1", 2)]);
    assert_eq!(chains(&translator, "tcp-9000"), ["- backend-1"]);
    translator.apply([Input::Quarantine { uid: "uid-web".into(), generation: 2, message: "no".to_owned() }]);
    assert_eq!(chains(&translator, "tcp-9000"), ["- backend-0"]);
    translator.apply([route("web", 1, TCP, ("*", "*"), "backend-1", 3)]);
    assert_eq!(chains(&translator, "tcp-9000"), ["- backend-1"], "its next generation is tried");
}

#[test]
fn a_route_is_moved_once_its_backend_is_there() {
    let mut translator = gateway();
    translator.apply([route("web", 1, TCP, ("*", "*"), "backend-0", 1)]);
    translator.apply([route("web", 1, TCP, ("*", "*"), "backend-3", 2)]);
    assert_eq!(chains(&translator, "tcp-9000"), ["- backend-0"]);
    translator.apply([support::input(world::backend(3, 0))]);
    assert_eq!(chains(&translator, "tcp-9000"), ["- backend-3"]);
}

#[test]
fn rules_matches_and_filters_are_for_requests() {
    let mut translator = gateway();
    for (rules, field) in [
        (json!([{ "backends": [] }, { "backends": [] }]), "spec.rules[1]: "),
        (json!([{ "matches": [{}] }]), "spec.rules[0].matches: "),
        (json!([{ "filters": [{ "rewrite": {} }] }]), "spec.rules[0].filters: "),
    ] {
        let Input::Route(Change::Set(manifest)) = route("bad", 1, TCP, ("*", "*"), "backend-0", 1) else { panic!() };
        let mut manifest = (*manifest).clone();
        manifest.spec.rules = serde_json::from_value(rules).unwrap();
        let output = translator.apply([Input::Route(Change::Set(manifest.into()))]);
        let problem = output.reports.iter().find_map(|report| report.problem.clone());
        assert!(problem.as_deref().is_some_and(|problem| problem.starts_with(field)), "{problem:?}");
    }
    let output = translator.apply([route("odd", 1, TLS, ("a*b.example.com", "*"), "backend-0", 1)]);
    let problem = output.reports.iter().find_map(|report| report.problem.clone());
    assert!(problem.is_some_and(|problem| problem.contains("isn't a server name")));
}
