//! The OpenAPI definitions of the served built-in kinds.

use std::sync::LazyLock;

use serde_json::{Map, Value};

static DEFINITIONS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    // The file is part of the binary: a test reads it, so this can't fail at run time.
    serde_json::from_str(include_str!("../../data/openapi.json")).unwrap_or_default()
});

/// All definitions by their full name, as published: `io.k8s.api.core.v1.Namespace`, …
pub fn definitions() -> &'static Map<String, Value> {
    &DEFINITIONS
}
