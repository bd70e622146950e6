use serde_json::{Value, json};

use super::super::{Schema, SchemaError};
use super::{errors, object, spec};

/// (schema of `spec.x`, value, the error's text after `spec.x: `, or nothing).
#[test]
fn values() {
    let table: &[(Value, Value, &str)] = &[
        (json!({"type": "string"}), json!("a"), ""),
        (
            json!({"type": "string"}),
            json!(1),
            "Invalid value: \"integer\": spec.x in body must be of type string: \"integer\"",
        ),
        (json!({"type": "integer"}), json!(1.0), ""),
        (
            json!({"type": "integer"}),
            json!(1.5),
            "Invalid value: \"number\": spec.x in body must be of type integer: \"number\"",
        ),
        (
            json!({"type": "boolean"}),
            json!("true"),
            "Invalid value: \"string\": spec.x in body must be of type boolean: \"string\"",
        ),
        (
            json!({"type": "object"}),
            json!([]),
            "Invalid value: \"array\": spec.x in body must be of type object: \"array\"",
        ),
        (
            json!({"type": "string"}),
            json!(null),
            "Invalid value: \"null\": spec.x in body must be of type string: \"null\"",
        ),
        (json!({"type": "string", "nullable": true}), json!(null), ""),
        (
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            json!("80%"),
            "",
        ),
        (json!({"x-kubernetes-int-or-string": true}), json!(8), ""),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "Invalid value: \"boolean\": spec.x in body must be of type integer or string: \"boolean\"",
        ),
        (
            json!({"type": "string", "enum": ["A", "B"]}),
            json!("C"),
            "Unsupported value: \"C\": supported values: \"A\", \"B\"",
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("ä"),
            "Invalid value: \"ä\": spec.x in body should be at least 2 chars long",
        ),
        (json!({"type": "string", "maxLength": 2}), json!("abc"), "Too long: may not be more than 2 bytes"),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            "Invalid value: \"b\": spec.x in body should match '^a+$'",
        ),
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            "Invalid value: 0: spec.x in body should be greater than or equal to 1",
        ),
        (
            json!({"type": "integer", "maximum": 9, "exclusiveMaximum": true}),
            json!(9),
            "Invalid value: 9: spec.x in body should be less than 9",
        ),
        (
            json!({"type": "integer", "multipleOf": 5}),
            json!(7),
            "Invalid value: 7: spec.x in body should be a multiple of 5",
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(1_u64 << 31),
            "Invalid value: 2147483648: spec.x in body must be of type int32: 2147483648",
        ),
        (json!({"type": "string", "format": "date-time"}), json!("2026-01-02T03:04:05Z"), ""),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("yesterday"),
            "Invalid value: \"yesterday\": spec.x in body must be of type date-time: \"yesterday\"",
        ),
        (json!({"type": "string", "format": "duration"}), json!("1h30m"), ""),
        (
            json!({"type": "string", "format": "byte"}),
            json!("?"),
            "Invalid value: \"<hidden>\": spec.x in body must be of type byte: \"<hidden>\"",
        ),
        (
            json!({"type": "string", "format": "cidr"}),
            json!("10.0.0.0/33"),
            "Invalid value: \"10.0.0.0/33\": spec.x in body must be of type cidr: \"10.0.0.0/33\"",
        ),
        (json!({"type": "string", "format": "of-no-meaning"}), json!("?"), ""),
        (
            json!({"type": "array", "minItems": 1}),
            json!([]),
            "Invalid value: \"array\": spec.x in body should have at least 1 items",
        ),
        (json!({"type": "array", "maxItems": 1}), json!([1, 2]), "Too many: 2: must have at most 1 items"),
        (
            json!({"type": "object", "maxProperties": 1, "additionalProperties": true}),
            json!({"a": 1, "b": 1}),
            "Too many: 2: must have at most 1 items",
        ),
        (
            json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "x-kubernetes-preserve-unknown-fields": true}),
            json!({"a": 1, "b": 1}),
            "Invalid value: \"object\": \"spec.x\" must validate one and only one schema (oneOf). Found more than one valid",
        ),
        (
            json!({"anyOf": [{"required": ["a"]}, {"required": ["b"]}], "x-kubernetes-preserve-unknown-fields": true}),
            json!({}),
            "Invalid value: \"object\": \"spec.x\" must validate at least one schema (anyOf)",
        ),
        (
            json!({"type": "string", "not": {"enum": ["no"]}}),
            json!("no"),
            "Invalid value: \"no\": \"spec.x\" must not validate the schema (not)",
        ),
        (
            json!({"type": "string", "allOf": [{"maxLength": 3}, {"pattern": "a"}]}),
            json!("bcd"),
            "Invalid value: \"bcd\": spec.x in body should match 'a'",
        ),
    ];
    for (schema, value, expected) in table {
        let found = errors(&spec(json!({"x": schema})), &object(json!({"x": value})), None);
        let expected: Vec<String> = (!expected.is_empty()).then(|| format!("spec.x: {expected}")).into_iter().collect();
        assert_eq!(found, expected, "{schema} {value}");
    }
}

#[test]
fn all_errors_at_once_with_their_paths() {
    let item = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "port": {"type": "integer", "maximum": 65535}}});
    let schema = spec(json!({
        "list": {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
    }));
    let value = object(json!({"list": [{"name": "a", "port": 70000}, {"name": "a"}, {"port": 1}], "set": ["x", "x"]}));
    assert_eq!(
        errors(&schema, &value, None),
        [
            "spec.list[1]: Duplicate value: {\"name\":\"a\"}",
            "spec.list[0].port: Invalid value: 70000: spec.list[0].port in body should be less than or equal to 65535",
            "spec.list[2].name: Required value",
            "spec.set[1]: Duplicate value: \"x\"",
        ]
    );
}

/// Ratcheting: what an earlier, laxer schema let in stays writable as long as it isn't touched.
#[test]
fn unchanged_parts_are_not_checked_again() {
    let schema = spec(json!({"a": {"type": "string", "maxLength": 1}, "b": {"type": "string", "maxLength": 1}}));
    let old = object(json!({"a": "long", "b": "x"}));
    assert!(errors(&schema, &old, Some(&old)).is_empty());
    assert!(errors(&schema, &object(json!({"a": "long", "b": "y"})), Some(&old)).is_empty());
    let changed = object(json!({"a": "other", "b": "x"}));
    assert_eq!(errors(&schema, &changed, Some(&old)), ["spec.a: Too long: may not be more than 1 bytes"]);
}

/// Items that moved are found again in linear time.
#[test]
fn long_lists_that_shift_are_quick() {
    let schema = spec(
        json!({"list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "string", "maxLength": 1}}}}}),
    );
    let items = |first: u32| {
        object(json!({"list": (first..100_000).map(|k| json!({"k": k.to_string(), "v": "long"})).collect::<Vec<_>>()}))
    };
    let (old, new) = (items(1), items(0));
    let start = std::time::Instant::now();
    let found = errors(&schema, &new, Some(&old));
    assert_eq!(found, ["spec.list[0].v: Too long: may not be more than 1 bytes"]);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn bad_schemas_are_refused_with_their_path() {
    let compile = |schema: Value| Schema::compile(&schema).unwrap_err();
    let error = compile(json!({"properties": {"spec": {"properties": {"x": {"pattern": "("}}}}}));
    assert!(error.to_string().starts_with("spec.x: pattern \"(\" is not a regular expression"), "{error}");
    let error = compile(json!({"properties": {"spec": {"x-kubernetes-validations": [{"rule": "self.("}]}}}));
    assert!(matches!(&error, SchemaError::Rule { path, .. } if path == "spec"), "{error}");
    for rule in [
        "Thing{a: 1} == self",
        &"(".repeat(60),
        &format!("true{}", " || true".repeat(2000)),
        &format!("{}true", "!(".repeat(50)),
    ] {
        let error = compile(json!({"properties": {"spec": {"x-kubernetes-validations": [{"rule": rule}]}}}));
        assert!(matches!(&error, SchemaError::Rule { .. }), "{error}");
    }
    let mut deep = json!({"type": "string"});
    for _ in 0..200 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    assert_eq!(compile(deep), SchemaError::TooLarge);
}

/// The worst rules that the limits let through don't exhaust a small stack.
#[test]
fn rules_at_the_limits_are_harmless() {
    let chain = |part: &str, times: usize| format!("true{}", part.repeat(times));
    for rule in [
        chain(" && self.a", 60),
        chain(" ? true : false", 100),
        format!("self{} == 1", ".a".repeat(100)),
        chain(" == true", 100),
        format!("{}true{}", "(".repeat(48), ")".repeat(48)),
        format!("{}true", "!".repeat(1000)),
    ] {
        let schema = Schema::compile(&json!({"properties": {"spec": {"x-kubernetes-preserve-unknown-fields": true,
            "x-kubernetes-validations": [{"rule": rule}]}}}));
        if let Ok(schema) = schema {
            let _ = errors(&schema, &object(json!({"a": true})), None);
        }
    }
}

#[test]
fn a_crds_own_rules_for_the_name_hold_too() {
    let schema = Schema::compile(&json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 2}}},
    }}))
    .unwrap();
    let value = |name: &str| json!({"metadata": {"name": name, "labels": {"a": "b"}, "uid": "u"}});
    assert!(errors(&schema, &value("ab"), None).is_empty());
    assert_eq!(errors(&schema, &value("abc"), None), ["metadata.name: Too long: may not be more than 2 bytes"]);
}
