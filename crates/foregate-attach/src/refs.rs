//! Reverse references.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use crate::Key;
use crate::backend::{BackendId, CaSource, TlsUser, Upstream};
use crate::gateway::ParentId;
use crate::parameters::ParametersId;
use crate::route::RouteId;

/// From what is named to those that name it.
#[derive(Debug)]
pub(crate) struct Refs<K, V> {
    map: HashMap<K, BTreeSet<V>>,
    /// What has come to be named, or isn't any more, where somebody wants to know.
    recorded: Option<Vec<K>>,
}

impl<K, V> Default for Refs<K, V> {
    fn default() -> Self {
        Self { map: HashMap::new(), recorded: None }
    }
}

impl<K: Eq + Hash + Clone, V: Ord + Clone> Refs<K, V> {
    pub fn add(&mut self, named: &K, by: V) {
        match self.map.get_mut(named) {
            Some(set) => {
                set.insert(by);
            }
            None => {
                self.map.insert(named.clone(), BTreeSet::from([by]));
                self.recorded.iter_mut().for_each(|recorded| recorded.push(named.clone()));
            }
        }
    }

    pub fn remove(&mut self, named: &K, by: &V) {
        if let Some(set) = self.map.get_mut(named) {
            set.remove(by);
            if set.is_empty() {
                self.map.remove(named);
                self.recorded.iter_mut().for_each(|recorded| recorded.push(named.clone()));
            }
        }
    }

    /// From now on keeps what comes to be named, and what isn't named any more.
    pub fn record(&mut self) {
        self.recorded = Some(Vec::new());
    }

    /// What was kept.
    pub fn recorded(&mut self) -> Vec<K> {
        self.recorded.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Replaces what `by` names.
    pub fn replace<'a>(&mut self, by: &V, old: impl IntoIterator<Item = &'a K>, new: impl IntoIterator<Item = &'a K>)
    where
        K: 'a,
    {
        for named in old {
            self.remove(named, by);
        }
        for named in new {
            self.add(named, by.clone());
        }
    }

    pub fn of(&self, named: &K) -> impl Iterator<Item = &V> {
        self.map.get(named).into_iter().flatten()
    }

    /// What somebody names. It looks at everything: for rare questions.
    pub fn named_by<'a>(&'a self, by: &'a V) -> impl Iterator<Item = &'a K> {
        self.map.iter().filter(|(_, users)| users.contains(by)).map(|(named, _)| named)
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub fn has(&self, named: &K) -> bool {
        self.map.contains_key(named)
    }
}

impl<K: Eq + Hash> Refs<K, RouteId> {
    /// Those of one namespace.
    pub fn of_namespace<'a>(&'a self, named: &K, namespace: &'a Arc<str>) -> impl Iterator<Item = &'a RouteId> {
        let first = RouteId::first_of(namespace);
        self.map
            .get(named)
            .into_iter()
            .flat_map(move |set| set.range(first.clone()..))
            .take_while(move |route| route.key.namespace == *namespace)
    }
}

/// An object that refers across namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dependent {
    Class(Arc<str>),
    Parent(ParentId),
    Route(RouteId),
    Telemetry(Key),
}

/// Who depends on what.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Class → Gateways of it.
    pub class_gateways: Refs<Arc<str>, Key>,
    /// Gateway or ListenerSet → routes that name it as a parent.
    pub parent_routes: Refs<ParentId, RouteId>,
    /// Gateway → ListenerSets that name it.
    pub gateway_sets: Refs<Key, Key>,
    /// Service or Backend → routes that name it as a backend.
    pub upstream_routes: Refs<Upstream, RouteId>,
    /// Service or Backend → Gateways and ListenerSets whose claims name it.
    pub upstream_parents: Refs<Upstream, ParentId>,
    /// Service → its EndpointSlices.
    pub service_slices: Refs<Key, Key>,
    /// Service or Backend → what of it attached routes use, or claims name or want.
    pub upstream_backends: Refs<Upstream, BackendId>,
    /// Backend → attached routes that use it.
    pub backend_routes: Refs<BackendId, RouteId>,
    /// Backend → accepted Gateways and ListenerSets whose claims name it.
    pub backend_parents: Refs<BackendId, ParentId>,
    /// Service or Backend → policies for it.
    pub target_policies: Refs<Upstream, Key>,
    /// Service or Backend → XBackendTrafficPolicies for it.
    pub target_traffic: Refs<Upstream, Key>,
    /// Gateway → XTelemetryPolicies for it.
    pub gateway_telemetry: Refs<Key, Key>,
    /// Service or Backend → XTelemetryPolicies that name it as a collector.
    pub upstream_telemetry: Refs<Upstream, Key>,
    /// Namespace → XBackends that select Pods of it.
    pub selecting: Refs<Arc<str>, Key>,
    /// What holds trusted certificates → what names it.
    pub ca_users: Refs<CaSource, TlsUser>,
    /// Parameters → classes that name them.
    pub parameters_classes: Refs<ParametersId, Arc<str>>,
    /// Parameters → Gateways that name them.
    pub parameters_gateways: Refs<ParametersId, Key>,
    /// Secret → classes whose credential it holds.
    pub secret_classes: Refs<Key, Arc<str>>,
    /// Secret → Gateways and ListenerSets that name it.
    pub secret_parents: Refs<Key, ParentId>,
    /// Secret → accepted Gateways and ListenerSets that use it.
    pub secret_users: Refs<Key, ParentId>,
    /// (Namespace referred to, namespace of the reference) → who refers.
    pub grants: Refs<(Arc<str>, Arc<str>), Dependent>,
    /// Gateways that routes attach to which ask for default Gateways.
    pub default_gateways: BTreeSet<Key>,
    /// Routes that ask for default Gateways.
    pub default_routes: BTreeSet<RouteId>,
    /// Gateways and ListenerSets with a listener that selects namespaces by their labels.
    pub selectors: BTreeSet<ParentId>,
    /// Gateways that select the namespaces of their ListenerSets by labels.
    pub set_selectors: BTreeSet<Key>,
}
