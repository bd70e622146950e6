//! GatewayTemplate: what a tenant's gateways are made from.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A gateway's making: pool, engine, replicas and the Envoy configuration with Go templates. A new GatewayProxy gets
/// a copy, which may be edited on its own from then on.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "GatewayTemplate",
    namespaced,
    derive = "PartialEq",
    shortname = "gwtemplate",
    category = "foregate",
    printcolumn = r#"{"name":"Pool","type":"string","jsonPath":".spec.pool"}"#,
    printcolumn = r#"{"name":"Engine","type":"string","jsonPath":".spec.engine"}"#,
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".spec.replicas"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayTemplateSpec {
    /// The AddressPool that its gateways' addresses come from.
    #[serde(default = "default_pool")]
    pub pool: String,
    /// The engine that its gateways run on: `builtin`, the one of this binary, or `envoy@VERSION`, an Envoy that was
    /// added with `foregate engine add`.
    #[serde(default = "default_engine")]
    #[schemars(regex(pattern = crate::engine::ENGINE_PATTERN))]
    pub engine: String,
    /// Instances per gateway, at least 1.
    #[serde(default = "default_replicas")]
    pub replicas: u32,
    /// The Envoy configuration.
    pub envoy: EnvoyTemplate,
    /// Free values, `.values` in the templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_form")]
    pub values: Option<serde_json::Value>,
}

/// Envoy configuration as Go templates of YAML.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyTemplate {
    /// Renders one `envoy.config.listener.v3.Listener`, once per port. It sees `.gateway`, `.listener` and `.values`.
    pub listener: String,
    /// Renders zero or more static clusters, as a YAML list of `envoy.config.cluster.v3.Cluster`. Sees `.gateway` and
    /// `.values`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<String>,
    /// Renders a YAML mapping that is merged into each virtual host. Sees `.gateway`, `.virtualHost` and `.values`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_host_patch: Option<String>,
    /// Renders a YAML mapping that is merged into each route. Sees `.gateway`, `.route` and `.values`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_patch: Option<String>,
}

fn default_pool() -> String {
    crate::DEFAULT_NAME.to_owned()
}

pub(crate) fn default_engine() -> String {
    "builtin".to_owned()
}

const fn default_replicas() -> u32 {
    1
}

pub(crate) fn free_form(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
