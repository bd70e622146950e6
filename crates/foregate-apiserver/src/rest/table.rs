//! Tables and partial metadata: what `kubectl get` reads.

use serde_json::{Map, Value, json};

use super::query::Query;
use crate::registry::Kind;

/// A table of `objects`. `headed`: with column definitions, which a watch sends once.
pub(crate) fn table(
    kind: &Kind,
    query: &Query,
    objects: impl Iterator<Item = Value>,
    revision: &str,
    next: Option<&str>,
    headed: bool,
) -> Value {
    let now = jiff::Timestamp::now();
    let include = query.get("includeObject").unwrap_or("Metadata").to_owned();
    let rows: Vec<Value> = objects
        .map(|object| {
            let mut row = json!({"cells": kind.columns.cells(&object, now)});
            match include.as_str() {
                "None" => {}
                "Object" => row["object"] = object,
                _ => row["object"] = partial(&object),
            }
            row
        })
        .collect();
    let mut meta = json!({"resourceVersion": revision});
    if let Some(next) = next {
        meta["continue"] = json!(next);
    }
    let definitions = if headed { kind.columns.definitions() } else { json!([]) };
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
        "columnDefinitions": definitions, "rows": rows})
}

/// A bookmark in a watch of tables.
pub(crate) fn bookmark(revision: &str, meta: &Value) -> Value {
    let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta});
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": revision},
        "columnDefinitions": [], "rows": [{"cells": [], "object": object}]})
}

/// An object's metadata alone.
pub(crate) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// The metadata of several objects.
pub(crate) fn partial_list<'a>(objects: impl Iterator<Item = &'a Value>, revision: &str, next: Option<&str>) -> Value {
    let mut meta = Map::new();
    meta.insert("resourceVersion".into(), json!(revision));
    if let Some(next) = next {
        meta.insert("continue".into(), json!(next));
    }
    let items: Vec<Value> = objects.map(partial).collect();
    json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "items": items})
}
