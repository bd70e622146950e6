//! Gateway.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{GatewayTlsConfig, Listener, ListenerStatus};

/// A request for a load balancer: its listeners, and what it wants of addresses and infrastructure.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "Gateway",
    plural = "gateways",
    namespaced,
    status = "GatewayStatus",
    derive = "PartialEq",
    schema = "disabled",
    shortname = "gtw"
)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Its GatewayClass.
    pub gateway_class_name: String,
    /// Its listeners, 1 to 64, with names of their own.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Addresses asked for; empty leaves the choice to the platform.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewaySpecAddress>,
    /// Labels, annotations and parameters of what is made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<GatewayInfrastructure>,
    /// Which ListenerSets may attach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_listeners: Option<AllowedListeners>,
    /// TLS for the whole Gateway, to clients and to backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayTlsConfig>,
    /// `All`: routes that ask for default Gateways attach to it; none or `None`: they don't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scope: Option<String>,
}

/// An address that a Gateway asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewaySpecAddress {
    /// `IPAddress` (the default), `Hostname`, or a domain-prefixed type of an implementation.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// None: any one of that type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// From where it must be reachable: `Cluster`, or an implementation's; none: what is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routability: Option<String>,
}

/// An address that a Gateway has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStatusAddress {
    /// `IPAddress` or `Hostname`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The address.
    pub value: String,
    /// From where it is reachable: `Cluster`, or an implementation's; none: what is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routability: Option<String>,
}

/// What is handed on to what is made for a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayInfrastructure {
    /// Labels, at most 8.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, at most 8.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Parameters of this Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<super::LocalObjectReference>,
}

/// Which ListenerSets may attach to a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AllowedListeners {
    /// From which namespaces; none: from none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<ListenerNamespaces>,
}

/// Namespaces that ListenerSets may attach from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListenerNamespaces {
    /// Which; none: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<super::FromNamespaces>,
    /// Which labels, when `from` is `Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// What the controller says of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayStatusAddress>,
    /// `Accepted`, `Programmed`, `ResolvedRefs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// One entry per listener of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
    /// How many ListenerSets are attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<i32>,
}
