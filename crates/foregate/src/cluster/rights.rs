//! What a cluster's credential may do on the platform: a Role of its own in the tenant's namespace.
//!
//! RBAC knows kinds and namespaces, not whose an object is. That a cluster writes no other cluster's objects is what
//! the admission policy says.

use foregate_api::WorkloadCluster;
use foregate_api::cluster::user;
use kube::Resource;
use serde_json::{Value, json};

use super::ClusterName;

/// Name of a cluster's Role and RoleBinding.
pub fn name(cluster: &ClusterName) -> String {
    format!("foregate:cluster:{}", cluster.name)
}

fn metadata(cluster: &ClusterName, uid: &str) -> Value {
    json!({ "name": name(cluster), "namespace": cluster.namespace(), "ownerReferences": [{
        "apiVersion": WorkloadCluster::api_version(&()), "kind": WorkloadCluster::kind(&()),
        "name": cluster.name, "uid": uid,
    }]})
}

/// The Role.
pub fn role(cluster: &ClusterName, uid: &str) -> Value {
    let group = foregate_api::GROUP;
    let rule = |group: &str, resources: Value, verbs: Value| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let own = |resource: &str, verbs: Value| json!({ "apiGroups": [group], "resources": [resource], "resourceNames": [cluster.name], "verbs": verbs });
    let derived = json!(["gatewayclaims", "gatewayroutes", "gatewaybackends", "gatewayendpointslices"]);
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": metadata(cluster, uid),
        "rules": [
            rule(group, derived, json!(["get", "list", "watch", "create", "update", "patch", "delete"])),
            // Keys go one way.
            rule("", json!(["secrets"]), json!(["create", "update", "patch", "delete"])),
            rule(group, json!(["gatewaytemplates"]), json!(["get"])),
            own("workloadclusters", json!(["get"])),
            own("workloadclusters/status", json!(["get", "update", "patch"])),
            // Its next credential.
            own("workloadclusters/certificate", json!(["create"])),
        ],
    })
}

/// The RoleBinding.
pub fn binding(cluster: &ClusterName, uid: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": metadata(cluster, uid),
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name(cluster) },
        "subjects": [{
            "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user(&cluster.tenant, &cluster.name),
        }],
    })
}
