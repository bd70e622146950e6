#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod metadata;
mod prepare;
mod rules;
mod structure;

use serde_json::{Value, json};

use super::Schema;

/// A schema with these properties under `spec`.
fn spec(properties: Value) -> Schema {
    Schema::compile(&json!({
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": properties}},
    }))
    .unwrap()
}

/// An object with this `spec`.
fn object(spec: Value) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec})
}

fn errors(schema: &Schema, new: &Value, old: Option<&Value>) -> Vec<String> {
    schema.validate(new, old).iter().map(ToString::to_string).collect()
}
