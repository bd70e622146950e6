//! EnvoyProxy: how gateways are made and run, as parameters of a GatewayClass or of one Gateway.

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Parameters of gateways. Most of what it can say is about how Envoy Gateway deploys Envoy; only what has a meaning for
/// gateways that run elsewhere has a field of its own here.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.envoyproxy.io",
    version = "v1alpha1",
    kind = "EnvoyProxy",
    plural = "envoyproxies",
    namespaced,
    derive = "PartialEq",
    schema = "disabled",
    shortname = "eproxy"
)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyProxySpec {
    /// Whether all Gateways of a class share one gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_gateways: Option<bool>,
    /// `Endpoint`: requests go to Pods; `Service`: to the Service's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_type: Option<String>,
    /// Where Envoy Gateway runs Envoy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Value>,
    /// Everything else, by the names of its fields.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}
