//! Kinds of the experimental channel, group `gateway.networking.x-k8s.io`, version `v1alpha1`.

mod backend;
mod backend_traffic_policy;
mod telemetry_policy;

pub use backend::*;
pub use backend_traffic_policy::*;
pub use telemetry_policy::*;

/// The API group of the experimental kinds.
pub const EXPERIMENTAL_GROUP: &str = "gateway.networking.x-k8s.io";
