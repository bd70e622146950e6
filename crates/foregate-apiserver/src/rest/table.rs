//! Tables and partial metadata: what `kubectl get` reads.

use serde_json::{Map, Value, json};

use super::jsonpath::Path;
use super::query::Query;
use crate::registry::{Column, Kind};

/// A table of `objects`. `headed`: with column definitions, which a watch sends once.
pub(crate) fn table(
    kind: &Kind,
    query: &Query,
    objects: impl Iterator<Item = Value>,
    revision: &str,
    next: Option<&str>,
    headed: bool,
) -> Value {
    let paths: Vec<Option<Path>> = kind.columns.iter().map(|c| Path::parse(&c.path)).collect();
    let include = query.get("includeObject").unwrap_or("Metadata").to_owned();
    let rows: Vec<Value> = objects
        .map(|object| {
            let mut cells = vec![object["metadata"]["name"].clone()];
            cells.extend(kind.columns.iter().zip(&paths).map(|(c, p)| cell(c, p.as_ref(), &object)));
            let mut row = json!({"cells": cells});
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
    let definitions = if headed { definitions(kind) } else { json!([]) };
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
        "columnDefinitions": definitions, "rows": rows})
}

/// A bookmark in a watch of tables.
pub(crate) fn bookmark(revision: &str, meta: &Value) -> Value {
    let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta});
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": revision},
        "columnDefinitions": [], "rows": [{"cells": [], "object": object}]})
}

fn definitions(kind: &Kind) -> Value {
    let name = json!({"name": "Name", "type": "string", "format": "name", "priority": 0,
        "description": "Name must be unique within a namespace."});
    let columns = kind.columns.iter().map(|c| {
        // Dates are computed here, as Kubernetes does: the client gets text.
        let kind = if c.kind == "date" { "string" } else { &c.kind };
        json!({"name": c.name, "type": kind, "format": c.format, "description": c.description, "priority": c.priority})
    });
    std::iter::once(name).chain(columns).collect()
}

fn cell(column: &Column, path: Option<&Path>, object: &Value) -> Value {
    if let Some(computed) = super::columns::computed(&column.path, object) {
        return computed;
    }
    let found = path.map(|p| p.find(object)).unwrap_or_default();
    match (column.kind.as_str(), found.as_slice()) {
        ("date", []) => json!("<unknown>"),
        ("date", [first, ..]) => json!(first.as_str().map_or_else(|| "<unknown>".to_owned(), age)),
        (_, []) => Value::Null,
        ("integer" | "number" | "boolean", [one]) => (*one).clone(),
        ("string", many) => json!(many.iter().map(|v| plain(v)).collect::<Vec<_>>().join(",")),
        (_, [first, ..]) => (*first).clone(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How long ago, as kubectl prints it: `5s`, `3m20s`, `4h`, `2d`.
pub(crate) fn age(timestamp: &str) -> String {
    let Ok(then) = timestamp.parse::<jiff::Timestamp>() else { return "<invalid>".into() };
    span(jiff::Timestamp::now().as_second() - then.as_second())
}

fn span(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |big: i64, unit: char, small: i64, small_unit: char| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    match seconds {
        s if s < -1 => "<invalid>".into(),
        s if s < 0 => "0s".into(),
        s if s < 120 => format!("{s}s"),
        s if minutes < 10 => pair(minutes, 'm', s % 60, 's'),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => pair(hours, 'h', minutes % 60, 'm'),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => pair(days, 'd', hours % 24, 'h'),
        _ if days < 365 * 2 => format!("{days}d"),
        _ if days < 365 * 8 => pair(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        for (seconds, text) in [
            (0, "0s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (900, "15m"), (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"), (30 * 3600, "30h"), (50 * 3600, "2d2h"), (86_400 * 10, "10d"), (-5, "<invalid>"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
