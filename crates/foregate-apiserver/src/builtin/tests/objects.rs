use serde_json::{Value, json};

use super::{created, kind, row};

fn meta(name: &str) -> Value {
    json!({"name": name, "namespace": "n", "creationTimestamp": "2026-01-01T00:00:00Z"})
}

#[test]
fn namespaces() {
    let (namespace, errors) = created(kind("", "namespaces"), json!({"metadata": {"name": "x"}}));
    assert_eq!(errors, [""; 0]);
    assert_eq!(
        namespace,
        json!({"metadata": {"name": "x", "labels": {"kubernetes.io/metadata.name": "x"}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
    );
    assert_eq!(row(kind("", "namespaces"), &namespace), ["x", "Active", "<unknown>"]);
}

#[test]
fn secrets() {
    let secrets = kind("", "secrets");
    let (secret, errors) =
        created(secrets, json!({"metadata": meta("s"), "stringData": {"a": "x"}, "data": {"b": "eQ=="}}));
    assert_eq!(errors, [""; 0]);
    assert_eq!(secret["data"], json!({"a": "eA==", "b": "eQ=="}));
    assert_eq!((secret["type"].as_str(), secret.get("stringData")), (Some("Opaque"), None));
    assert_eq!(row(secrets, &secret), ["s", "Opaque", "2", "5m"]);
    let refused = |object: Value| created(secrets, object).1;
    let tls = refused(json!({"metadata": meta("s"), "type": "kubernetes.io/tls", "data": {"tls.crt": ""}}));
    assert_eq!(tls, ["data[tls.key]: Required value"]);
    let plain = refused(json!({"metadata": meta("s"), "data": {"a": "not base64!"}}));
    assert!(plain.iter().all(|error| !error.contains("not base64!")), "a secret's value shows: {plain:?}");
    assert!(!plain.is_empty());
    assert_eq!(refused(json!({"metadata": meta("s"), "data": {"a/b": ""}})).len(), 1);
    assert_eq!(
        refused(json!({"metadata": meta("s"), "data": {"a": "QUFB".repeat(400_000)}}))[0],
        "data: Too long: may not be more than 1048576 bytes"
    );
}

#[test]
fn immutable_ones_stay() {
    for (plural, data) in [("secrets", "eA=="), ("configmaps", "x")] {
        let old = json!({"type": "Opaque", "immutable": true, "data": {"a": data}});
        let change = |edit: fn(&mut Value)| {
            let mut new = old.clone();
            edit(&mut new);
            kind("", plural).validate(&new, Some(&old)).iter().map(|error| error.field.clone()).collect::<Vec<_>>()
        };
        assert!(change(|_| ()).is_empty());
        assert_eq!(change(|new| new["immutable"] = false.into()), ["immutable"]);
        assert_eq!(change(|new| new["data"] = json!({"b": "eA=="})), ["data"]);
    }
    let (old, new) = (json!({"type": "Opaque"}), json!({"type": "other"}));
    assert_eq!(kind("", "secrets").validate(&new, Some(&old))[0].field, "type");
}

#[test]
fn services() {
    let services = kind("", "services");
    let (service, errors) = created(
        services,
        json!({"metadata": meta("s"), "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}, {"port": 443, "name": "https", "targetPort": "tls"}]}}),
    );
    assert_eq!(errors, ["spec.ports[0].name: Required value"]);
    let mut service = service;
    service["spec"]["ports"][0]["name"] = "http".into();
    assert_eq!(
        service["spec"],
        json!({
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "selector": {"a": "b"},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80},
                      {"name": "https", "port": 443, "protocol": "TCP", "targetPort": "tls"}],
        })
    );
    assert_eq!(row(services, &service), ["s", "ClusterIP", "<none>", "<none>", "80/TCP,443/TCP", "5m", "a=b"]);
    let (headless, errors) = created(services, json!({"metadata": meta("s"), "spec": {"clusterIP": "None"}}));
    assert_eq!((errors, &headless["spec"]["clusterIPs"]), (vec![], &json!(["None"])));
    let balancer = json!({"spec": {"type": "LoadBalancer", "ports": []}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    assert_eq!(row(services, &balancer)[3], "192.0.2.1");
    let bad = json!({"metadata": meta("s"), "spec": {"type": "Odd", "sessionAffinity": "Odd", "clusterIP": "odd",
        "ports": [{"port": 0, "protocol": "ICMP", "targetPort": 70000}]}});
    let fields: Vec<String> =
        created(services, bad).1.iter().map(|error| error.split(':').next().unwrap().to_string()).collect();
    assert_eq!(
        fields,
        [
            "spec.type",
            "spec.sessionAffinity",
            "spec.clusterIP",
            "spec.ports[0].port",
            "spec.ports[0].protocol",
            "spec.ports[0].targetPort"
        ]
    );
}

#[test]
fn endpoint_slices() {
    let slices = kind("discovery.k8s.io", "endpointslices");
    let (slice, errors) = created(
        slices,
        json!({"metadata": meta("s"), "addressType": "IPv4", "ports": [{"port": 8080}],
            "endpoints": [{"addresses": ["127.0.0.1"]}, {"addresses": ["10.0.0.1"], "conditions": {"ready": false}}]}),
    );
    assert_eq!(errors, [""; 0], "loopback is fine here");
    assert_eq!(slice["ports"], json!([{"name": "", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(slice["endpoints"][0]["conditions"], json!({"ready": true, "serving": true, "terminating": false}));
    assert_eq!(slice["endpoints"][1]["conditions"], json!({"ready": false, "serving": false, "terminating": false}));
    assert_eq!(row(slices, &slice), ["s", "IPv4", "8080", "127.0.0.1,10.0.0.1", "5m"]);
    let refused = |object: Value| created(slices, object).1;
    assert_eq!(
        refused(
            json!({"metadata": meta("s"), "addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}, {"addresses": []}]})
        ),
        [
            "endpoints[0].addresses[0]: Invalid value: \"::1\": must be a valid IPv4 address",
            "endpoints[1].addresses: Required value: must contain at least 1 address",
        ]
    );
    let old = json!({"addressType": "IPv6"});
    assert_eq!(slices.validate(&json!({"addressType": "IPv4"}), Some(&old))[0].field, "addressType");
}

#[test]
fn access_control() {
    let group = "rbac.authorization.k8s.io";
    let bindings = kind(group, "rolebindings");
    let (binding, errors) = created(
        bindings,
        json!({"metadata": meta("b"), "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}),
    );
    assert_eq!(errors, [""; 0]);
    assert_eq!((&binding["roleRef"]["apiGroup"], &binding["subjects"][0]["apiGroup"]), (&json!(group), &json!(group)));
    assert_eq!(row(bindings, &binding), ["b", "Role/r", "5m", "u", "", "s"]);
    let mut other = binding.clone();
    other["roleRef"]["name"] = "x".into();
    assert_eq!(
        bindings.validate(&other, Some(&binding))[0].to_string(),
        "roleRef: Invalid value: \"object\": cannot change roleRef"
    );
    let (_, errors) =
        created(kind(group, "clusterroles"), json!({"metadata": {"name": "r"}, "rules": [{"resources": ["x"]}]}));
    assert!(errors.iter().any(|error| error.starts_with("rules[0].verbs: Required value")), "{errors:?}");
}

#[test]
fn definitions_and_events() {
    let definitions = kind("apiextensions.k8s.io", "customresourcedefinitions");
    let crd = json!({"metadata": {"name": "things.example.org"}, "spec": {
        "group": "example.org", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "additionalProperties": {"type": "string"}, "x-kubernetes-validations": [{"rule": "true"}]}}}}}],
    }});
    let (crd, errors) = created(definitions, crd);
    assert_eq!(errors, [""; 0]);
    assert_eq!(
        crd["spec"]["names"],
        json!({"plural": "things", "kind": "Thing", "singular": "thing", "listKind": "ThingList"})
    );
    let mut typo = crd.clone();
    typo["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["list"] =
        json!({"type": "array", "items": {"tpye": "string"}});
    let (_, errors) = created(definitions, typo);
    assert_eq!(errors, ["unknown field \"spec.versions[0].schema.openAPIV3Schema.properties.list.items.tpye\""]);
    let event = json!({"metadata": meta("e"), "type": "Normal", "reason": "R", "message": " m\n", "count": 3,
        "involvedObject": {"kind": "Gateway", "name": "g"}, "source": {"component": "c"}, "lastTimestamp": "2026-01-01T00:04:00Z"});
    let cells = row(kind("", "events"), &event);
    assert_eq!(cells, ["60s", "Normal", "R", "gateway/g", "", "c", "m", "<unknown>", "3", "e"]);
}
