#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod objects;
mod protobuf;

use super::{Builtin, KINDS, columns::age, definitions, definitions_of, find};
use crate::schema::FieldValidation;
use serde_json::{Value, json};

#[test]
fn every_kind_has_a_schema_and_a_definition_of_its_own() {
    for kind in KINDS {
        let schema = kind.schema().unwrap();
        let definition = &definitions()[kind.definition];
        let named = definition["x-kubernetes-group-version-kind"].as_array().unwrap();
        assert!(
            named.contains(&json!({"group": kind.group, "version": kind.version, "kind": kind.kind})),
            "{}",
            kind.kind
        );
        assert_eq!(schema.has_field("status"), definition["properties"]["status"].is_object());
        assert!(std::ptr::eq(find(kind.group, kind.version, kind.plural).unwrap(), kind));
        assert!(kind.persisted == kind.verbs().contains(&"get"));
    }
    assert!(find("", "v1", "pods").is_none());
}

#[test]
fn definitions_come_with_what_they_refer_to() {
    let taken = definitions_of(&definitions(), ["io.k8s.api.core.v1.Namespace"]);
    assert!(taken.contains_key("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));
    assert!(taken.contains_key("io.k8s.api.core.v1.NamespaceCondition"));
    assert!(!taken.contains_key("io.k8s.api.core.v1.Service"));
    assert!(taken.len() < 12, "{}", taken.len());
}

#[test]
fn ages() {
    let since = |text: &str| age(Some(&json!("2026-01-01T00:00:00Z")), text.parse().unwrap());
    for (now, expected) in [
        ("2026-01-01T00:00:00Z", "0s"),
        ("2026-01-01T00:01:59Z", "119s"),
        ("2026-01-01T00:03:12Z", "3m12s"),
        ("2026-01-01T00:09:00Z", "9m"),
        ("2026-01-01T02:59:30Z", "179m"),
        ("2026-01-01T07:30:00Z", "7h30m"),
        ("2026-01-02T23:00:00Z", "47h"),
        ("2026-01-04T05:00:00Z", "3d5h"),
        ("2026-03-01T00:00:00Z", "59d"),
        ("2028-02-01T00:00:00Z", "2y31d"),
        ("2040-01-01T00:00:00Z", "14y"),
        ("2025-12-31T23:00:00Z", "<invalid>"),
    ] {
        assert_eq!(since(now), expected, "{now}");
    }
    assert_eq!(age(None, "2026-01-01T00:00:00Z".parse().unwrap()), "<unknown>");
}

/// An object after what a create does to it, and everything that is wrong with it.
fn created(kind: &Builtin, mut object: Value) -> (Value, Vec<String>) {
    let schema = kind.schema().unwrap();
    let mut errors = schema.prepare(&mut object, FieldValidation::Warn).unwrap();
    kind.complete(&mut object);
    errors.extend(schema.validate(&object, None).iter().map(ToString::to_string));
    errors.extend(kind.validate(&object, None).iter().map(ToString::to_string));
    (object, errors)
}

fn kind(group: &str, plural: &str) -> &'static Builtin {
    find(group, "v1", plural).unwrap()
}

/// The cells of an object, `-o wide` included.
fn row(kind: &Builtin, object: &Value) -> Vec<String> {
    let now = "2026-01-01T00:05:00Z".parse().unwrap();
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
    kind.columns.iter().map(|column| text((column.cell)(object, now))).collect()
}
