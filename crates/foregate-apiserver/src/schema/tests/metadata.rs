use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{NameRule, validate_metadata};

fn check(metadata: Value, rule: NameRule) -> Vec<String> {
    let found = validate_metadata(&json!({"metadata": metadata}), rule, true);
    found.into_iter().map(|error| error.field).collect()
}

#[test]
fn names() {
    let long = "a".repeat(64);
    let table = [
        (NameRule::Subdomain, "a.b-c.d", true),
        (NameRule::Subdomain, long.as_str(), true),
        (NameRule::Subdomain, "A", false),
        (NameRule::Subdomain, "a..b", false),
        (NameRule::Subdomain, "-a", false),
        (NameRule::Label, "a-b", true),
        (NameRule::Label, "a.b", false),
        (NameRule::Label, long.as_str(), false),
        (NameRule::PathSegment, "system:node:X", true),
        (NameRule::PathSegment, "a/b", false),
        (NameRule::PathSegment, "..", false),
    ];
    for (rule, name, fits) in table {
        let found = check(json!({"name": name, "namespace": "n"}), rule);
        assert_eq!(found.is_empty(), fits, "{name}: {found:?}");
    }
    assert_eq!(check(json!({"namespace": "n"}), NameRule::Subdomain), ["metadata.name"]);
    assert!(check(json!({"generateName": "a-", "namespace": "n"}), NameRule::Label).is_empty());
    assert_eq!(check(json!({"name": "a"}), NameRule::Label), ["metadata.namespace"]);
}

#[test]
fn labels_annotations_finalizers_owners() {
    let with = |field: &str, value: Value| {
        let mut metadata = json!({"name": "a", "namespace": "n"});
        metadata[field] = value;
        check(metadata, NameRule::Subdomain)
    };
    assert!(with("labels", json!({"a.b/C_d": "X", "e": ""})).is_empty());
    assert_eq!(with("labels", json!({"a b": "x"})), ["metadata.labels"]);
    assert_eq!(with("labels", json!({"/a": "x"})), ["metadata.labels"]);
    assert_eq!(with("labels", json!({"a": "-x"})), ["metadata.labels"]);
    assert_eq!(with("labels", json!({"a": "x".repeat(64)})), ["metadata.labels"]);
    assert!(with("annotations", json!({"Example.com/A": "any text\n"})).is_empty());
    assert_eq!(with("annotations", json!({"a": "x".repeat(256 * 1024)})), ["metadata.annotations"]);
    assert!(with("finalizers", json!(["example.com/x", "foregroundDeletion"])).is_empty());
    assert!(with("finalizers", json!(["gateway-exists-finalizer.gateway.networking.k8s.io"])).is_empty());
    assert_eq!(with("finalizers", json!(["my own"])), ["metadata.finalizers"]);
    assert_eq!(
        with("ownerReferences", json!([{"apiVersion": "v1", "kind": "X", "name": "n"}])),
        ["metadata.ownerReferences[0].uid"]
    );
}

proptest! {
    /// No input makes the checks panic, and a name that passes is safe in a path.
    #[test]
    fn any_name(name in "\\PC{0,300}") {
        let found = check(json!({"name": name, "namespace": "n"}), NameRule::PathSegment);
        prop_assert!(!found.is_empty() || (!name.contains('/') && !name.is_empty()));
    }
}
