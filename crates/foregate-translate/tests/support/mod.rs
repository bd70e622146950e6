//! Inputs from manifests.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, reason = "tests; each test file uses a part")]

pub mod world;

use std::sync::Arc;

use foregate_translate::{Change, Input, default_template};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Every document of a YAML text as an input.
pub fn inputs(text: &str) -> Vec<Input> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("manifests are YAML");
    documents.into_iter().filter(|document| !document.is_null()).map(input).collect()
}

/// One manifest as an input; `template: stock` stands for the stock template, `template: envoy` for that on an Envoy.
pub fn input(mut manifest: Value) -> Input {
    let kind = manifest["kind"].as_str().expect("a manifest has a kind").to_owned();
    let engine = match manifest["spec"]["template"].as_str() {
        Some("stock") => Some("builtin"),
        Some("envoy") => Some("envoy@1.40.0"),
        _ => None,
    };
    if let Some(engine) = engine {
        manifest["spec"]["template"] = serde_json::to_value(default_template().spec).unwrap();
        manifest["spec"]["template"]["engine"] = engine.into();
    }
    match kind.as_str() {
        "GatewayProxy" => Input::Proxy(set(manifest)),
        "GatewayRoute" => Input::Route(set(manifest)),
        "GatewayBackend" => Input::Backend(set(manifest)),
        "GatewayEndpointSlice" => Input::Slice(set(manifest)),
        "Secret" => Input::Secret(set(manifest)),
        other => panic!("unknown kind {other}"),
    }
}

fn set<K: DeserializeOwned>(manifest: Value) -> Change<K> {
    let text = manifest.to_string();
    Change::Set(Arc::new(serde_json::from_value(manifest).unwrap_or_else(|error| panic!("{error}: {text}"))))
}
