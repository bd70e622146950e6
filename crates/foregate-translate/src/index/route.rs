//! A route and where it is placed.

use std::sync::Arc;

use foregate_api::GatewayRoute;
use foregate_envoy::Owner;

use super::{Sorted, Tracked};
use crate::Key;
use crate::envoy::route;
use crate::ir::Share;
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
    pub placed: Sorted<Place, Placed>,
    /// Under which backends and claims it is indexed.
    pub backends: Sorted<Key, ()>,
    pub claims: Sorted<Key, ()>,
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
    /// Shares of connections or datagrams, of a route for those.
    pub shares: Arc<[Share]>,
    /// Clusters that it names, and their backends.
    pub clusters: Sorted<Arc<str>, Key>,
    pub owner: Owner,
    pub seniority: Arc<Seniority>,
}

impl Route {
    /// Whether its present form is the one that serves.
    pub(crate) fn serves_current(&self) -> bool {
        self.serving.as_ref().is_some_and(|serving| Arc::ptr_eq(serving, &self.tracked.current))
    }

    pub(crate) fn new(tracked: Tracked<GatewayRoute>) -> Self {
        let (backends, claims) = (Sorted::default(), Sorted::default());
        Self { tracked, serving: None, placed: Sorted::default(), backends, claims }
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
