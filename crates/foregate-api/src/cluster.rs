//! WorkloadCluster: a Kubernetes cluster (or another source of routes) that uses the platform.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::LOCAL_CLUSTER;

/// A cluster whose controller writes to this tenant. `foregate cluster add` makes one, and the credential that belongs
/// to it: a client certificate for the user [`user`], bound to this object's UID. It is refused once the object is being
/// deleted, and all that the cluster has written goes with the object.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "WorkloadCluster",
    namespaced,
    status = "WorkloadClusterStatus",
    derive = "PartialEq",
    shortname = "wcluster",
    category = "foregate",
    printcolumn = r#"{"name":"Connected","type":"string","jsonPath":".status.conditions[?(@.type==\"Connected\")].status"}"#,
    printcolumn = r#"{"name":"Last seen","type":"date","jsonPath":".status.lastSeen"}"#,
    printcolumn = r#"{"name":"Controller","type":"string","jsonPath":".status.controllerVersion"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadClusterSpec {
    /// Which of the cluster's credentials are good: those of this generation and later ones. To raise it revokes the
    /// older ones.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub credential_generation: i64,
    /// How long its credentials are good, in seconds; 90 days unless it is set. Its controller renews them when a third
    /// of that is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3600, max = 315_360_000))]
    pub credential_seconds: Option<u32>,
}

/// What is known of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadClusterStatus {
    /// When its controller last said that it is there. It does so every [`RENEW_SECONDS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
    /// When the newest credential was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_issued: Option<Time>,
    /// When the newest credential that was made for it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_expires: Option<Time>,
    /// The version of its controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_version: Option<String>,
    /// `Connected`: its controller has been seen within the last [`LOST_SECONDS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The condition of a cluster whose controller is there.
pub const CONNECTED: &str = "Connected";
/// How often a controller renews `status.lastSeen`.
pub const RENEW_SECONDS: u64 = 20;
/// After which silence a controller counts as lost.
pub const LOST_SECONDS: u64 = 60;
/// The namespace of a tenant is this and its name.
pub const TENANT_NAMESPACE_PREFIX: &str = "tenant-";
/// The user name of a cluster's credential is this, the tenant, `:` and the cluster's name.
pub const CLUSTER_USER: &str = "foregate:cluster:";
/// The group of all clusters' credentials.
pub const CLUSTERS_GROUP: &str = "foregate:clusters";

/// The user that a cluster's credential is for.
pub fn user(tenant: &str, cluster: &str) -> String {
    format!("{CLUSTER_USER}{tenant}:{cluster}")
}

/// Tenant and cluster of a credential's user name.
pub fn of_user(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(CLUSTER_USER)?.split_once(':')
}

/// The namespace of a tenant on the platform.
pub fn tenant_namespace(tenant: &str) -> String {
    format!("{TENANT_NAMESPACE_PREFIX}{tenant}")
}

/// What the API asks of a cluster's name, as CEL rules on the object and messages: the same as [`check_name`].
pub const NAME_RULES: [(&str, &str); 3] = [
    (
        "size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "a workload cluster's name has 1 to 63 lower-case letters, digits and `-`, not at the ends",
    ),
    ("self.metadata.name != 'local'", "`local` is the platform itself"),
    (
        "!self.metadata.name.matches('.[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$')",
        "a workload cluster's name may not end like a UID",
    ),
];

/// Checks a cluster's name: it begins the names of all that is derived from the cluster's objects, and nothing else may
/// begin them so.
///
/// # Errors
/// What a name must be, for a person.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_label = name.len() <= 63 && name.chars().all(fits) && edge(name.chars().next()) && edge(name.chars().last());
    if !is_label {
        return Err("1 to 63 lower-case letters, digits and `-`, not at the ends");
    }
    if name == LOCAL_CLUSTER {
        return Err("`local` is the platform itself");
    }
    if name.len() > 36 && is_uuid(&name.as_bytes()[name.len() - 36..]) {
        return Err("a name may not end like a UID");
    }
    Ok(())
}

/// Whether it is written as Kubernetes writes UIDs.
fn is_uuid(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(at, c)| match at {
        8 | 13 | 18 | 23 => *c == b'-',
        _ => c.is_ascii_digit() || (b'a'..=b'f').contains(c),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_names_tenant_and_cluster() {
        assert_eq!(user("shop", "edge-1"), "foregate:cluster:shop:edge-1");
        assert_eq!(of_user("foregate:cluster:shop:edge-1"), Some(("shop", "edge-1")));
        for other in ["foregate:cluster:shop", "admin", "foregate:node:a:b"] {
            assert_eq!(of_user(other), None, "{other}");
        }
    }

    #[test]
    fn names_of_clusters_are_parts_of_names() {
        for good in ["edge", "a", "edge-1", "2", &"a".repeat(63)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let like_another = "a-12345678-9abc-def0-1234-56789abcdef0";
        for bad in ["", "local", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64), like_another] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
