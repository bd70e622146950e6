//! What serves on when the present form of an object can't: refused, untranslatable, or waiting for another object.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use foregate_api::address::ProxyRef;
use foregate_envoy::{ResourceKind, to_json};
use foregate_translate::{Change, Input, Key, ObjectRef, Options, Output, Translator};
use serde_json::{Value, json};
use support::world;

fn proxy_ref() -> ProxyRef {
    ProxyRef { namespace: "tenant-a".to_owned(), name: "proxy-0".to_owned() }
}

fn quarantine(uid: &str, generation: i64) -> Input {
    Input::Quarantine { uid: uid.into(), generation, message: "no".to_owned() }
}

/// A route with one rule for one path.
fn route(index: usize, path: &str, backend: &str, generation: i64) -> Input {
    let mut manifest = world::route(index, 0, [0, 0], generation);
    manifest["spec"]["rules"] = json!([{
        "matches": [{ "path": { "type": "Exact", "value": path } }],
        "backends": [{ "backend": backend, "weight": 1 }],
    }]);
    support::input(manifest)
}

/// What stands for the generation of a backend of port 80 in its owner.
fn owner(generation: i64, http2: bool) -> i64 {
    generation * 131_072 + 160 + i64::from(http2)
}

/// A gateway with one listener, `http-8080`, for every host.
fn gateway() -> Translator {
    let mut translator = Translator::new(Options::default());
    let backends = (0..2).map(|n| support::input(world::backend(n, 0)));
    translator.apply([support::input(world::proxy(0, 1, 1))].into_iter().chain(backends));
    translator
}

fn body(translator: &Translator, kind: ResourceKind, name: &str) -> Option<Value> {
    let resources = translator.resources(&proxy_ref());
    let resource = resources.into_iter().find(|resource| resource.id.kind == kind && &*resource.id.name == name)?;
    Some(to_json(kind, &resource.body).unwrap())
}

/// Paths and clusters (without the fingerprint) that the listener's virtual host serves, in order.
fn served(translator: &Translator) -> Vec<String> {
    let host = body(translator, ResourceKind::VirtualHost, "http-8080/*").unwrap();
    let routes = host["routes"].as_array().cloned().unwrap_or_default();
    let text = |route: &Value| {
        let cluster = route["route"]["cluster"].as_str().map_or("-", |name| name.split('/').next().unwrap());
        format!("{} {cluster}", route["match"]["path"].as_str().unwrap())
    };
    routes.iter().map(text).collect()
}

fn reports(output: &Output) -> Vec<String> {
    let report = |report: &foregate_translate::Report| {
        format!("{}@{}: {:?}", report.object, report.owner.generation, report.problem)
    };
    output.reports.iter().map(report).collect()
}

#[test]
fn a_refused_route_falls_back_to_its_last_good_generation() {
    let mut translator = gateway();
    translator.apply([route(0, "/one", "backend-0", 1), route(1, "/other", "backend-0", 1)]);
    translator.apply([route(0, "/two", "backend-0", 2)]);
    assert_eq!(served(&translator), ["/other backend-0", "/two backend-0"]);

    let output = translator.apply([quarantine("HTTPRoute-route-0", 2)]);
    assert_eq!(served(&translator), ["/other backend-0", "/one backend-0"]);
    let message = "GatewayRoute tenant-a/route-0@2: Some(\"the engine refused it: no\")";
    assert_eq!(reports(&output), [message]);
    assert!(translator.apply([quarantine("HTTPRoute-route-0", 2)]).deltas.is_empty(), "a second refusal is no news");

    // The same generation again, with something else resolved: still refused.
    translator.apply([route(0, "/two", "backend-1", 2)]);
    assert_eq!(served(&translator), ["/other backend-0", "/one backend-0"]);

    let output = translator.apply([route(0, "/six", "backend-0", 3)]);
    assert_eq!(served(&translator), ["/other backend-0", "/six backend-0"]);
    assert_eq!(reports(&output), ["GatewayRoute tenant-a/route-0@3: None"]);

    // What was refused is never the last good form.
    translator.apply([quarantine("HTTPRoute-route-0", 3)]);
    assert_eq!(served(&translator), ["/other backend-0", "/one backend-0"]);
}

#[test]
fn a_refused_route_without_a_past_is_left_out() {
    let mut translator = gateway();
    translator.apply([route(0, "/one", "backend-0", 1), route(1, "/other", "backend-0", 1)]);
    translator.apply([quarantine("HTTPRoute-route-0", 1)]);
    assert_eq!(served(&translator), ["/other backend-0"]);
    assert!(translator.problem(&ObjectRef { kind: "GatewayRoute", key: Key::new("tenant-a", "route-0") }).is_some());
}

#[test]
fn a_refusal_of_an_older_generation_is_ignored() {
    let mut translator = gateway();
    translator.apply([route(0, "/one", "backend-0", 1)]);
    translator.apply([route(0, "/two", "backend-0", 2)]);
    let output = translator.apply([quarantine("HTTPRoute-route-0", 1), quarantine("nobody", 1)]);
    assert!(output.deltas.is_empty() && output.reports.is_empty());
    assert_eq!(served(&translator), ["/two backend-0"]);
}

#[test]
fn an_untranslatable_route_leaves_its_last_good_form() {
    let mut translator = gateway();
    translator.apply([route(0, "/one", "backend-0", 1)]);
    let output = translator.apply([route(0, "two", "backend-1", 2)]);
    assert_eq!(served(&translator), ["/one backend-0"]);
    assert!(output.deltas.is_empty(), "nothing changed for the engine: {:?}", output.deltas);
    assert!(reports(&output)[0].contains("spec.rules[0].matches[0].path.value"), "{:?}", reports(&output));
    // A change of what it names reaches the last good form as well.
    translator.apply([support::input(world::backend(0, 1))]);
    assert_eq!(served(&translator), ["/one backend-0"]);
    let output = translator.apply([route(0, "/two", "backend-1", 3)]);
    assert_eq!(served(&translator), ["/two backend-1"]);
    assert_eq!(reports(&output), ["GatewayRoute tenant-a/route-0@3: None"]);
}

#[test]
fn a_route_waits_for_a_backend_that_is_on_its_way() {
    let mut translator = gateway();
    translator.apply([route(0, "/one", "backend-0", 1)]);
    translator.apply([route(0, "/one", "backend-3", 2)]);
    assert_eq!(served(&translator), ["/one backend-0"], "the old backend serves until the new one is here");
    translator.apply([support::input(world::backend(3, 0))]);
    assert_eq!(served(&translator), ["/one backend-3"]);
}

#[test]
fn a_new_route_waits_as_well() {
    let mut translator = gateway();
    translator.apply([route(0, "/one", "backend-3", 1)]);
    assert!(served(&translator).is_empty(), "not found rather than an error, until the backend is here");
    translator.apply([support::input(world::backend(3, 0))]);
    assert_eq!(served(&translator), ["/one backend-3"]);
}

/// A backend that lists slices of its Service.
fn backend_with(index: usize, slices: &[&str], generation: i64) -> Input {
    let mut manifest = world::backend(index, 0);
    manifest["metadata"]["generation"] = json!(generation);
    manifest["spec"]["endpointSlices"] = json!(slices);
    support::input(manifest)
}

fn gone(slice: &str) -> Input {
    Input::Slice(Change::Gone(Key::new("tenant-a", slice)))
}

/// Addresses that a backend's cluster has.
fn endpoints(translator: &Translator, backend: &str) -> usize {
    let resources = translator.resources(&proxy_ref());
    let found = resources.iter().find(|resource| {
        resource.id.kind == ResourceKind::ClusterLoadAssignment && resource.id.name.starts_with(backend)
    });
    let json = found.map(|resource| to_json(resource.id.kind, &resource.body).unwrap()).unwrap_or_default();
    json.pointer("/endpoints/0/lb_endpoints").and_then(Value::as_array).map_or(0, Vec::len)
}

#[test]
fn a_route_waits_for_the_endpoints_of_its_backend() {
    let mut translator = gateway();
    translator.apply([route(0, "/one", "backend-0", 1)]);
    translator.apply([route(0, "/one", "backend-3", 2), backend_with(3, &["slice-3"], 1)]);
    assert_eq!(served(&translator), ["/one backend-0"], "backend 3 has nobody yet");
    translator.apply([support::input(world::slice(3, 2))]);
    assert_eq!(served(&translator), ["/one backend-3"]);
    assert_eq!(endpoints(&translator, "backend-3"), 2);
}

#[test]
fn endpoints_stay_until_their_successors_are_here() {
    let mut translator = gateway();
    let first =
        [backend_with(3, &["slice-3"], 1), support::input(world::slice(3, 2)), route(0, "/one", "backend-3", 1)];
    translator.apply(first);
    translator.apply([gone("slice-3")]);
    assert_eq!(endpoints(&translator, "backend-3"), 2, "the backend lists it still");
    translator.apply([backend_with(3, &["slice-7"], 2)]);
    assert_eq!(endpoints(&translator, "backend-3"), 2, "its successor isn't here");
    translator.apply([support::input(world::slice(7, 1))]);
    assert_eq!(endpoints(&translator, "backend-3"), 1);
    translator.apply([backend_with(3, &[], 3), gone("slice-7")]);
    assert_eq!(endpoints(&translator, "backend-3"), 0, "the user's last word");
}

#[test]
fn a_backend_that_is_gone_serves_until_its_route_has_moved() {
    let mut translator = gateway();
    translator.apply([route(0, "/one", "backend-0", 1)]);
    let gone = Input::Backend(Change::Gone(Key::new("tenant-a", "backend-0")));
    let output = translator.apply([gone]);
    assert!(output.deltas.is_empty());
    let output = translator.apply([route(0, "/one", "backend-1", 2)]);
    assert_eq!(served(&translator), ["/one backend-1"]);
    let removed: Vec<String> = output.deltas[&proxy_ref()].remove.iter().map(|id| format!("{id:?}")).collect();
    assert_eq!(removed.len(), 2, "its cluster and its endpoints: {removed:?}");
    // It is forgotten: a route that names it again finds nothing, and keeps what it has.
    translator.apply([route(0, "/one", "backend-0", 3)]);
    assert_eq!(served(&translator), ["/one backend-1"]);
}

#[test]
fn a_refused_backend_falls_back_to_its_last_good_form() {
    let mut translator = gateway();
    translator.apply([route(0, "/one", "backend-0", 1)]);
    let before: Vec<String> = translator.resources(&proxy_ref()).iter().map(|it| format!("{:?}", it.id)).collect();
    let mut h2c = world::backend(0, 1);
    h2c["metadata"]["generation"] = json!(2);
    translator.apply([support::input(h2c)]);
    let after: Vec<String> = translator.resources(&proxy_ref()).iter().map(|it| format!("{:?}", it.id)).collect();
    assert_ne!(after, before, "another policy is another cluster");
    let output = translator.apply([quarantine("Service-backend-0", owner(2, true))]);
    let back: Vec<String> = translator.resources(&proxy_ref()).iter().map(|it| format!("{:?}", it.id)).collect();
    assert_eq!(back, before);
    assert_eq!(reports(&output), ["GatewayBackend tenant-a/backend-0@262305: Some(\"the engine refused it: no\")"]);
}

#[test]
fn a_refused_backend_without_a_past_answers_500() {
    let mut translator = gateway();
    translator.apply([support::input(world::backend(3, 1)), route(0, "/one", "backend-3", 1)]);
    translator.apply([quarantine("Service-backend-3", owner(1, true))]);
    assert_eq!(served(&translator), ["/one -"]);
}

#[test]
fn another_port_of_a_refused_service_serves_on() {
    let mut translator = gateway();
    let mut other = world::backend(3, 0);
    other["spec"]["origin"]["uid"] = json!("Service-backend-0");
    other["spec"]["port"] = json!(81);
    translator.apply([support::input(other), route(0, "/a", "backend-0", 1), route(1, "/b", "backend-3", 1)]);
    translator.apply([quarantine("Service-backend-0", owner(0, false))]);
    assert_eq!(served(&translator), ["/a -", "/b backend-3"]);
}

#[test]
fn a_refused_certificate_falls_back_to_the_one_before() {
    let mut translator = Translator::new(Options::default());
    translator.apply([support::input(world::proxy(0, 4, 1)), support::input(world::secret(0))]);
    let good = body(&translator, ResourceKind::Secret, "tenant-a/certificate").unwrap();
    translator.apply([support::input(world::secret(1))]);
    let bad = translator.resources(&proxy_ref()).into_iter().find(|it| it.id.kind == ResourceKind::Secret).unwrap();
    let generation = bad.owners[0].generation;
    translator.apply([quarantine("Secret-certificate", generation)]);
    assert_eq!(body(&translator, ResourceKind::Secret, "tenant-a/certificate").unwrap(), good);
    assert!(body(&translator, ResourceKind::Listener, "https-8443").is_some());
}

#[test]
fn an_unusable_certificate_takes_its_chain_only_when_it_is_the_first() {
    let mut translator = Translator::new(Options::default());
    let unusable = json!({ "kind": "Secret", "apiVersion": "v1",
        "metadata": { "namespace": "tenant-a", "name": "certificate" }, "data": { "tls.crt": "QUJD" } });
    translator.apply([support::input(world::proxy(0, 5, 1)), support::input(unusable.clone())]);
    assert!(body(&translator, ResourceKind::Listener, "https-8443").is_none());
    assert!(body(&translator, ResourceKind::Listener, "http-8080").is_some(), "the other port serves");
    translator.apply([support::input(world::secret(0))]);
    assert!(body(&translator, ResourceKind::Listener, "https-8443").is_some(), "missing references heal");
    let output = translator.apply([support::input(unusable)]);
    assert!(body(&translator, ResourceKind::Listener, "https-8443").is_some());
    assert!(reports(&output).iter().any(|report| report.starts_with("Secret")), "{:?}", reports(&output));
}

/// A gateway whose template has another listener text.
fn templated(text: &str, generation: i64) -> Input {
    let mut manifest = world::proxy(0, 1, generation);
    manifest["spec"]["template"]["envoy"]["listener"] = json!(text);
    support::input(manifest)
}

#[test]
fn a_template_that_fails_leaves_the_last_good_listener() {
    let mut translator = Translator::new(Options::default());
    translator.apply([templated("{ name: '{{ .listener.name }}', stat_prefix: good }", 1)]);
    for (generation, bad) in
        [(2, "{{ if }}"), (3, "{ name: '{{ .nothing }}' }"), (4, "{ name: a, b: c }"), (5, "name: other")]
    {
        let output = translator.apply([templated(bad, generation)]);
        assert_eq!(body(&translator, ResourceKind::Listener, "http-8080").unwrap()["stat_prefix"], "good", "{bad}");
        let problem = format!("{:?}", reports(&output));
        assert!(problem.contains("spec.template.envoy.listener"), "{problem}");
    }
    let output = translator.apply([templated("{ name: '{{ .listener.name }}', stat_prefix: better }", 6)]);
    assert_eq!(body(&translator, ResourceKind::Listener, "http-8080").unwrap()["stat_prefix"], "better");
    assert_eq!(reports(&output), ["GatewayProxy tenant-a/proxy-0@6: None"]);
}

#[test]
fn a_refused_template_falls_back_to_the_one_before() {
    let mut translator = Translator::new(Options::default());
    translator.apply([templated("{ name: '{{ .listener.name }}', stat_prefix: good }", 1)]);
    translator.apply([templated("{ name: '{{ .listener.name }}', stat_prefix: bad }", 2)]);
    let output = translator.apply([quarantine("uid-proxy-0", 2)]);
    assert_eq!(body(&translator, ResourceKind::Listener, "http-8080").unwrap()["stat_prefix"], "good");
    assert_eq!(reports(&output), ["GatewayProxy tenant-a/proxy-0@2: Some(\"the engine refused it: no\")"]);
}

#[test]
fn a_refused_listener_without_a_past_does_not_stop_routes() {
    let mut translator = gateway();
    let output = translator.apply([quarantine("uid-proxy-0", 1)]);
    assert!(output.deltas.is_empty());
    assert_eq!(reports(&output), ["GatewayProxy tenant-a/proxy-0@1: Some(\"the engine refused it: no\")"]);
    translator.apply([route(0, "/one", "backend-0", 1)]);
    assert_eq!(served(&translator), ["/one backend-0"]);
    // Another listener of the same template, too.
    translator.apply([support::input(world::proxy(0, 5, 1)), support::input(world::secret(0))]);
    assert!(body(&translator, ResourceKind::Listener, "https-8443").is_some());
}

#[test]
fn a_patch_that_fails_leaves_what_was_there() {
    let patched = |patch: &str, generation: i64| {
        let mut manifest = world::proxy(0, 1, generation);
        manifest["spec"]["template"]["envoy"]["routePatch"] = json!(patch);
        support::input(manifest)
    };
    let prefix = |translator: &Translator| {
        body(translator, ResourceKind::VirtualHost, "http-8080/*").unwrap()["routes"][0]["stat_prefix"].clone()
    };
    let mut translator = gateway();
    translator.apply([route(0, "/one", "backend-0", 1), patched("stat_prefix: one", 2)]);
    assert_eq!(prefix(&translator), "one");
    for (generation, bad) in [(3, "stat_prefix: {{ .none }}"), (4, "unknown: 1"), (5, "route: { priority: 77 }")] {
        let output = translator.apply([patched(bad, generation)]);
        assert_eq!(prefix(&translator), "one", "{bad}");
        let problem = format!("{:?}", reports(&output));
        assert!(problem.contains("GatewayProxy") && problem.contains("spec.template.envoy.routePatch"), "{problem}");
        assert!(!problem.contains("GatewayRoute tenant-a/route-0@"), "it isn't the route's fault: {problem}");
    }
    translator.apply([patched("stat_prefix: two", 6)]);
    assert_eq!(prefix(&translator), "two");
    assert_eq!(translator.problem(&ObjectRef { kind: "GatewayProxy", key: Key::new("tenant-a", "proxy-0") }), None);
}

#[test]
fn a_listener_never_changes_because_a_route_or_a_backend_changed() {
    let mut translator = gateway();
    for generation in 1..4 {
        let inputs = [
            route(0, &format!("/{generation}"), "backend-0", generation),
            support::input(world::backend(0, u8::try_from(generation).unwrap())),
            support::input(world::slice(0, u8::try_from(generation).unwrap())),
        ];
        let output = translator.apply(inputs);
        let delta = &output.deltas[&proxy_ref()];
        assert!(delta.set.iter().all(|it| it.id.kind != ResourceKind::Listener));
        assert!(delta.set.iter().all(|it| it.id.kind != ResourceKind::RouteConfiguration));
    }
}

#[test]
fn causes_and_changes_are_for_the_revision() {
    let mut translator = gateway();
    let output = translator.apply([route(0, "/one", "backend-0", 1), support::input(world::slice(0, 3))]);
    let causes: Vec<String> = output.causes[&proxy_ref()].iter().map(|origin| origin.display()).collect();
    assert_eq!(causes, ["HTTPRoute shop/route-0"]);
    let changes = |output: &Output| -> Vec<String> {
        output.changes[&proxy_ref()].iter().map(|it| format!("{:?} {}", it.id.kind, it.old.is_some())).collect()
    };
    assert_eq!(changes(&output), ["Cluster false", "VirtualHost true"]);
    let output = translator.apply([support::input(world::slice(0, 1))]);
    assert!(output.changes[&proxy_ref()].is_empty() && output.causes[&proxy_ref()].is_empty());
    assert_eq!(output.deltas[&proxy_ref()].set.len(), 1, "endpoints and nothing else");
    // Another generation with equal content: the refusal of a later NACK needs it, the revision doesn't.
    let output = translator.apply([route(0, "/one", "backend-0", 2)]);
    assert_eq!(output.deltas[&proxy_ref()].set.len(), 1);
    assert!(output.changes[&proxy_ref()].is_empty());
}

#[test]
fn other_host_names_stay_in_their_cluster() {
    let mut translator = gateway();
    let named = |hostname: &str| {
        let mut backend = world::backend(0, 0);
        let address = json!({ "fqdn": { "hostname": hostname, "port": 80 } });
        backend["spec"]["endpoints"] = json!([{ "address": address, "hostname": hostname }]);
        support::input(backend)
    };
    translator.apply([named("a.example.com"), route(0, "/one", "backend-0", 1)]);
    let output = translator.apply([named("b.example.com")]);
    let changed: Vec<String> = output.deltas[&proxy_ref()].set.iter().map(|it| format!("{:?}", it.id)).collect();
    assert_eq!(changed.len(), 1, "the cluster alone, under its name: {changed:?}");
    assert!(changed[0].starts_with("Cluster backend-0/"), "{changed:?}");
    assert!(output.deltas[&proxy_ref()].remove.is_empty());
}
