//! In which order kinds are applied: what is named before what names it. Deleted in the reverse.

use super::document::ObjectKey;

/// Kinds in their order. What isn't here comes where `*` is.
const ORDER: &[&str] = &[
    "Namespace",
    "CustomResourceDefinition",
    "Tenant",
    "ClusterRole",
    "Role",
    "ServiceAccount",
    "ClusterRoleBinding",
    "RoleBinding",
    "GatewayClass",
    "AddressPool",
    "GatewayTemplate",
    "Secret",
    "ConfigMap",
    "EndpointSlice",
    "Service",
    "Backend",
    "BackendTLSPolicy",
    "ReferenceGrant",
    "*",
    "Gateway",
    "ListenerSet",
    "HTTPRoute",
    "GRPCRoute",
    "TLSRoute",
    "TCPRoute",
    "UDPRoute",
];

/// The place of an object's kind.
pub(crate) fn rank(key: &ObjectKey) -> usize {
    let at = |kind: &str| ORDER.iter().position(|it| *it == kind);
    at(&key.kind).or_else(|| at("*")).unwrap_or_default()
}
