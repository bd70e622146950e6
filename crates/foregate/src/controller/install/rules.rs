//! What the controller may do in the cluster: as much as it uses.

use foregate_api::gateway::STANDARD_KINDS;
use serde_json::{Value, json};

use super::NAME;

/// The Gateway API's group.
const GATEWAY: &str = foregate_api::gateway::GATEWAY_GROUP;
/// That of its experiments.
const EXPERIMENTAL: &str = "gateway.networking.x-k8s.io";
/// What is read besides the standard's kinds, by API group.
const READ: [(&str, &[&str]); 7] = [
    (EXPERIMENTAL, &["xbackends", "xbackendtrafficpolicies", "xtelemetrypolicies"]),
    ("gateway.envoyproxy.io", &["backends", "envoyproxies"]),
    (foregate_api::GROUP, &["gatewayclassparameters"]),
    ("", &["configmaps", "namespaces", "pods", "secrets", "services"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("certificates.k8s.io", &["clustertrustbundles"]),
    // To notice when a kind of the Gateway API is installed.
    ("apiextensions.k8s.io", &["customresourcedefinitions"]),
];
/// What has a status that is told besides the standard's kinds.
const TOLD: [(&str, &[&str]); 2] = [
    (EXPERIMENTAL, &["xbackends", "xbackendtrafficpolicies", "xtelemetrypolicies"]),
    ("gateway.envoyproxy.io", &["backends"]),
];

fn rule(group: &str, resources: &[impl AsRef<str>], verbs: &[&str]) -> Value {
    let resources: Vec<&str> = resources.iter().map(AsRef::as_ref).collect();
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}

/// What the controller may do in all namespaces.
pub fn everywhere() -> Vec<Value> {
    let standard: Vec<&str> = STANDARD_KINDS.to_vec();
    // A grant has none.
    let told: Vec<&str> = STANDARD_KINDS.into_iter().filter(|kind| *kind != "referencegrants").collect();
    let with_standard = |kinds: Vec<&'static str>, others: &'static [(&'static str, &'static [&'static str])]| {
        std::iter::once((GATEWAY, kinds)).chain(others.iter().map(|(group, kinds)| (*group, kinds.to_vec())))
    };
    let reads = with_standard(standard, &READ).map(|(group, kinds)| rule(group, &kinds, &["list", "watch"]));
    let statuses = with_standard(told, &TOLD).map(|(group, kinds)| {
        let statuses: Vec<String> = kinds.iter().map(|kind| format!("{kind}/status")).collect();
        rule(group, &statuses, &["patch"])
    });
    let others = [
        // Its finalizer, as long as Gateways use a class.
        rule(GATEWAY, &["gatewayclasses"], &["patch"]),
        // Those that stand for Gateways with `infrastructure`.
        rule("", &["services"], &["create", "patch", "delete"]),
    ];
    reads.chain(statuses).chain(others).collect()
}

/// What the controller may do in its own namespace: say which of its replicas works, and renew its credentials.
pub fn own(credentials: &[String]) -> Vec<Value> {
    let group = "coordination.k8s.io";
    let named = |group: &str, resource: &str, names: &[String], verbs: &[&str]| json!({ "apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": verbs });
    vec![
        // What is made has no name yet that a rule could ask for.
        rule(group, &["leases"], &["create"]),
        named(group, "leases", &[NAME.to_owned()], &["list", "watch", "update"]),
        named("", "secrets", credentials, &["patch"]),
    ]
}
