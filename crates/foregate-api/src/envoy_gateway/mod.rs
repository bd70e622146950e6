//! Kinds of Envoy Gateway (group `gateway.envoyproxy.io`, version `v1alpha1`) that Foregate serves as well, so that
//! manifests written for it work unchanged.
//!
//! Types and CRD are written by hand after that project's published API; a field that Foregate can't do is there, and
//! refused in the object's status.

mod backend;
mod envoy_proxy;

pub use backend::*;
pub use envoy_proxy::*;

/// The API group.
pub const GROUP: &str = "gateway.envoyproxy.io";
