#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod apply;
mod documents;
mod fields;
mod properties;
mod robustness;
mod update;

use serde_json::{Value, json};

use super::managed::{self, ApplyError, Writer};
use crate::schema::Schema;

/// A kind with one of each list and map type.
fn schema() -> Schema {
    let item = json!({"type": "object", "properties": {
        "name": {"type": "string"}, "port": {"type": "integer"}, "tls": {"type": "object", "properties": {"mode": {"type": "string"}}},
    }});
    Schema::compile(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer"},
            "class": {"type": "string"},
            "listeners": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item},
            "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "rules": {"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            "selector": {"type": "object", "additionalProperties": {"type": "string"}},
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
            "nested": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
    }}))
    .unwrap()
}

fn writer<'a>(schema: &'a Schema, manager: &'a str) -> Writer<'a> {
    Writer {
        schema,
        manager,
        api_version: "example.org/v1",
        subresource: None,
        has_status: true,
        now: "2026-01-01T00:00:00Z",
    }
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "a", "namespace": "n"}, "spec": spec})
}

fn apply(schema: &Schema, manager: &str, live: Option<&Value>, spec: Value) -> Result<Value, ApplyError> {
    managed::apply(&writer(schema, manager), live, &object(spec), false)
}

/// `manager` → its FieldsV1, of all entries.
fn owners(object: &Value) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let pair = |entry: &Value| (entry["manager"].as_str().unwrap().to_string(), entry["fieldsV1"].clone());
    Value::Object(entries.iter().map(pair).collect())
}

fn conflicts(result: Result<Value, ApplyError>) -> String {
    match result {
        Err(ApplyError::Conflicts(conflicts)) => conflicts.to_string(),
        other => panic!("no conflict: {other:?}"),
    }
}
