//! Requests, the same for both protocols.

use std::collections::HashMap;
use std::sync::Arc;

use foregate_envoy::ResourceKind;
use foregate_envoy::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};

/// Kinds for which a first request without names means all of them, from before `*` existed.
pub(super) const LEGACY_WILDCARD: [ResourceKind; 2] = [ResourceKind::Cluster, ResourceKind::Listener];

/// What a request says about subscriptions.
#[derive(Clone, Debug, PartialEq)]
pub enum Names {
    /// Incremental: what is added and taken away.
    Change {
        /// New names; `*` and `<route configuration>/*` as well.
        subscribe: Vec<Arc<str>>,
        /// Names no longer wanted.
        unsubscribe: Vec<Arc<str>>,
        /// Versions that the client has from an earlier stream, by name.
        initial: HashMap<Arc<str>, Arc<str>>,
    },
    /// State of the world: all that is wanted.
    All(Vec<Arc<str>>),
}

/// One discovery request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Of which kind.
    pub kind: ResourceKind,
    /// Subscriptions.
    pub names: Names,
    /// The response that it answers; empty for none.
    pub nonce: String,
    /// Why that response is refused; none if it is acknowledged.
    pub error: Option<String>,
}

impl Request {
    /// Out of the incremental protocol's message; none if its type isn't served.
    pub fn from_delta(request: DeltaDiscoveryRequest) -> Option<Self> {
        let initial = request.initial_resource_versions.into_iter();
        Some(Self {
            kind: ResourceKind::from_type_url(&request.type_url)?,
            names: Names::Change {
                subscribe: names(request.resource_names_subscribe),
                unsubscribe: names(request.resource_names_unsubscribe),
                initial: initial.map(|(name, version)| (name.into(), version.into())).collect(),
            },
            nonce: request.response_nonce,
            error: request.error_detail.map(|status| status.message),
        })
    }

    /// Out of the message of state of the world; none if its type isn't served.
    pub fn from_state_of_the_world(request: DiscoveryRequest) -> Option<Self> {
        Some(Self {
            kind: ResourceKind::from_type_url(&request.type_url)?,
            names: Names::All(names(request.resource_names)),
            nonce: request.response_nonce,
            error: request.error_detail.map(|status| status.message),
        })
    }

    /// Whether it asks for all listeners or clusters, as an engine does. A client within an application names what it
    /// wants.
    pub fn is_for_all(&self) -> bool {
        if !LEGACY_WILDCARD.contains(&self.kind) {
            return false;
        }
        let (names, rest): (_, &[Arc<str>]) = match &self.names {
            Names::Change { subscribe, unsubscribe, .. } => (subscribe, unsubscribe),
            Names::All(names) => (names, &[]),
        };
        names.iter().any(|name| &**name == "*") || self.nonce.is_empty() && names.is_empty() && rest.is_empty()
    }
}

fn names(names: Vec<String>) -> Vec<Arc<str>> {
    names.into_iter().map(Into::into).collect()
}
