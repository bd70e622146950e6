//! Checks of `metadata` that hold for every kind.

use serde_json::Value;

use crate::error::{Cause, CauseKind};

/// The largest sum of annotations' keys and values, in bytes.
const ANNOTATIONS: usize = 256 << 10;

/// What is wrong with an object's metadata.
pub(crate) fn check(object: &Value) -> Vec<Cause> {
    let meta = &object["metadata"];
    let mut causes = Vec::new();
    for map in ["labels", "annotations"] {
        check_map(meta, map, &mut causes);
    }
    let size: usize = meta["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| k.len() + v.as_str().map_or(0, str::len))
        .sum();
    if size > ANNOTATIONS {
        let message = format!("Too long: may not be more than {ANNOTATIONS} bytes");
        causes.push(Cause::new(CauseKind::TooLong, "metadata.annotations", message));
    }
    check_list(meta, "finalizers", &mut causes, |v| v.as_str().is_some_and(|s| !s.is_empty()));
    check_list(meta, "ownerReferences", &mut causes, |v| {
        ["apiVersion", "kind", "name", "uid"].iter().all(|k| v[*k].as_str().is_some_and(|s| !s.is_empty()))
    });
    let controllers = |v: &Value| v["controller"] == true;
    if meta["ownerReferences"].as_array().is_some_and(|l| l.iter().filter(|v| controllers(v)).count() > 1) {
        let message = "Invalid value: only one reference can have controller set to true";
        causes.push(Cause::new(CauseKind::Invalid, "metadata.ownerReferences", message));
    }
    causes
}

fn check_map(meta: &Value, name: &str, causes: &mut Vec<Cause>) {
    let field = format!("metadata.{name}");
    match &meta[name] {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                let Some(value) = value.as_str() else {
                    let message = format!("Invalid value: {value}: must be a string");
                    causes.push(Cause::new(CauseKind::TypeInvalid, format!("{field}.{key}"), message));
                    continue;
                };
                if !is_qualified(key) {
                    let message = format!("Invalid value: {key:?}: must be a qualified name: [prefix/]name");
                    causes.push(Cause::new(CauseKind::Invalid, field.clone(), message));
                }
                if name == "labels" && !is_label_value(value) {
                    let message = format!("Invalid value: {value:?}: a label's value has at most 63 characters: alphanumerics, '-', '_' or '.', and starts and ends with an alphanumeric");
                    causes.push(Cause::new(CauseKind::Invalid, field.clone(), message));
                }
            }
        }
        other => {
            let message = format!("Invalid value: {other}: must be a map");
            causes.push(Cause::new(CauseKind::TypeInvalid, field, message));
        }
    }
}

fn check_list(meta: &Value, name: &str, causes: &mut Vec<Cause>, fine: impl Fn(&Value) -> bool) {
    match &meta[name] {
        Value::Null => {}
        Value::Array(list) => {
            for (i, value) in list.iter().enumerate().filter(|(_, v)| !fine(v)) {
                let message = format!("Invalid value: {value}: incomplete");
                causes.push(Cause::new(CauseKind::Invalid, format!("metadata.{name}[{i}]"), message));
            }
        }
        other => {
            let message = format!("Invalid value: {other}: must be a list");
            causes.push(Cause::new(CauseKind::TypeInvalid, format!("metadata.{name}"), message));
        }
    }
}

/// `[prefix/]name`, the name at most 63 characters.
fn is_qualified(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    !name.is_empty()
        && is_label_value(name)
        && prefix.is_none_or(|p| !p.is_empty() && p.len() <= 253 && !p.contains('/'))
}

fn is_label_value(value: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    value.len() <= 63
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && edge(bytes.first())
        && edge(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bad_metadata_is_named_by_field() {
        let fields = |meta: Value| -> Vec<String> {
            check(&json!({"metadata": meta})).into_iter().map(|c| c.field).collect()
        };
        assert!(fields(json!({"labels": {"a.b/c": "d"}, "annotations": {"x": "any thing"}, "finalizers": ["f/x"]})).is_empty());
        assert_eq!(fields(json!({"labels": {"a": 1}})), ["metadata.labels.a"]);
        assert_eq!(fields(json!({"labels": {"a": "b c"}})), ["metadata.labels"]);
        assert_eq!(fields(json!({"labels": {"a/b/c d": "x"}})), ["metadata.labels"]);
        assert_eq!(fields(json!({"ownerReferences": [{"uid": "x"}]})), ["metadata.ownerReferences[0]"]);
        assert_eq!(fields(json!({"finalizers": "x"})), ["metadata.finalizers"]);
    }
}
