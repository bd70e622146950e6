//! Tables and partial metadata: what `kubectl get` reads.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::query::Query;
use crate::core::damaged;
use crate::error::ApiError;
use crate::registry::Kind;
use crate::store::Object;

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

/// The same of an object's JSON, of which nothing else is read.
///
/// # Errors
/// When that isn't the JSON of an object.
pub(crate) fn partial_json(object: &Object) -> Result<Bytes, ApiError> {
    let mut out = Vec::with_capacity(object.bytes.len());
    put_partial(&mut out, object)?;
    Ok(Bytes::from(out))
}

fn put_partial(out: &mut Vec<u8>, object: &Object) -> Result<(), ApiError> {
    let Whole { metadata } = serde_json::from_slice(&object.bytes).map_err(|e| damaged(object, &e))?;
    out.extend_from_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#);
    out.extend_from_slice(metadata.get().as_bytes());
    out.push(b'}');
    Ok(())
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// The metadata of several objects.
///
/// # Errors
/// When one of them isn't the JSON of an object.
pub(crate) fn partial_list(objects: &[Object], revision: &str, next: Option<&str>) -> Result<Bytes, ApiError> {
    let mut meta = json!({"resourceVersion": revision});
    if let Some(next) = next {
        meta["continue"] = json!(next);
    }
    let mut out =
        format!(r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{meta},"items":["#)
            .into_bytes();
    for (i, object) in objects.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put_partial(&mut out, object)?;
    }
    out.extend_from_slice(b"]}");
    Ok(Bytes::from(out))
}
