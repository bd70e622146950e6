//! The kinds that are always there.

use super::kind::{Column, Kind};
use super::validation::Rules;

struct Row(&'static str, &'static str, &'static str, &'static str, &'static [&'static str], bool, bool);

/// Group, version, kind, plural, short names, namespaced, status.
const KINDS: &[Row] = &[
    Row("", "v1", "Namespace", "namespaces", &["ns"], false, true),
    Row("", "v1", "Secret", "secrets", &[], true, false),
    Row("", "v1", "ConfigMap", "configmaps", &["cm"], true, false),
    Row("", "v1", "Service", "services", &["svc"], true, true),
    Row("", "v1", "Endpoints", "endpoints", &["ep"], true, false),
    Row("", "v1", "Event", "events", &["ev"], true, false),
    Row("", "v1", "ServiceAccount", "serviceaccounts", &["sa"], true, false),
    Row("", "v1", "Node", "nodes", &["no"], false, true),
    Row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", &[], true, false),
    Row("events.k8s.io", "v1", "Event", "events", &["ev"], true, false),
    Row("coordination.k8s.io", "v1", "Lease", "leases", &[], true, false),
    Row("rbac.authorization.k8s.io", "v1", "Role", "roles", &[], true, false),
    Row("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", &[], true, false),
    Row("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", &[], false, false),
    Row("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", &[], false, false),
    Row("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", &["crd", "crds"], false, true),
];

/// All of them.
pub fn kinds() -> Vec<Kind> {
    KINDS.iter().map(kind).collect()
}

fn kind(row: &Row) -> Kind {
    let &Row(group, version, kind, plural, short_names, namespaced, status) = row;
    Kind {
        group: group.into(),
        version: version.into(),
        kind: kind.into(),
        list_kind: format!("{kind}List"),
        plural: plural.into(),
        singular: kind.to_lowercase(),
        short_names: short_names.iter().map(|s| (*s).to_owned()).collect(),
        categories: Vec::new(),
        namespaced,
        status,
        generation: matches!(kind, "CustomResourceDefinition" | "EndpointSlice"),
        storage_version: version.into(),
        mixed: false,
        columns: vec![Column {
            name: "Age".into(),
            kind: "date".into(),
            path: ".metadata.creationTimestamp".into(),
            ..Column::default()
        }],
        selectable: Vec::new(),
        storage: format!("{group}/{plural}").into(),
        definition: None,
        warning: None,
        rules: Rules::default(),
    }
}
