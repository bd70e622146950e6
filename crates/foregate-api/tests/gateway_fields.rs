//! No field of the Gateway API or of Envoy Gateway's `Backend` may be missing from our types: each CRD's schema yields an object that sets every
//! field, which must survive a round trip.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::Path;

use foregate_api::envoy_gateway::Backend;
use foregate_api::gateway::experimental::{EXPERIMENTAL_GROUP, XBackend, XBackendTrafficPolicy, XTelemetryPolicy};
use foregate_api::gateway::{
    BackendTLSPolicy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, ReferenceGrant, TCPRoute, TLSRoute,
    UDPRoute,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The schema of a version of a CRD.
fn schema(file: &str, version: &str) -> Value {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("crds/{file}.yaml"))).unwrap();
    let crd: Value = serde_saphyr::from_str(&text).unwrap();
    let versions = crd.pointer("/spec/versions").unwrap().as_array().unwrap();
    let found = versions.iter().find(|v| v["name"] == version).expect("the version is there");
    found.pointer("/schema/openAPIV3Schema").unwrap().clone()
}

/// A value of the schema with every field set; the last of an enum's values, so that defaults don't hide anything.
fn sample(schema: &Value) -> Value {
    if let Some(values) = schema["enum"].as_array() {
        return values.last().unwrap().clone();
    }
    match schema["type"].as_str().unwrap() {
        "object" => match schema["properties"].as_object() {
            Some(properties) => {
                properties.iter().map(|(name, s)| (name.clone(), sample(s))).collect::<Map<_, _>>().into()
            }
            None if schema["additionalProperties"].is_null() => json!({}),
            None => json!({ "key": sample(&schema["additionalProperties"]) }),
        },
        "array" => json!([sample(&schema["items"])]),
        "integer" => schema["minimum"].as_i64().map_or(3, |least| least + 1).into(),
        "boolean" => true.into(),
        "string" if schema["format"] == "date-time" => "2026-01-02T03:04:05Z".into(),
        "string" => "text".into(),
        other => panic!("a type that no CRD of the Gateway API had before: {other}"),
    }
}

fn round_trip<K: Serialize + DeserializeOwned>(plural: &str, kind: &str) {
    let file = format!("gateway-api/gateway.networking.k8s.io_{plural}");
    survives::<K>(&file, "gateway.networking.k8s.io", "v1", kind);
}

fn survives<K: Serialize + DeserializeOwned>(file: &str, group: &str, version: &str, kind: &str) {
    let mut object = sample(&schema(file, version));
    object["apiVersion"] = format!("{group}/{version}").into();
    object["kind"] = kind.into();
    object["metadata"] = json!({ "name": "sample" });
    let typed: K = serde_json::from_value(object.clone()).unwrap();
    let back = serde_json::to_value(&typed).unwrap();
    assert_eq!(back, object, "{kind}: a field is lost or changed");
}

#[test]
fn every_field_of_every_kind_is_there() {
    round_trip::<GatewayClass>("gatewayclasses", "GatewayClass");
    round_trip::<Gateway>("gateways", "Gateway");
    round_trip::<HTTPRoute>("httproutes", "HTTPRoute");
    round_trip::<GRPCRoute>("grpcroutes", "GRPCRoute");
    round_trip::<TCPRoute>("tcproutes", "TCPRoute");
    round_trip::<TLSRoute>("tlsroutes", "TLSRoute");
    round_trip::<UDPRoute>("udproutes", "UDPRoute");
    round_trip::<ListenerSet>("listenersets", "ListenerSet");
    round_trip::<ReferenceGrant>("referencegrants", "ReferenceGrant");
    round_trip::<BackendTLSPolicy>("backendtlspolicies", "BackendTLSPolicy");
    let file = |plural: &str| format!("gateway-api/{EXPERIMENTAL_GROUP}_{plural}");
    survives::<XBackend>(&file("xbackends"), EXPERIMENTAL_GROUP, "v1alpha1", "XBackend");
    let policies = file("xbackendtrafficpolicies");
    survives::<XBackendTrafficPolicy>(&policies, EXPERIMENTAL_GROUP, "v1alpha1", "XBackendTrafficPolicy");
    let policies = file("xtelemetrypolicies");
    survives::<XTelemetryPolicy>(&policies, EXPERIMENTAL_GROUP, "v1alpha1", "XTelemetryPolicy");
    survives::<Backend>("envoy-gateway/gateway.envoyproxy.io_backends", "gateway.envoyproxy.io", "v1alpha1", "Backend");
}

#[test]
fn values_of_a_newer_api_are_read() {
    let route: HTTPRoute = serde_json::from_value(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": { "name": "new" },
        "spec": { "rules": [{
            "matches": [{ "path": { "type": "Glob", "value": "/*" } }],
            "filters": [{ "type": "Brew", "brew": {} }],
        }] },
    }))
    .unwrap();
    let rule = &route.spec.rules[0];
    assert_eq!(rule.filters[0].kind, foregate_api::gateway::RouteFilterType::Unknown);
    let path = rule.matches[0].path.as_ref().unwrap();
    assert_eq!(path.kind, Some(foregate_api::gateway::PathMatchType::Unknown));
}
