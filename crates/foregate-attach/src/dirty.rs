//! What has to be looked at again.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::Key;
use crate::backend::{BackendId, WantedName};
use crate::route::RouteId;

/// Work, in the order in which it is done. Sets, so that each object is looked at once however often it was named.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    pub classes: BTreeSet<Arc<str>>,
    /// Each with its ListenerSets.
    pub gateways: BTreeSet<Key>,
    /// Backends of Envoy Gateway's group.
    pub directs: BTreeSet<Key>,
    /// BackendTLSPolicies.
    pub policies: BTreeSet<Key>,
    /// XBackends.
    pub xbackends: BTreeSet<Key>,
    pub routes: BTreeSet<RouteId>,
    /// Names of backends that claims want, or wanted.
    pub wanted: BTreeSet<WantedName>,
    /// XBackends whose Pods changed.
    pub pod_slices: BTreeSet<Key>,
    pub backends: BTreeSet<BackendId>,
    pub slices: BTreeSet<Key>,
    pub secrets: BTreeSet<Key>,
    pub class_statuses: BTreeSet<Arc<str>>,
    pub gateway_statuses: BTreeSet<Key>,
    pub listener_set_statuses: BTreeSet<Key>,
    pub route_statuses: BTreeSet<RouteId>,
    pub direct_statuses: BTreeSet<Key>,
    pub policy_statuses: BTreeSet<Key>,
    pub traffic_statuses: BTreeSet<Key>,
    pub xbackend_statuses: BTreeSet<Key>,
    pub telemetry_statuses: BTreeSet<Key>,
}
