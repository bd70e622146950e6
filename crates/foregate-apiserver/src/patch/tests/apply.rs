use serde_json::{Value, json};

use super::super::managed::{self, ApplyError, Writer};
use super::{apply, conflicts, object, owners, schema, writer};
use crate::builtin::find;

#[test]
fn apply_creates_and_owns_what_it_says() {
    let schema = schema();
    let new = apply(
        &schema,
        "one",
        None,
        json!({"replicas": 1, "listeners": [{"name": "a", "port": 80}], "hosts": ["x"], "nested": {}}),
    )
    .unwrap();
    assert_eq!(
        new["metadata"]["managedFields"],
        json!([{
            "manager": "one", "operation": "Apply", "apiVersion": "example.org/v1", "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {
                "f:replicas": {}, "f:hosts": {"v:\"x\"": {}}, "f:nested": {},
                "f:listeners": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:port": {}}},
            }},
        }])
    );
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let schema = schema();
    let spec = json!({"replicas": 1, "rules": [{"x": 1}], "listeners": [{"name": "a"}], "free": {"deep": {"x": [1]}}});
    let live = apply(&schema, "one", None, spec.clone()).unwrap();
    let later = Writer { now: "2030-01-01T00:00:00Z", ..writer(&schema, "one") };
    assert_eq!(managed::apply(&later, Some(&live), &object(spec), false).unwrap(), live);
}

/// (first's spec, second's spec, the merged spec).
#[test]
fn two_managers_share_an_object() {
    let schema = schema();
    let table = [
        (json!({"replicas": 1}), json!({"class": "c"}), json!({"replicas": 1, "class": "c"})),
        (json!({"hosts": ["a", "b"]}), json!({"hosts": ["c", "b"]}), json!({"hosts": ["a", "c", "b"]})),
        (
            json!({"listeners": [{"name": "a", "port": 1}]}),
            json!({"listeners": [{"name": "b", "port": 2}]}),
            json!({"listeners": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}),
        ),
        (
            json!({"listeners": [{"name": "a", "port": 1}]}),
            json!({"listeners": [{"name": "a", "tls": {"mode": "T"}}]}),
            json!({"listeners": [{"name": "a", "port": 1, "tls": {"mode": "T"}}]}),
        ),
        (json!({"selector": {"a": "1"}}), json!({"selector": {"b": "2"}}), json!({"selector": {"a": "1", "b": "2"}})),
        (json!({"free": {"a": {"x": 1}}}), json!({"free": {"a": {"y": 1}}}), json!({"free": {"a": {"x": 1, "y": 1}}})),
        (json!({"rules": [1]}), json!({"rules": [1]}), json!({"rules": [1]})),
    ];
    for (first, second, expected) in table {
        let live = apply(&schema, "one", None, first.clone()).unwrap();
        let both = apply(&schema, "two", Some(&live), second.clone()).unwrap();
        assert_eq!(both["spec"], expected, "{first} {second}");
    }
}

/// (first's spec, second's spec, the message).
#[test]
fn conflicts_name_field_and_holder() {
    let schema = schema();
    let table = [
        (
            json!({"replicas": 1}),
            json!({"replicas": 2}),
            "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas",
        ),
        (
            json!({"rules": [1]}),
            json!({"rules": [2]}),
            "Apply failed with 1 conflict: conflict with \"one\": .spec.rules",
        ),
        (
            json!({"whole": {"a": "1"}}),
            json!({"whole": {"b": "1"}}),
            "Apply failed with 1 conflict: conflict with \"one\": .spec.whole",
        ),
        (
            json!({"listeners": [{"name": "a", "port": 1}]}),
            json!({"listeners": [{"name": "a", "port": 2}]}),
            "Apply failed with 1 conflict: conflict with \"one\": .spec.listeners[name=\"a\"].port",
        ),
        (
            json!({"replicas": 1, "selector": {"a": "1"}}),
            json!({"replicas": 2, "selector": {"a": "2"}}),
            "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.replicas\n- .spec.selector.a",
        ),
    ];
    for (first, second, message) in table {
        let live = apply(&schema, "one", None, first).unwrap();
        assert_eq!(conflicts(apply(&schema, "two", Some(&live), second.clone())), message);
        let forced = managed::apply(&writer(&schema, "two"), Some(&live), &object(second), true).unwrap();
        assert_eq!(owners(&forced)["one"]["f:spec"]["f:replicas"], Value::Null);
    }
}

#[test]
fn force_takes_over_and_the_former_owner_is_gone() {
    let schema = schema();
    let live = apply(&schema, "one", None, json!({"replicas": 1, "class": "c"})).unwrap();
    let forced = managed::apply(&writer(&schema, "two"), Some(&live), &object(json!({"replicas": 2})), true).unwrap();
    assert_eq!(forced["spec"], json!({"replicas": 2, "class": "c"}));
    assert_eq!(owners(&forced), json!({"one": {"f:spec": {"f:class": {}}}, "two": {"f:spec": {"f:replicas": {}}}}));
}

/// (first apply, fields of nobody added to the live spec, second apply, the spec then).
#[test]
fn fields_that_are_applied_no_more_go() {
    let schema = schema();
    let table = [
        (json!({"replicas": 1, "class": "c"}), json!({}), json!({"class": "c"}), json!({"class": "c"})),
        (
            json!({"nested": {"a": "1", "b": "2"}}),
            json!({}),
            json!({"nested": {"a": "1"}}),
            json!({"nested": {"a": "1"}}),
        ),
        (json!({"class": "c", "nested": {"a": "1"}}), json!({}), json!({"class": "c"}), json!({"class": "c"})),
        (
            json!({"class": "c", "nested": {"a": "1"}}),
            json!({"nested": {"a": "1", "b": "default"}}),
            json!({"class": "c"}),
            json!({"class": "c", "nested": {"b": "default"}}),
        ),
        (
            json!({"listeners": [{"name": "a", "port": 1}, {"name": "b"}]}),
            json!({}),
            json!({"listeners": [{"name": "b"}]}),
            json!({"listeners": [{"name": "b"}]}),
        ),
        (
            json!({"class": "c", "listeners": [{"name": "a"}]}),
            json!({"listeners": [{"name": "a", "port": 9}]}),
            json!({"class": "c"}),
            json!({"class": "c"}),
        ),
        (json!({"hosts": ["a", "b"]}), json!({}), json!({"hosts": ["b"]}), json!({"hosts": ["b"]})),
        (
            json!({"selector": {"a": "1", "b": "2"}}),
            json!({}),
            json!({"selector": {"b": "2"}}),
            json!({"selector": {"b": "2"}}),
        ),
        (json!({"class": "c", "rules": [1]}), json!({}), json!({"class": "c"}), json!({"class": "c"})),
        (json!({"free": {"a": {"b": 1}, "c": 1}}), json!({}), json!({"free": {"c": 1}}), json!({"free": {"c": 1}})),
    ];
    for (first, others, second, expected) in table {
        let mut live = apply(&schema, "one", None, first.clone()).unwrap();
        for (name, value) in others.as_object().unwrap() {
            live["spec"][name] = value.clone();
        }
        let new = apply(&schema, "one", Some(&live), second.clone()).unwrap();
        assert_eq!(new["spec"], expected, "{first} → {second}");
    }
}

#[test]
fn what_another_manager_also_owns_stays() {
    let schema = schema();
    let spec = json!({"replicas": 1, "listeners": [{"name": "a", "port": 1}]});
    let live = apply(&schema, "one", None, spec.clone()).unwrap();
    let live = apply(&schema, "two", Some(&live), spec.clone()).unwrap();
    let live = apply(&schema, "one", Some(&live), json!({})).unwrap();
    assert_eq!(live["spec"], spec);
    assert_eq!(owners(&live)["one"], json!({"f:spec": {}}));
    let live = apply(&schema, "two", Some(&live), json!({"replicas": 1})).unwrap();
    assert_eq!(live["spec"], json!({"replicas": 1}));
}

/// Built-in kinds: list keys with defaults, and defaults that no schema has.
#[test]
fn built_in_kinds_apply_too() {
    let service = json!({"metadata": {"name": "s", "namespace": "n"}, "spec": {"ports": [{"port": 80}, {"port": 80, "protocol": "UDP"}]}});
    let binding = json!({"metadata": {"name": "b", "namespace": "n"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]});
    let secret = json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"a": "eA=="}});
    for (group, plural, mut applied) in
        [("", "services", service), ("rbac.authorization.k8s.io", "rolebindings", binding), ("", "secrets", secret)]
    {
        let kind = find(group, "v1", plural).unwrap();
        let schema = kind.schema().unwrap();
        applied["apiVersion"] = format!("{group}/v1").trim_start_matches('/').into();
        applied["kind"] = kind.kind.into();
        let writer = writer(schema, "one");
        let live = managed::apply(&writer, None, &applied, false).unwrap();
        let later = Writer { now: "2030-01-01T00:00:00Z", ..writer };
        assert_eq!(managed::apply(&later, Some(&live), &applied, false).unwrap(), live, "{plural}");
        // Another manager that says the same becomes an owner without a conflict.
        assert!(managed::apply(&Writer { manager: "two", ..later }, Some(&live), &applied, false).is_ok(), "{plural}");
        if plural == "services" {
            let ports = &owners(&live)["one"]["f:spec"]["f:ports"];
            let keys: Vec<&String> = ports.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["k:{\"port\":80,\"protocol\":\"TCP\"}", "k:{\"port\":80,\"protocol\":\"UDP\"}"]);
        }
    }
}

#[test]
fn the_status_subresource_owns_status_only() {
    let schema = schema();
    let mut applied = object(json!({"replicas": 1}));
    applied["status"] = json!({"phase": "x"});
    let live = managed::apply(&writer(&schema, "one"), None, &applied, false).unwrap();
    assert_eq!(owners(&live), json!({"one": {"f:spec": {"f:replicas": {}}}}));
    let status = Writer { subresource: Some("status"), ..writer(&schema, "one") };
    let live = managed::apply(&status, Some(&live), &applied, true).unwrap();
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(entries[1]["fieldsV1"], json!({"f:status": {"f:phase": {}}}));
}

#[test]
fn an_object_without_managed_fields_belongs_to_someone() {
    let schema = schema();
    let live = object(json!({"replicas": 1, "class": "c"}));
    assert_eq!(
        conflicts(apply(&schema, "one", Some(&live), json!({"replicas": 2}))),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using example.org/v1: .spec.replicas"
    );
    let new = apply(&schema, "one", Some(&live), json!({"replicas": 1})).unwrap();
    let both = json!({"f:spec": {"f:replicas": {}, "f:class": {}}});
    assert_eq!(owners(&new), json!({"one": {"f:spec": {"f:replicas": {}}}, "before-first-apply": both}));
}

#[test]
fn bad_configurations_are_refused() {
    let schema = schema();
    let mut managed_fields = object(json!({}));
    managed_fields["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    let result = managed::apply(&writer(&schema, "one"), None, &managed_fields, false);
    assert_eq!(result.unwrap_err(), ApplyError::ManagedFields);
    let twice = apply(&schema, "one", None, json!({"listeners": [{"name": "a"}, {"name": "a"}]})).unwrap_err();
    assert_eq!(
        twice.to_string(),
        "failed to create typed patch object: .spec.listeners: the item [name=\"a\"] is there twice"
    );
    let keyless = apply(&schema, "one", None, json!({"listeners": [{"port": 1}]})).unwrap_err();
    assert!(matches!(keyless, ApplyError::Type(_)));
    assert_eq!(managed::apply(&writer(&schema, "one"), None, &json!([]), false).unwrap_err(), ApplyError::NotAnObject);
}

/// `kubectl apply`, then `kubectl apply --server-side`: its own fields are no conflict.
#[test]
fn kubectl_can_go_server_side() {
    const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let schema = schema();
    let mut live = object(json!({"replicas": 1, "class": "c"}));
    live["metadata"]["annotations"] = json!({LAST: object(json!({"replicas": 1})).to_string()});
    managed::update(&writer(&schema, "kubectl-client-side-apply"), None, &mut live);
    let changed = object(json!({"replicas": 2}));
    let new = managed::apply(&writer(&schema, "kubectl"), Some(&live), &changed, false).unwrap();
    assert_eq!(new["spec"]["replicas"], 2);
    let annotation: Value = serde_json::from_str(new["metadata"]["annotations"][LAST].as_str().unwrap()).unwrap();
    assert_eq!(annotation, changed);
    let stranger = managed::apply(&writer(&schema, "kubectl"), Some(&live), &object(json!({"class": "d"})), false);
    assert_eq!(
        conflicts(stranger),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using example.org/v1: .spec.class"
    );
    // What someone changed since isn't kubectl's any more.
    let mut edited = live.clone();
    edited["spec"]["replicas"] = 5.into();
    managed::update(&writer(&schema, "edit"), Some(&live), &mut edited);
    let result = managed::apply(&writer(&schema, "kubectl"), Some(&edited), &changed, false);
    assert_eq!(
        conflicts(result),
        "Apply failed with 1 conflict: conflict with \"edit\" using example.org/v1: .spec.replicas"
    );
    // kubectl then makes the annotation's own manager apply it.
    let mut own = object(json!({}));
    own.as_object_mut().unwrap().remove("spec");
    own["metadata"]["annotations"] = new["metadata"]["annotations"].clone();
    let last = managed::apply(&writer(&schema, "kubectl-last-applied"), Some(&new), &own, true).unwrap();
    assert_eq!(
        owners(&last)["kubectl-last-applied"],
        json!({"f:metadata": {"f:annotations": {format!("f:{LAST}"): {}}}})
    );
}
