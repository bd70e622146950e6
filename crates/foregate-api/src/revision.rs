//! ConfigRevision: one step in a gateway's configuration.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Origin;

/// One step in a gateway's configuration, published or refused. Written after the fact; endpoints and secrets are
/// never in it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "ConfigRevision",
    namespaced,
    derive = "PartialEq",
    shortname = "gwrev",
    category = "foregate",
    printcolumn = r#"{"name":"Proxy","type":"string","jsonPath":".spec.proxy"}"#,
    printcolumn = r#"{"name":"Number","type":"integer","jsonPath":".spec.number"}"#,
    printcolumn = r#"{"name":"Changes","type":"integer","jsonPath":".spec.changeCount"}"#,
    printcolumn = r#"{"name":"Time","type":"string","jsonPath":".spec.time"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ConfigRevisionSpec {
    /// Name of the GatewayProxy.
    pub proxy: String,
    /// Counts up per gateway.
    pub number: u64,
    /// Name of the revision before; none for the first kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When it was published.
    pub time: MicroTime,
    /// The users' objects that caused it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Origin>,
    /// Number of entries in `changes`.
    #[serde(default)]
    pub change_count: u32,
    /// Each resource that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ResourceChange>,
    /// What was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// Set on the parts of a pinned revision's whole configuration, and on nothing else: no step, but what it takes to
    /// serve that revision again whatever becomes of the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
}

/// A part of a pinned revision's whole configuration; an object holds as much as fits into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Name of the revision.
    pub revision: String,
    /// Which part, from 1.
    pub part: u32,
    /// How many there are.
    pub parts: u32,
    /// Resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<KeptResource>,
}

/// One resource of a pinned revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptResource {
    /// Type URL.
    pub type_url: String,
    /// Name.
    pub name: String,
    /// Version: hash of the encoded message.
    pub version: String,
    /// JSON.
    pub text: String,
    /// What it names, as in [`ResourceChange::old_needs`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// One changed resource: its old text (so that an older configuration can be rebuilt from a newer one) and both hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceChange {
    /// Type URL.
    pub type_url: String,
    /// Name.
    pub name: String,
    /// JSON before; none: it was new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// Version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_version: Option<String>,
    /// What it named before, as `<kind> <name>` (`Cluster 3f…/9c…`): an engine takes it after these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub old_needs: Vec<String>,
    /// Version after; none: removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_version: Option<String>,
}

/// A refusal by translation or by an engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The user's object.
    pub origin: Origin,
    /// Why.
    pub message: String,
}
