//! The CustomResourceDefinitions that Foregate installs: its own, generated from the types; the Gateway API's, which are
//! the project's own manifests (1.7.0, experimental channel); and Envoy Gateway's `Backend` and `EnvoyProxy`, written by
//! hand.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::cluster::NAME_RULES;
use crate::{
    Address, AddressPool, ConfigRevision, GROUP, GatewayBackend, GatewayClaim, GatewayClassParameters,
    GatewayEndpointSlice, GatewayInstance, GatewayNode, GatewayProxy, GatewayRoute, GatewayTemplate, WorkloadCluster,
};

/// A CRD manifest that can't be read: only possible when the crate was built from a damaged file.
#[derive(Debug, thiserror::Error)]
#[error("the CRD {name} that is built in can't be read: {message}")]
pub struct CrdError {
    /// The CRD's name.
    pub name: String,
    /// Why.
    pub message: String,
}

const MANIFESTS: [(&str, &str); 15] = [
    ("backends.gateway.envoyproxy.io", include_str!("../crds/envoy-gateway/gateway.envoyproxy.io_backends.yaml")),
    (
        "envoyproxies.gateway.envoyproxy.io",
        include_str!("../crds/envoy-gateway/gateway.envoyproxy.io_envoyproxies.yaml"),
    ),
    (
        "backendtlspolicies.gateway.networking.k8s.io",
        include_str!("../crds/gateway-api/gateway.networking.k8s.io_backendtlspolicies.yaml"),
    ),
    (
        "gatewayclasses.gateway.networking.k8s.io",
        include_str!("../crds/gateway-api/gateway.networking.k8s.io_gatewayclasses.yaml"),
    ),
    ("gateways.gateway.networking.k8s.io", include_str!("../crds/gateway-api/gateway.networking.k8s.io_gateways.yaml")),
    (
        "grpcroutes.gateway.networking.k8s.io",
        include_str!("../crds/gateway-api/gateway.networking.k8s.io_grpcroutes.yaml"),
    ),
    (
        "httproutes.gateway.networking.k8s.io",
        include_str!("../crds/gateway-api/gateway.networking.k8s.io_httproutes.yaml"),
    ),
    (
        "referencegrants.gateway.networking.k8s.io",
        include_str!("../crds/gateway-api/gateway.networking.k8s.io_referencegrants.yaml"),
    ),
    (
        "listenersets.gateway.networking.k8s.io",
        include_str!("../crds/gateway-api/gateway.networking.k8s.io_listenersets.yaml"),
    ),
    (
        "tcproutes.gateway.networking.k8s.io",
        include_str!("../crds/gateway-api/gateway.networking.k8s.io_tcproutes.yaml"),
    ),
    (
        "tlsroutes.gateway.networking.k8s.io",
        include_str!("../crds/gateway-api/gateway.networking.k8s.io_tlsroutes.yaml"),
    ),
    (
        "udproutes.gateway.networking.k8s.io",
        include_str!("../crds/gateway-api/gateway.networking.k8s.io_udproutes.yaml"),
    ),
    (
        "xbackends.gateway.networking.x-k8s.io",
        include_str!("../crds/gateway-api/gateway.networking.x-k8s.io_xbackends.yaml"),
    ),
    (
        "xbackendtrafficpolicies.gateway.networking.x-k8s.io",
        include_str!("../crds/gateway-api/gateway.networking.x-k8s.io_xbackendtrafficpolicies.yaml"),
    ),
    (
        "xtelemetrypolicies.gateway.networking.x-k8s.io",
        include_str!("../crds/gateway-api/gateway.networking.x-k8s.io_xtelemetrypolicies.yaml"),
    ),
];

/// Those of Foregate's own kinds, as [`own`] makes them; a test keeps them so. What generates them is large, and not
/// needed to install them.
const OWN: [(&str, &str); 13] = [
    ("addresses.foregate.dev", include_str!("../crds/foregate/foregate.dev_addresses.yaml")),
    ("addresspools.foregate.dev", include_str!("../crds/foregate/foregate.dev_addresspools.yaml")),
    ("configrevisions.foregate.dev", include_str!("../crds/foregate/foregate.dev_configrevisions.yaml")),
    ("gatewaybackends.foregate.dev", include_str!("../crds/foregate/foregate.dev_gatewaybackends.yaml")),
    ("gatewayclaims.foregate.dev", include_str!("../crds/foregate/foregate.dev_gatewayclaims.yaml")),
    ("gatewayclassparameters.foregate.dev", include_str!("../crds/foregate/foregate.dev_gatewayclassparameters.yaml")),
    ("gatewayendpointslices.foregate.dev", include_str!("../crds/foregate/foregate.dev_gatewayendpointslices.yaml")),
    ("gatewayinstances.foregate.dev", include_str!("../crds/foregate/foregate.dev_gatewayinstances.yaml")),
    ("gatewaynodes.foregate.dev", include_str!("../crds/foregate/foregate.dev_gatewaynodes.yaml")),
    ("gatewayproxies.foregate.dev", include_str!("../crds/foregate/foregate.dev_gatewayproxies.yaml")),
    ("gatewayroutes.foregate.dev", include_str!("../crds/foregate/foregate.dev_gatewayroutes.yaml")),
    ("gatewaytemplates.foregate.dev", include_str!("../crds/foregate/foregate.dev_gatewaytemplates.yaml")),
    ("workloadclusters.foregate.dev", include_str!("../crds/foregate/foregate.dev_workloadclusters.yaml")),
];

/// Everything that `foregate up` installs: Foregate's kinds and those of others that it serves. They are large: each is
/// read when its turn comes, and nobody keeps them.
pub fn manifests() -> impl Iterator<Item = Result<Value, CrdError>> {
    OWN.into_iter().chain(MANIFESTS).map(|(name, text)| {
        let mut crd: Value = serde_saphyr::from_str(text)
            .map_err(|error| CrdError { name: name.to_owned(), message: error.to_string() })?;
        if let Some(crd) = crd.as_object_mut() {
            crd.remove("status");
        }
        Ok(crd)
    })
}

/// All of [`manifests`], typed.
///
/// # Errors
/// [`CrdError`] when the binary holds a damaged manifest.
pub fn crds() -> Result<Vec<CustomResourceDefinition>, CrdError> {
    let typed = |crd: Value| {
        let name = crd["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        serde_json::from_value(crd).map_err(|error| CrdError { name, message: error.to_string() })
    };
    manifests().map(|crd| crd.and_then(typed)).collect()
}

/// Foregate's own CRDs, generated from the types.
///
/// # Errors
/// [`CrdError`] when a generated schema isn't a CRD's.
pub fn own() -> Result<Vec<CustomResourceDefinition>, CrdError> {
    [
        Address::crd(),
        AddressPool::crd(),
        ConfigRevision::crd(),
        GatewayBackend::crd(),
        GatewayClaim::crd(),
        GatewayClassParameters::crd(),
        GatewayEndpointSlice::crd(),
        GatewayInstance::crd(),
        GatewayNode::crd(),
        GatewayProxy::crd(),
        GatewayRoute::crd(),
        GatewayTemplate::crd(),
        WorkloadCluster::crd(),
    ]
    .into_iter()
    .map(tidy)
    .collect()
}

/// Turns what `schemars` knows and Kubernetes doesn't (`uint16` and its like) into bounds.
fn tidy(crd: CustomResourceDefinition) -> Result<CustomResourceDefinition, CrdError> {
    let name = crd.metadata.name.clone().unwrap_or_default();
    let fail = |error: serde_json::Error| CrdError { name: name.clone(), message: error.to_string() };
    let mut value = serde_json::to_value(crd).map_err(fail)?;
    if let Some(versions) = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
                bound_integers(schema);
                if name == format!("workloadclusters.{GROUP}") {
                    schema["x-kubernetes-validations"] =
                        NAME_RULES.iter().map(|(rule, message)| json!({ "rule": rule, "message": message })).collect();
                }
            }
        }
    }
    serde_json::from_value(value).map_err(fail)
}

fn bound_integers(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("type").and_then(Value::as_str) == Some("integer") {
                let unsigned = map.get("format").and_then(Value::as_str).filter(|f| f.starts_with("uint"));
                // A bound is a float in a CRD and can't hold the largest 64-bit number: `int64` says it anyway.
                let maximum = match unsigned {
                    Some("uint8") => Some(u32::from(u8::MAX)),
                    Some("uint16") => Some(u32::from(u16::MAX)),
                    Some("uint32") => Some(u32::MAX),
                    _ => None,
                };
                if unsigned.is_some() {
                    map.insert("format".to_owned(), "int64".into());
                    map.entry("minimum").or_insert_with(|| 0.into());
                }
                if let Some(maximum) = maximum {
                    map.entry("maximum").or_insert_with(|| maximum.into());
                }
            }
            map.values_mut().for_each(bound_integers);
        }
        Value::Array(items) => items.iter_mut().for_each(bound_integers),
        _ => {}
    }
}
