//! The Gateway API's own kinds, version 1.7.0 (experimental channel), group `gateway.networking.k8s.io`, version
//! `v1`; kinds of `gateway.networking.x-k8s.io` are in [`experimental`].
//!
//! One file per kind; what several kinds share (references, listeners, matches, filters, statuses) has files of its
//! own and is generic over the route kind instead of copied. The schemas are the project's own CRDs, under
//! `crds/gateway-api`; a test holds these types against them, field by field.
//!
//! Enums of a `spec` keep an `Unknown` variant where a newer CRD may add values: one object from a newer API must
//! not make a whole list unreadable.

mod backend_tls_policy;
mod class;
pub mod conditions;
pub mod experimental;
mod external_auth;
mod filter;
#[allow(clippy::module_inception, reason = "one file per kind, named after it")]
mod gateway;
mod gateway_tls;
mod grpc_route;
mod http_route;
mod l4_route;
mod listener;
mod listener_set;
mod matches;
mod reference;
mod reference_grant;
mod route_status;
mod session_persistence;

pub use backend_tls_policy::*;
pub use class::*;
pub use external_auth::*;
pub use filter::*;
pub use gateway::*;
pub use gateway_tls::*;
pub use grpc_route::*;
pub use http_route::*;
pub use l4_route::*;
pub use listener::*;
pub use listener_set::*;
pub use matches::*;
pub use reference::*;
pub use reference_grant::*;
pub use route_status::*;
pub use session_persistence::*;

/// The API group of the Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// The version of its kinds that Foregate reads and writes.
pub const GATEWAY_VERSION: &str = "v1";
/// Plurals of the kinds of its standard channel, all of which Foregate reads.
pub const STANDARD_KINDS: [&str; 10] = [
    "backendtlspolicies",
    "gatewayclasses",
    "gateways",
    "grpcroutes",
    "httproutes",
    "listenersets",
    "referencegrants",
    "tcproutes",
    "tlsroutes",
    "udproutes",
];
