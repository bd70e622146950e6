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
    printcolumn = r#"{"name":"Engine","type":"string","jsonPath":".spec.engine"}"#,
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.engine.state"}"#,
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
    /// What it runs on, from the gateway's template.
    #[serde(default = "crate::template::default_engine")]
    #[schemars(regex(pattern = crate::engine::ENGINE_PATTERN))]
    pub engine: String,
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
    /// How its process fares. The node agent writes it; everything else in here is the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineStatus>,
}

/// How an instance's engine fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EngineStatus {
    /// What it does.
    pub state: EngineState,
    /// The engine that runs, e.g. `envoy@1.40.0`; differs from `spec.engine` while it is being replaced.
    pub name: String,
    /// Its process id, where it has a process of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How often it had to be replaced because it died or hung, since the agent started.
    #[serde(default)]
    pub restarts: u32,
    /// Why it isn't running, in words that say what to do; empty while it runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when it is in this state.
    pub since: Time,
}

/// What an engine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EngineState {
    /// Its process is there and hasn't said that it is ready.
    Starting,
    /// It runs and answers its agent.
    Running,
    /// It has died or hung, and is started again after a pause that grows.
    Backoff,
    /// The node has no such engine: `foregate engine add` adds it.
    Missing,
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
