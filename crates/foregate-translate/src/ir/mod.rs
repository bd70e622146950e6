//! The intermediate representation: what a gateway is, free of Kubernetes and free of Envoy.
//!
//! [`Infra`] is what an infrastructure manager has to run, [`Xds`] what the engine has to do. Both can be printed.
//! Values are effective: every reference, grant, policy and precedence has been decided.

mod auth;
mod infra;
mod route;
mod tracing;
mod xds;

use serde::Serialize;

pub use auth::{Auth, RequestFilter};
pub use infra::{BoundPort, Infra};
pub use route::{
    Action, Destination, Entry, Forward, Headers, Match, MirrorTarget, Path, Redirect, Retries, Rule, TextMatch,
    ValueMatch,
};
pub use tracing::Tracing;
pub use xds::{
    Carries, Certificate, Cluster, Endpoint, FilterChain, Listener, Place, Placement, Share, SocketAddress,
    VirtualHost, Xds,
};

/// One gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gateway {
    /// What has to run.
    pub infra: Infra,
    /// What it has to do.
    pub xds: Xds,
}
