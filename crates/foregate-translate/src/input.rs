//! What the translator is told.

use std::sync::Arc;

use foregate_api::{Change, GatewayBackend, GatewayEndpointSlice, GatewayProxy, GatewayRoute};
use k8s_openapi::api::core::v1::Secret;

/// Settings of a translator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Added to every listener's port when it is bound, where ports below 1024 may not be.
    pub port_offset: u16,
}

/// One change that the translator is told of.
#[derive(Clone, Debug)]
pub enum Input {
    /// A gateway: its spec holds the template, its status the listeners, their claims and the addresses.
    Proxy(Change<GatewayProxy>),
    /// A route.
    Route(Change<GatewayRoute>),
    /// A backend. One that is gone serves on until no route names it any more, so that the order in which watches
    /// deliver a route's change and the removal of its old backend doesn't matter.
    Backend(Change<GatewayBackend>),
    /// A slice of endpoints.
    Slice(Change<GatewayEndpointSlice>),
    /// A Secret; only those that listeners name are used.
    Secret(Change<Secret>),
    /// An engine refused what was made from this generation of this object ([`foregate_envoy::Owner`]): its last good
    /// form serves on. Ends with the object's next generation; ignored when that is here already.
    Quarantine {
        /// UID of the owner, as in the refused resource.
        uid: Arc<str>,
        /// Its generation, as in the refused resource.
        generation: i64,
        /// The engine's words.
        message: String,
    },
}
