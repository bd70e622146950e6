//! AddressPool and Address: where gateways' addresses come from, and one object per address in use.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pool of addresses.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "AddressPool",
    status = "AddressPoolStatus",
    derive = "PartialEq",
    shortname = "pool",
    category = "foregate",
    printcolumn = r#"{"name":"Ranges","type":"string","jsonPath":".spec.ranges"}"#,
    printcolumn = r#"{"name":"Used","type":"integer","jsonPath":".status.used"}"#,
    printcolumn = r#"{"name":"Size","type":"integer","jsonPath":".status.size"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct AddressPoolSpec {
    /// CIDRs (`192.0.2.0/24`) or inclusive ranges (`192.0.2.10-192.0.2.20`). A CIDR's network and, for IPv4,
    /// broadcast address aren't given out.
    #[schemars(length(min = 1, max = 64))]
    pub ranges: Vec<String>,
}

/// What a pool has left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressPoolStatus {
    /// Addresses in use.
    #[serde(default)]
    pub used: u64,
    /// Addresses in all; capped at 2^63 - 1.
    #[serde(default)]
    pub size: u64,
}

/// One address in use or reserved. Its name is the address (IPv6 with `-` for `:`), so that the API server itself
/// keeps addresses unique.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "Address",
    derive = "PartialEq",
    category = "foregate",
    printcolumn = r#"{"name":"Pool","type":"string","jsonPath":".spec.pool"}"#,
    printcolumn = r#"{"name":"Namespace","type":"string","jsonPath":".spec.proxy.namespace"}"#,
    printcolumn = r#"{"name":"Proxy","type":"string","jsonPath":".spec.proxy.name"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct AddressSpec {
    /// The address.
    pub address: String,
    /// Its pool.
    pub pool: String,
    /// The gateway that has it; none: reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyRef>,
}

/// A GatewayProxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}
