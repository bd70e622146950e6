//! GatewayNode: a machine that gateways run on.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
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
    /// Which of the node's credentials are good: those of this generation and later ones. To raise it revokes the older
    /// ones.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub credential_generation: i64,
    /// How long its credentials are good, in seconds; 90 days unless it is set. Its agent renews them when a third of
    /// that is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3600, max = 315_360_000))]
    pub credential_seconds: Option<u32>,
}

/// The user name of a node's credential is this and the node's name.
pub const NODE_USER: &str = "system:foregate:node:";
/// The group of all nodes' credentials.
pub const NODES_GROUP: &str = "system:foregate:nodes";

/// What a node's agent says of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayNodeStatus {
    /// The engines that it can run, `builtin` first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<NodeEngine>,
    /// When the newest credential was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_issued: Option<Time>,
    /// When the newest credential that was made for it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_expires: Option<Time>,
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
