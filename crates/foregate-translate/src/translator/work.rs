//! What one batch has to do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foregate_api::Origin;
use foregate_envoy::{Resource, ResourceId};

use crate::index::{Place, Service};
use crate::{Key, ObjectRef};

/// The users' objects that made something necessary.
pub(super) type Causes = Vec<Arc<Origin>>;

/// What is marked to be done, and what came out so far.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Gateways whose object changed.
    pub proxies: BTreeSet<Key>,
    /// Gateways that are no more, with what they had.
    pub removed: BTreeMap<Key, HashMap<ResourceId, Resource>>,
    pub secrets: BTreeSet<Key>,
    pub backends: BTreeMap<Key, Causes>,
    pub services: BTreeSet<Service>,
    /// Slices that weren't here before.
    pub arrived_slices: Vec<Key>,
    pub routes: BTreeMap<Key, Causes>,
    pub virtual_hosts: BTreeSet<Place>,
    /// Gateway and cluster name.
    pub clusters: BTreeSet<(Key, Arc<str>)>,
    /// Gateways for which a backend that their claims name may have changed.
    pub named: BTreeSet<Key>,
    /// Gateways whose listeners may change.
    pub listeners: BTreeSet<Key>,
    /// Backends that may have lost their last route.
    pub released: BTreeSet<Key>,
    /// Gateway and what its patch was for; what was wrong.
    pub patches: BTreeMap<(Key, String), Option<String>>,
    /// Objects whose problem may have changed.
    pub judged: BTreeSet<ObjectRef>,
    /// Per gateway: resources as they are now; none: gone.
    pub pending: BTreeMap<Key, BTreeMap<ResourceId, Option<Resource>>>,
    /// Per gateway: whose change this is, by UID.
    pub causes: BTreeMap<Key, BTreeMap<String, Arc<Origin>>>,
}

impl Work {
    pub(super) fn publish(&mut self, proxy: &Key, resource: Resource) {
        self.pending.entry(proxy.clone()).or_default().insert(resource.id.clone(), Some(resource));
    }

    pub(super) fn retract(&mut self, proxy: &Key, id: ResourceId) {
        self.pending.entry(proxy.clone()).or_default().insert(id, None);
    }

    /// Marks a route because of somebody's change.
    pub(super) fn mark_route(&mut self, route: &Key, causes: &[Arc<Origin>]) {
        match self.routes.get_mut(route) {
            Some(known) => known.extend_from_slice(causes),
            None => {
                self.routes.insert(route.clone(), causes.to_vec());
            }
        }
    }

    pub(super) fn blame(&mut self, proxy: &Key, causes: &[Arc<Origin>]) {
        if causes.is_empty() {
            return;
        }
        let known = self.causes.entry(proxy.clone()).or_default();
        for cause in causes {
            known.insert(cause.uid.clone(), cause.clone());
        }
    }

    pub(super) fn judge(&mut self, kind: &'static str, key: &Key) {
        self.judged.insert(ObjectRef { kind, key: key.clone() });
    }
}
