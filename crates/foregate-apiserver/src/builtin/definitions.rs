//! The OpenAPI definitions of the served built-in kinds.

use std::sync::LazyLock;

use serde_json::{Map, Value};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// All definitions by their full name, as published: `io.k8s.api.core.v1.Namespace`, … They take megabytes when read
/// and are seldom wanted, so each caller reads them anew and nobody keeps them.
pub fn definitions() -> Map<String, Value> {
    // The file is part of the binary: a test reads it, so this can't fail at run time.
    serde_json::from_str(include_str!("../../data/openapi.json")).unwrap_or_default()
}

/// Those of `ObjectMeta` alone, which every definition of a kind needs to be compiled.
pub fn object_meta() -> &'static Map<String, Value> {
    static META: LazyLock<Map<String, Value>> = LazyLock::new(|| definitions_of(&definitions(), [OBJECT_META]));
    &META
}

/// Of `all`, the definitions `names` and all that they refer to: `components.schemas` of an OpenAPI document.
pub fn definitions_of<'a>(all: &Map<String, Value>, names: impl IntoIterator<Item = &'a str>) -> Map<String, Value> {
    let mut out = Map::new();
    let mut wanted: Vec<String> = names.into_iter().map(str::to_string).collect();
    while let Some(name) = wanted.pop() {
        let Some(schema) = all.get(&name).filter(|_| !out.contains_key(&name)) else { continue };
        references(schema, &mut wanted);
        out.insert(name, schema.clone());
    }
    out
}

fn references(schema: &Value, into: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str).and_then(|text| text.rsplit('/').next()) {
                into.push(name.to_string());
            }
            map.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}
