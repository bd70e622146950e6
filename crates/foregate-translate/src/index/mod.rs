//! The objects as they are, what was made of them, and references in both directions.
//!
//! ```text
//! GatewayRoute ─ attachments ─▶ claim ─▶ GatewayProxy ─ listeners ─▶ Secret
//!      │                                     ▲
//!      └─ rules ─▶ GatewayBackend ─ service ─┴─ GatewayEndpointSlice   (claims name GatewayBackends as well)
//! ```

mod forwarding;
mod proxy;
mod relation;
mod route;
mod sorted;
mod tracked;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use foregate_api::{GatewayBackend, GatewayEndpointSlice};
use foregate_envoy::Owner;
use k8s_openapi::api::core::v1::Secret;

use crate::Key;
pub(crate) use forwarding::Forwarding;
pub(crate) use proxy::{ClusterUse, HostRole, Proxy, Rendered, Statics, VirtualHost};
pub(crate) use relation::Relation;
pub(crate) use route::{Compiled, Place, Placed, Route};
pub(crate) use sorted::Sorted;
pub(crate) use tracked::Tracked;

/// A Service of a workload cluster: namespace of the tenant, cluster, UID. A slice feeds only backends of its own
/// cluster.
pub(crate) type Service = (Arc<str>, String, String);

/// A backend and its cluster.
#[derive(Debug)]
pub(crate) struct Backend {
    pub tracked: Tracked<GatewayBackend>,
    /// It is gone, but routes name it still.
    pub gone: bool,
    /// Its present cluster.
    pub cluster: Option<BackendCluster>,
    /// Gateways that use it, with the number of places.
    pub users: HashMap<Key, usize>,
}

/// The cluster of a backend.
#[derive(Clone, Debug)]
pub(crate) struct BackendCluster {
    pub name: Arc<str>,
    pub body: Bytes,
    pub owner: Owner,
    /// What it was made from.
    pub source: Arc<GatewayBackend>,
}

/// A Secret and its certificate.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub tracked: Tracked<Secret>,
    /// It is gone, but listeners name it still.
    pub gone: bool,
    pub body: Option<(Bytes, Owner)>,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub proxies: HashMap<Key, Proxy>,
    pub routes: HashMap<Key, Route>,
    pub backends: HashMap<Key, Backend>,
    pub slices: HashMap<Key, Arc<GatewayEndpointSlice>>,
    /// Those of `slices` that are gone, but backends list them still.
    pub lingering_slices: BTreeSet<Key>,
    pub secrets: HashMap<Key, Certificate>,
    /// Which gateway a claim is bound to.
    pub claims: HashMap<Key, Key>,
    pub routes_by_claim: Relation<Key, Key>,
    pub routes_by_backend: Relation<Key, Key>,
    pub backends_by_service: Relation<Service, Key>,
    pub slices_by_service: Relation<Service, Key>,
    pub proxies_by_secret: Relation<Key, Key>,
    /// Gateways whose claims name a backend.
    pub proxies_by_backend: Relation<Key, Key>,
    /// Objects by the UID that their resources carry.
    pub by_uid: Relation<Arc<str>, crate::ObjectRef>,
}

impl Backend {
    pub(crate) fn new(tracked: Tracked<GatewayBackend>) -> Self {
        Self { tracked, gone: false, cluster: None, users: HashMap::new() }
    }
}

impl Certificate {
    pub(crate) const fn new(tracked: Tracked<Secret>) -> Self {
        Self { tracked, gone: false, body: None }
    }
}
