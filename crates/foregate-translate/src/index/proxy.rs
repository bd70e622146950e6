//! A gateway and what it has been given.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use foregate_api::{EngineName, GatewayProxy};
use foregate_envoy::{Owner, Resource, ResourceId, ResourceKind};
use serde_json::Value;

use super::{Forwarding, Placed, Sorted, Tracked};
use crate::Key;
use crate::resolve::listeners::Plan;
use crate::resolve::precedence::Order;
use crate::template::Templates;

/// A gateway.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub object: Arc<GatewayProxy>,
    pub templates: Tracked<Templates>,
    pub plan: Plan,
    /// `.gateway` in templates.
    pub data: Value,
    pub listeners: BTreeMap<Arc<str>, Rendered>,
    /// What the template's static clusters were rendered from, and how.
    pub statics: Option<Statics>,
    pub virtual_hosts: HashMap<Arc<str>, VirtualHost>,
    /// By the names of their filter chains.
    pub forwardings: BTreeMap<Arc<str>, Forwarding>,
    pub clusters: HashMap<Arc<str>, ClusterUse>,
    /// Secrets that its listeners name.
    pub secrets: BTreeSet<Key>,
    /// Backends that its claims name.
    pub backends: BTreeSet<Key>,
    /// Those of them that its listeners can name, by their clusters.
    pub named: BTreeMap<Key, Arc<str>>,
    /// Routes and virtual hosts that its patches failed on.
    pub patch_problems: BTreeMap<String, String>,
    /// What it has been given.
    pub published: HashMap<ResourceId, Resource>,
}

/// What a template was rendered from, and what was wrong.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub data: Value,
    pub problem: Option<String>,
    /// The template changed since.
    pub stale: bool,
}

/// Static clusters of a template.
#[derive(Debug)]
pub(crate) struct Statics {
    pub rendered: Rendered,
    /// Of the clusters made.
    pub names: Vec<Arc<str>>,
}

/// A cluster of a gateway.
#[derive(Debug)]
pub(crate) struct ClusterUse {
    pub backend: Key,
    /// Number of routes in virtual hosts that name it, and one if its listeners do.
    pub count: usize,
}

impl Proxy {
    pub(crate) fn new(object: Arc<GatewayProxy>, templates: Tracked<Templates>) -> Self {
        Self {
            object,
            templates,
            plan: Plan::default(),
            data: Value::Null,
            listeners: BTreeMap::new(),
            statics: None,
            virtual_hosts: HashMap::new(),
            forwardings: BTreeMap::new(),
            clusters: HashMap::new(),
            secrets: BTreeSet::new(),
            backends: BTreeSet::new(),
            named: BTreeMap::new(),
            patch_problems: BTreeMap::new(),
            published: HashMap::new(),
        }
    }

    /// Whether any of its templates failed on anything.
    pub(crate) fn is_troubled(&self) -> bool {
        let statics = self.statics.as_ref().map(|statics| &statics.rendered);
        self.listeners.values().chain(statics).any(|rendered| rendered.problem.is_some())
            || !self.patch_problems.is_empty()
    }

    /// Whether an Envoy serves it. The built-in engine counts requests by route without being told.
    pub(crate) fn is_on_envoy(&self) -> bool {
        matches!(self.object.spec.template.engine.parse(), Ok(EngineName::Envoy(_)))
    }

    /// Whether its templates have a place for who is asked about requests. One that was made before there was one has
    /// none: to pass it over in silence would let everybody in.
    pub(crate) fn can_ask(&self) -> bool {
        let places = [".requestFilters", ".routeFilters"];
        let has_all = |templates: &Arc<Templates>| places.iter().all(|it| templates.spec.envoy.listener.contains(it));
        self.templates.candidates_or_current().all(has_all)
    }

    /// Whether its templates have a part in virtual hosts, and so in their refusal.
    pub(crate) fn patches(&self) -> bool {
        let envoy = &self.templates.current.spec.envoy;
        envoy.virtual_host_patch.is_some() || envoy.route_patch.is_some()
    }

    pub(crate) fn owner(&self) -> Owner {
        self.templates.owner.clone()
    }
}

/// Why a virtual host is there even without routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostRole {
    /// A listener has this host name, so that no other listener serves it.
    Listener,
    /// Other listeners of the port have these: requests for them are on the wrong connection.
    Misdirected(Arc<[String]>),
}

/// A domain of a route configuration.
#[derive(Debug)]
pub(crate) struct VirtualHost {
    pub route_configuration: Arc<str>,
    pub domain: Arc<str>,
    /// Why it is there even without routes.
    pub role: Option<HostRole>,
    pub placed: Sorted<Key, Placed>,
    /// All Envoy routes; in their order unless `unsorted`.
    order: Vec<(Order, Bytes)>,
    unsorted: bool,
    /// Clusters named, with the number of routes that name them.
    needs: Sorted<Arc<str>, usize>,
}

impl VirtualHost {
    pub(crate) fn new(route_configuration: Arc<str>, domain: Arc<str>) -> Self {
        Self {
            route_configuration,
            domain,
            role: None,
            placed: Sorted::default(),
            order: Vec::new(),
            unsorted: false,
            needs: Sorted::default(),
        }
    }

    /// Adds a route, or takes its new form.
    pub(crate) fn place(&mut self, route: Key, placed: Placed) {
        self.displace(&route);
        self.order.extend(placed.orders().map(|(order, compiled)| (order, compiled.element.clone())));
        self.unsorted = true;
        for cluster in placed.entry.clusters.keys() {
            match self.needs.get_mut(cluster) {
                Some(count) => *count += 1,
                None => self.needs.insert(cluster.clone(), 1),
            }
        }
        self.placed.insert(route, placed);
    }

    /// Takes a route out.
    pub(crate) fn displace(&mut self, route: &Key) {
        let Some(placed) = self.placed.remove(route) else { return };
        let gone = &placed.entry.seniority;
        self.order.retain(|(order, _)| !Arc::ptr_eq(&order.seniority, gone));
        for cluster in placed.entry.clusters.keys() {
            match self.needs.get_mut(cluster) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.needs.remove(cluster);
                }
            }
        }
    }

    /// Brings its routes into their order; fast where most are.
    pub(crate) fn sort(&mut self) {
        if std::mem::take(&mut self.unsorted) {
            self.order.sort_by(|a, b| a.0.cmp(&b.0));
            self.order.shrink_to(self.order.len() + self.order.len() / 8);
        }
    }

    /// Encoded routes, as elements of `VirtualHost.routes`.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Bytes> + Clone {
        self.order.iter().map(|(_, route)| route)
    }

    pub(crate) fn needs(&self) -> Arc<[ResourceId]> {
        self.needs.keys().map(|name| ResourceId::new(ResourceKind::Cluster, name.clone())).collect()
    }

    /// Whose it is: every route's in it, and the gateway's if its template has a part in it.
    pub(crate) fn owners(&self, gateway: Option<Owner>) -> Arc<[Owner]> {
        self.placed.values().map(|placed| placed.entry.owner.clone()).chain(gateway).collect()
    }
}
