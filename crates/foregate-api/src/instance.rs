//! GatewayInstance: one engine of one gateway on one node.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::ProxyRef;

/// One engine of one gateway on one node.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "GatewayInstance",
    status = "GatewayInstanceStatus",
    derive = "PartialEq",
    shortname = "gwinstance",
    category = "foregate",
    printcolumn = r#"{"name":"Proxy","type":"string","jsonPath":".spec.proxy.name"}"#,
    printcolumn = r#"{"name":"Node","type":"string","jsonPath":".spec.node"}"#,
    printcolumn = r#"{"name":"Connected","type":"boolean","jsonPath":".status.connected"}"#,
    printcolumn = r#"{"name":"Ready","type":"boolean","jsonPath":".status.ready"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayInstanceSpec {
    /// The gateway.
    pub proxy: ProxyRef,
    /// The node's name.
    pub node: String,
}

/// What an instance has applied. Written at most 5 times a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayInstanceStatus {
    /// Has an open xDS stream.
    #[serde(default)]
    pub connected: bool,
    /// Serves.
    #[serde(default)]
    pub ready: bool,
    /// What it has refused last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_nack: Option<Nack>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nack {
    /// Type URL of the resource.
    pub type_url: String,
    /// Names of the resources in the refused response.
    pub resources: Vec<String>,
    /// The engine's own words.
    pub message: String,
    /// When.
    pub time: Time,
}
