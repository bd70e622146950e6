//! Reading OpenAPI keywords.

use serde_json::Value;

use super::tree::{Bound, Kind, ListType, PatchRule};

/// The definition that a schema stands for: `$ref`, or `allOf` with nothing but one.
pub(super) fn reference(schema: &Value) -> Option<&str> {
    let direct = text(schema, "$ref").or_else(|| match schema.get("allOf")?.as_array()?.as_slice() {
        [only] => text(only, "$ref"),
        _ => None,
    });
    direct?.rsplit('/').next()
}

/// A keyword with a text.
pub(super) fn text<'a>(schema: &'a Value, keyword: &str) -> Option<&'a str> {
    schema.get(keyword).and_then(Value::as_str)
}

/// A keyword that is true.
pub(super) fn flag(schema: &Value, keyword: &str) -> bool {
    schema.get(keyword) == Some(&Value::Bool(true))
}

/// A keyword with a whole number.
pub(super) fn count(schema: &Value, keyword: &str) -> Option<u64> {
    schema.get(keyword).and_then(Value::as_u64)
}

/// A keyword with a list of names.
pub(super) fn names(schema: &Value, keyword: &str) -> Vec<Box<str>> {
    let list = schema.get(keyword).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
}

/// The type of values.
pub(super) fn kind(schema: &Value) -> Kind {
    if flag(schema, "x-kubernetes-int-or-string") || text(schema, "format") == Some("int-or-string") {
        return Kind::IntOrString;
    }
    match text(schema, "type") {
        Some("object") => Kind::Object,
        Some("array") => Kind::Array,
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        _ => Kind::Any,
    }
}

/// `x-kubernetes-list-type` and `-list-map-keys`.
pub(super) fn list_type(schema: &Value) -> ListType {
    match text(schema, "x-kubernetes-list-type") {
        Some("set") => ListType::Set,
        Some("map") => ListType::Map(names(schema, "x-kubernetes-list-map-keys")),
        _ => ListType::Atomic,
    }
}

/// `x-kubernetes-patch-strategy` and `-merge-key`.
pub(super) fn patch_rule(schema: &Value) -> Option<Box<PatchRule>> {
    let strategy = text(schema, "x-kubernetes-patch-strategy")?;
    Some(Box::new(PatchRule {
        merge: strategy.split(',').any(|part| part == "merge"),
        retain_keys: strategy.split(',').any(|part| part == "retainKeys"),
        merge_key: text(schema, "x-kubernetes-patch-merge-key").map(Into::into),
    }))
}

/// A bound, and whether it is excluded.
pub(super) fn bound(schema: &Value, keyword: &str, exclusive: &str) -> Option<Bound> {
    let value = schema.get(keyword).and_then(Value::as_f64)?;
    Some(Bound { value, exclusive: flag(schema, exclusive) })
}
