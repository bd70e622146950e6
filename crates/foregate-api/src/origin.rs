//! Where a derived object comes from.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The user's object that an object on the platform was derived from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// Id of the workload cluster that holds it, e.g. `local`.
    pub cluster: String,
    /// Its API group; empty for core kinds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its kind, e.g. `HTTPRoute`.
    pub kind: String,
    /// Its namespace; empty for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: with the cluster, the identity of every derived object.
    pub uid: String,
    /// `metadata.generation` of the version that this was derived from; 0 for kinds without one.
    #[serde(default)]
    pub generation: i64,
    /// Its creation, which decides between routes of equal precedence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Time>,
}

impl Origin {
    /// Name of the object derived from this one: cluster and UID, e.g. `local-3f2b…`.
    pub fn derived_name(&self) -> String {
        format!("{}-{}", self.cluster, self.uid)
    }

    /// How a person names it: `HTTPRoute default/web`.
    pub fn display(&self) -> String {
        if self.namespace.is_empty() {
            format!("{} {}", self.kind, self.name)
        } else {
            format!("{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}
