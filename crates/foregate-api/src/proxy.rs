//! GatewayProxy: one running gateway.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::claim::{ClaimInfrastructure, ClaimListener, InstanceCounts};
use crate::template::GatewayTemplateSpec;
use crate::tracing::Tracing;

/// One running gateway: an editable copy of its template, and in its status the merge of its claims.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "GatewayProxy",
    namespaced,
    status = "GatewayProxyStatus",
    derive = "PartialEq",
    shortname = "gwproxy",
    category = "foregate",
    printcolumn = r#"{"name":"Address","type":"string","jsonPath":".status.addresses[0]"}"#,
    printcolumn = r#"{"name":"Engine","type":"string","jsonPath":".spec.template.engine"}"#,
    printcolumn = r#"{"name":"Ready","type":"integer","jsonPath":".status.instances.ready"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayProxySpec {
    /// The GatewayTemplate that it was made from.
    pub template_name: String,
    /// Its own copy of that template.
    pub template: GatewayTemplateSpec,
    /// Addresses that it is to have if its first claim asks for none: an operator's wish.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requested_addresses: Vec<String>,
    /// The ConfigRevision that it is held at; none: it follows its claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_revision: Option<String>,
}

/// What a gateway is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayProxyStatus {
    /// Generation that this describes.
    #[serde(default)]
    pub observed_generation: i64,
    /// Its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Names of its claims, in order of creation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<String>,
    /// The merge of its claims' listeners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ProxyListener>,
    /// Name of a Secret of this namespace (`kubernetes.io/tls`): what is shown to backends that are spoken TLS with. Its
    /// first claim's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_client_certificate: Option<String>,
    /// Labels and annotations that its first claim wants on what is made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<ClaimInfrastructure>,
    /// `Programmed`, `TemplateValid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Ready and connected instances.
    #[serde(default)]
    pub instances: InstanceCounts,
    /// While the template can't be used: the one that serves on, also after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<LastGood>,
}

/// The template that serves while the present one can't.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastGood {
    /// It, as JSON.
    pub template: String,
    /// Hash of the template that it stands in for; another one is tried.
    pub instead_of: String,
    /// What the engine said against that; none: it doesn't render, or what it renders isn't valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// A listener of a gateway, with the claim that it is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyListener {
    /// Name of the claim.
    pub claim: String,
    /// The listener.
    #[serde(flatten)]
    pub listener: ClaimListener,
    /// How its claim wants requests traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
}
