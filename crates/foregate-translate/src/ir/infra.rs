//! What has to run for a gateway.

use serde::Serialize;

/// A gateway's instances, addresses and ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Infra {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `builtin`, or the name of an engine.
    pub engine: String,
    /// Instances.
    pub replicas: u32,
    /// Addresses, the same on every instance.
    pub addresses: Vec<String>,
    /// Ports in use.
    pub ports: Vec<BoundPort>,
}

/// A port of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BoundPort {
    /// Name of its listener.
    pub listener: String,
    /// The user's number.
    pub port: u16,
    /// The number that is bound.
    pub bound: u16,
}
