use serde_json::{Value, json};

use super::super::{PatchError, json as json_patch, merge, strategic};
use crate::builtin::definitions;
use crate::schema::Schema;

#[test]
fn json_patches() {
    let live = json!({"a": {"b": [1, 2]}});
    let new = json_patch(
        &live,
        &json!([{"op": "replace", "path": "/a/b/0", "value": 9}, {"op": "add", "path": "/a/c", "value": 1}]),
    )
    .unwrap();
    assert_eq!(new, json!({"a": {"b": [9, 2], "c": 1}}));
    let failed = json_patch(&live, &json!([{"op": "test", "path": "/a/b/0", "value": 5}]));
    assert!(matches!(failed, Err(PatchError::Unprocessable(_))), "{failed:?}");
    assert!(matches!(json_patch(&live, &json!({"op": "add"})), Err(PatchError::Malformed(_))));
}

/// Ten lines that would otherwise make gigabytes.
#[test]
fn copies_of_copies_are_bounded() {
    let live = json!({"a": ["x".repeat(1000)]});
    let patch: Vec<Value> = (0..40).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"})).collect();
    assert!(matches!(json_patch(&live, &Value::Array(patch)), Err(PatchError::Unprocessable(_))));
}

#[test]
fn patches_cannot_nest_without_end() {
    let mut patch = Vec::new();
    for index in 0..120 {
        patch.push(json!({"op": "add", "path": "/a".repeat(index + 1), "value": {}}));
    }
    let result = json_patch(&json!({}), &Value::Array(patch));
    assert!(matches!(&result, Err(PatchError::Unprocessable(text)) if text.contains("levels deep")), "{result:?}");
}

#[test]
fn merge_patches() {
    let live = json!({"a": {"b": 1, "c": 2}, "l": [1]});
    assert_eq!(merge(&live, &json!({"a": {"b": null}, "l": [2]})).unwrap(), json!({"a": {"c": 2}, "l": [2]}));
    assert!(matches!(merge(&live, &json!([])), Err(PatchError::Malformed(_))));
}

/// (live spec of a Service, patch of it, result): ports merge by `port`.
#[test]
fn strategic_merge() {
    let schema = Schema::builtin(&definitions(), "io.k8s.api.core.v1.Service", None).unwrap();
    let two = json!({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}], "type": "ClusterIP"});
    let table = [
        (
            two.clone(),
            json!({"ports": [{"port": 81, "name": "c"}]}),
            json!({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "c"}], "type": "ClusterIP"}),
        ),
        (
            two.clone(),
            json!({"ports": [{"port": 82}], "type": null}),
            json!({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}, {"port": 82}]}),
        ),
        (
            two.clone(),
            json!({"ports": [{"port": 80, "$patch": "delete"}]}),
            json!({"ports": [{"port": 81, "name": "b"}], "type": "ClusterIP"}),
        ),
        (
            two.clone(),
            json!({"ports": [{"$patch": "replace"}, {"port": 1}]}),
            json!({"ports": [{"port": 1}], "type": "ClusterIP"}),
        ),
        (
            two.clone(),
            json!({"$setElementOrder/ports": [{"port": 81}, {"port": 80}], "ports": [{"port": 80, "name": "z"}]}),
            json!({"ports": [{"port": 81, "name": "b"}, {"port": 80, "name": "z"}], "type": "ClusterIP"}),
        ),
        (two.clone(), json!({"$patch": "replace", "type": "X"}), json!({"type": "X"})),
        (two.clone(), json!({"$retainKeys": ["type"], "type": "NodePort"}), json!({"type": "NodePort"})),
        (json!({"externalIPs": ["a", "b"]}), json!({"externalIPs": ["c"]}), json!({"externalIPs": ["c"]})),
        (
            json!({"selector": {"a": "1", "b": "2"}}),
            json!({"selector": {"a": null, "c": "3"}}),
            json!({"selector": {"b": "2", "c": "3"}}),
        ),
        (json!({}), json!({"selector": {"$patch": "replace", "a": "1", "b": null}}), json!({"selector": {"a": "1"}})),
    ];
    for (live, patch, expected) in table {
        let new = strategic(&schema, &json!({"spec": live}), &json!({"spec": patch})).unwrap();
        assert_eq!(new["spec"], expected, "{patch}");
    }
    let finalizers = json!({"metadata": {"finalizers": ["a/a", "b/b", "c/c"]}});
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b/b"], "finalizers": ["d/d"],
        "$setElementOrder/finalizers": ["d/d", "a/a", "c/c"]}});
    let new = strategic(&schema, &finalizers, &patch).unwrap();
    assert_eq!(new["metadata"]["finalizers"], json!(["d/d", "a/a", "c/c"]));
}

#[test]
fn strategic_merge_refuses_nonsense() {
    let schema = Schema::builtin(&definitions(), "io.k8s.api.core.v1.Service", None).unwrap();
    for patch in [
        json!([]),
        json!({"spec": {"ports": [{"name": "no key"}]}}),
        json!({"spec": {"ports": ["x"]}}),
        json!({"spec": {"$patch": "explode"}}),
        json!({"spec": {"$retainKeys": 1}}),
        json!({"spec": {"$setElementOrder/ports": 1}}),
    ] {
        let result = strategic(&schema, &json!({"spec": {}}), &patch);
        assert!(matches!(result, Err(PatchError::Malformed(_))), "{patch}: {result:?}");
    }
}
