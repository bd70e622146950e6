//! GatewayNode: a machine that gateways run on.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A machine that gateways run on. Its agent (`foregate node`) starts the instances that the platform puts there.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "GatewayNode",
    status = "GatewayNodeStatus",
    derive = "PartialEq",
    shortname = "gwnode",
    category = "foregate",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Engines","type":"string","jsonPath":".status.engines[*].name"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayNodeSpec {
    /// Takes no new instances.
    #[serde(default)]
    pub unschedulable: bool,
}

/// What a node's agent says of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayNodeStatus {
    /// The engines that it can run, `builtin` first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<NodeEngine>,
    /// `Ready`: its agent runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// An engine of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeEngine {
    /// As `spec.engine` of a GatewayTemplate names it.
    pub name: String,
    /// SHA-256 of its binary, in hex; none for the built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}
