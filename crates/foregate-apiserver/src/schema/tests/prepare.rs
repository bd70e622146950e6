use serde_json::{Value, json};

use super::super::{FieldValidation, Schema};
use super::{object, spec};

fn prepared(schema: &Schema, value: Value) -> (Value, Vec<String>) {
    let mut value = object(value);
    let warnings = schema.prepare(&mut value, FieldValidation::Warn).unwrap();
    (value["spec"].clone(), warnings)
}

#[test]
fn unknown_fields_are_removed_and_named() {
    let schema = spec(json!({
        "known": {"type": "string"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                 "properties": {"typed": {"type": "object", "properties": {}}}},
        "any": {"type": "object", "additionalProperties": true},
    }));
    let (value, warnings) = prepared(
        &schema,
        json!({
            "known": "x", "foo": 1,
            "list": [{"a": 1}, {"a": 2, "b": 3}],
            "map": {"k": {"a": 1, "c": 2}},
            "free": {"anything": {"goes": 1}, "typed": {"not": 1}},
            "any": {"thing": {"x": 1}},
        }),
    );
    assert_eq!(
        value,
        json!({
            "known": "x", "list": [{"a": 1}, {"a": 2}], "map": {"k": {"a": 1}},
            "free": {"anything": {"goes": 1}, "typed": {}}, "any": {"thing": {"x": 1}},
        })
    );
    let expected = ["spec.foo", "spec.free.typed.not", "spec.list[1].b", "spec.map.k.c"];
    assert_eq!(warnings, expected.map(|path| format!("unknown field {path:?}")));
}

#[test]
fn strict_fails_and_ignore_is_silent() {
    let schema = spec(json!({"a": {"type": "string"}}));
    let error = schema.prepare(&mut object(json!({"b": 1, "c": 2})), FieldValidation::Strict).unwrap_err();
    assert_eq!(error.to_string(), "strict decoding error: unknown field \"spec.b\", unknown field \"spec.c\"");
    let mut value = object(json!({"b": 1}));
    assert!(schema.prepare(&mut value, FieldValidation::Ignore).unwrap().is_empty());
    assert_eq!(value["spec"], json!({}));
    let mut value = object(json!({}));
    value["metadata"]["nmae"] = "typo".into();
    let error = schema.prepare(&mut value, FieldValidation::Strict).unwrap_err();
    assert_eq!(error.0, ["unknown field \"metadata.nmae\""]);
}

#[test]
fn defaults_reach_into_lists_maps_and_other_defaults() {
    let leaf = json!({"type": "object", "properties": {"port": {"type": "integer", "default": 80}}});
    let schema = spec(json!({
        "kind": {"type": "string", "default": "Service"},
        "list": {"type": "array", "items": leaf},
        "map": {"type": "object", "additionalProperties": leaf},
        "nested": {"type": "object", "default": {}, "properties": {"inner": leaf}},
        "filled": {"type": "object", "default": {}, "properties": {"x": {"type": "integer", "default": 1}}},
    }));
    let (value, _) = prepared(&schema, json!({"list": [{}, {"port": 1}], "map": {"a": {}}}));
    let expected = json!({
        "kind": "Service", "list": [{"port": 80}, {"port": 1}], "map": {"a": {"port": 80}},
        "nested": {}, "filled": {"x": 1},
    });
    assert_eq!(value, expected);
}

/// Kubernetes: a null where null isn't allowed is as good as absent.
#[test]
fn nulls() {
    let schema = spec(json!({
        "plain": {"type": "string"},
        "defaulted": {"type": "string", "default": "d"},
        "nullable": {"type": "string", "nullable": true},
        "both": {"type": "string", "nullable": true, "default": "d"},
        "items": {"type": "array", "items": {"type": "string"}},
    }));
    let (value, warnings) = prepared(
        &schema,
        json!({"plain": null, "defaulted": null, "nullable": null, "both": null, "items": ["a", null]}),
    );
    assert_eq!(value, json!({"defaulted": "d", "nullable": null, "both": null, "items": ["a", null]}));
    assert!(warnings.is_empty());
}

#[test]
fn embedded_resources_have_type_and_metadata() {
    let schema = spec(json!({"template": {
        "type": "object", "x-kubernetes-embedded-resource": true,
        "properties": {"spec": {"type": "object", "properties": {}}},
    }}));
    let (value, warnings) = prepared(
        &schema,
        json!({"template": {"apiVersion": "v1", "kind": "X", "metadata": {"name": "n", "odd": 1}, "spec": {"x": 1}}}),
    );
    assert_eq!(value["template"], json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "n"}, "spec": {}}));
    assert_eq!(warnings.len(), 2);
}

#[test]
fn pruning_alone_sets_no_defaults() {
    let schema = spec(json!({"a": {"type": "string", "default": "x"}}));
    let mut value = object(json!({"b": 1}));
    assert_eq!(schema.prune(&mut value, FieldValidation::Warn).unwrap().len(), 1);
    assert_eq!(value["spec"], json!({}));
}
