//! A route and where it is placed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foregate_api::GatewayRoute;
use foregate_envoy::Owner;

use super::Tracked;
use crate::Key;
use crate::envoy::route;
use crate::resolve::hostname::HostRank;
use crate::resolve::precedence::{Order, Seniority};

/// A virtual host: gateway and resource name.
pub(crate) type Place = (Key, Arc<str>);

/// A route and where it is placed.
#[derive(Debug)]
pub(crate) struct Route {
    pub tracked: Tracked<GatewayRoute>,
    /// The form that is placed now.
    pub serving: Option<Arc<GatewayRoute>>,
    pub placed: BTreeMap<Place, Placed>,
    /// Under which backends and claims it is indexed.
    pub backends: BTreeSet<Key>,
    pub claims: BTreeSet<Key>,
}

/// A route in a virtual host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placed {
    pub rank: HostRank,
    pub entry: Arc<Compiled>,
}

/// A route compiled for one listener.
#[derive(Debug, PartialEq)]
pub(crate) struct Compiled {
    pub routes: Vec<route::Compiled>,
    /// Clusters that it names, and their backends.
    pub clusters: BTreeMap<Arc<str>, Key>,
    pub owner: Owner,
    pub seniority: Arc<Seniority>,
}

impl Route {
    pub(crate) const fn new(tracked: Tracked<GatewayRoute>) -> Self {
        Self { tracked, serving: None, placed: BTreeMap::new(), backends: BTreeSet::new(), claims: BTreeSet::new() }
    }
}

impl Placed {
    /// The places of its Envoy routes in the virtual host's order.
    pub(crate) fn orders(&self) -> impl Iterator<Item = (Order, &route::Compiled)> {
        self.entry.routes.iter().map(|compiled| {
            let order = Order {
                hostname: self.rank,
                matched: compiled.rank,
                seniority: self.entry.seniority.clone(),
                position: compiled.position,
            };
            (order, compiled)
        })
    }
}
