//! What an EnvoyProxy means for gateways that run on a platform: what it says about itself is done, told, or refused by
//! its field's path, and never ignored.

use foregate_api::envoy_gateway::EnvoyProxySpec;
use serde_json::Value;

/// What an EnvoyProxy asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// All Gateways of the class share one gateway.
    pub merges: bool,
    /// What is to be told of what has no meaning here.
    pub note: Option<&'static str>,
}

const NOTE: &str = "spec.provider of the EnvoyProxy has no meaning here: gateways run on the platform, as their \
                    GatewayTemplate says";

/// What it asks for; or the first field that can't be done, with what to do about it.
pub(crate) fn read(spec: &EnvoyProxySpec) -> Result<Asked, String> {
    if spec.routing_type.as_deref().is_some_and(|kind| kind != "Endpoint") {
        return Err("spec.routingType: only Endpoint is done: requests go to Pods".to_owned());
    }
    for (field, value) in &spec.others {
        if let Some(path) = said(&format!("spec.{field}"), value) {
            return Err(format!("{path}: {}", why(field)));
        }
    }
    let note = spec.provider.as_ref().and_then(|provider| said("spec.provider", provider)).map(|_| NOTE);
    Ok(Asked { merges: spec.merge_gateways.unwrap_or_default(), note })
}

/// What can be done instead.
fn why(field: &str) -> &'static str {
    match field {
        "bootstrap" => "Foregate makes the bootstrap itself; remove it",
        "logging" | "telemetry" => {
            "isn't read from an EnvoyProxy: a GatewayTemplate's Envoy configuration on the platform says it"
        }
        "concurrency" | "extraArgs" | "shutdown" => "is up to the platform, which runs the gateways; remove it here",
        "filterOrder" => "the order of filters is the GatewayTemplate's, on the platform; remove it here",
        "backendTLS" => "isn't read from an EnvoyProxy: a Gateway's spec.tls.backend says what is shown to backends",
        "ipFamily" => "a gateway has the addresses that a Gateway's spec.addresses asks for; remove it here",
        _ => "isn't supported; remove it",
    }
}

/// The path of something that a value says; none: nothing that differs from its absence.
fn said(path: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) => (!text.is_empty()).then(|| path.to_owned()),
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            let first = items.next()?;
            Some(said(&format!("{path}[{}]", first.0), first.1).unwrap_or_else(|| path.to_owned()))
        }
        Value::Object(fields) => fields.iter().find_map(|(field, value)| said(&format!("{path}.{field}"), value)),
        _ => Some(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_is_done_told_or_refused() {
        let done = |merges| Ok(Asked { merges, note: None });
        let cases = [
            (json!({}), done(false)),
            (json!({ "mergeGateways": true }), done(true)),
            (json!({ "mergeGateways": false, "routingType": "Endpoint" }), done(false)),
            // As if they weren't there.
            (
                json!({ "telemetry": {}, "extraArgs": [], "preserveRouteOrder": false, "concurrency": null }),
                done(false),
            ),
            (
                json!({ "provider": { "type": "Kubernetes", "kubernetes": { "envoyDeployment": { "replicas": 2 } } } }),
                Ok(Asked { merges: false, note: Some(NOTE) }),
            ),
            (json!({ "routingType": "Service" }), Err("spec.routingType")),
            (json!({ "concurrency": 4 }), Err("spec.concurrency")),
            (json!({ "bootstrap": { "value": "x" } }), Err("spec.bootstrap.value")),
            (json!({ "logging": { "level": { "default": "warn" } } }), Err("spec.logging.level.default")),
            (json!({ "telemetry": { "accessLog": { "disable": true } } }), Err("spec.telemetry.accessLog.disable")),
            (json!({ "shutdown": { "drainTimeout": "5s" } }), Err("spec.shutdown.drainTimeout")),
            (json!({ "filterOrder": [{ "name": "envoy.filters.http.cors" }] }), Err("spec.filterOrder[0].name")),
            (json!({ "backendTLS": { "clientCertificateRef": { "name": "c" } } }), Err("spec.backendTLS.client")),
            (json!({ "ofNextYear": 0 }), Err("spec.ofNextYear")),
        ];
        for (spec, expected) in cases {
            let found = read(&serde_json::from_value(spec.clone()).unwrap());
            match expected {
                Ok(asked) => assert_eq!(found, Ok(asked), "{spec}"),
                Err(path) => assert!(found.unwrap_err().starts_with(path), "{spec}"),
            }
        }
    }
}
