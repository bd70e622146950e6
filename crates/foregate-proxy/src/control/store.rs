//! Everything that an instance has accepted, and the snapshot made of it.
//!
//! A response is applied resource by resource: what is good takes effect, what isn't is refused with its field's path
//! and the last good version of it serves on. After each response the snapshot is published once.

use std::rc::Rc;
use std::sync::Arc;

use foregate_envoy::ResourceKind;
use foregate_xds::client::Response;

use super::Shared;
use super::clusters::Clusters;
use super::dns::Lookups;
use super::listeners::Listeners;
use super::routes::RouteConfigs;
use super::secrets::SecretStore;
use super::wanted::Wanted;
use crate::config::refusal::Refusal;
use crate::engine::EngineError;
use crate::resolve::Resolver;
use crate::shared::InstanceShared;
use crate::slots::{Interner, Numbers};
use crate::snapshot::Snapshot;
use crate::worker::Command;

/// What an instance has accepted.
pub(crate) struct Store {
    pub(super) instance: Arc<InstanceShared>,
    pub(super) shared: Rc<Shared>,
    pub(super) snapshot: Snapshot,
    pub(super) changed: bool,
    /// Clusters that changed, for the workers' pools.
    pub(super) touched: Vec<u32>,
    pub(super) numbers: Numbers,
    pub(super) route_slots: Interner,
    pub(super) listener_slots: Interner,
    pub(super) clusters: Clusters,
    pub(super) routes: RouteConfigs,
    pub(super) listeners: Listeners,
    pub(super) secrets: SecretStore,
    pub(super) wanted: Subscriptions,
    pub(super) lookups: Lookups,
}

/// What is subscribed to by name.
#[derive(Default)]
pub(super) struct Subscriptions {
    pub(super) endpoints: Wanted,
    pub(super) routes: Wanted,
    pub(super) hosts: Wanted,
    pub(super) secrets: Wanted,
}

impl Subscriptions {
    fn kinds(&mut self) -> [(ResourceKind, &mut Wanted); 4] {
        [
            (ResourceKind::ClusterLoadAssignment, &mut self.endpoints),
            (ResourceKind::Secret, &mut self.secrets),
            (ResourceKind::RouteConfiguration, &mut self.routes),
            (ResourceKind::VirtualHost, &mut self.hosts),
        ]
    }
}

impl Store {
    pub(super) fn new(
        instance: Arc<InstanceShared>,
        shared: Rc<Shared>,
        resolver: Resolver,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            secrets: SecretStore::new().map_err(EngineError::Tls)?,
            instance,
            shared,
            snapshot: Snapshot::default(),
            changed: false,
            touched: Vec::new(),
            numbers: Numbers::default(),
            route_slots: Interner::default(),
            listener_slots: Interner::default(),
            clusters: Clusters::default(),
            routes: RouteConfigs::default(),
            listeners: Listeners::default(),
            wanted: Subscriptions::default(),
            lookups: Lookups::new(resolver),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.instance.name
    }

    pub(super) fn connected(&self, up: bool) {
        self.instance.stats.connected.set(u64::from(up));
    }

    /// All subscriptions by name, for a new stream.
    pub(super) fn subscriptions(&mut self) -> Vec<(ResourceKind, Vec<String>)> {
        let all = self.wanted.kinds().map(|(kind, wanted)| (kind, wanted.all()));
        all.into_iter().filter(|(_, names)| !names.is_empty()).collect()
    }

    /// What to subscribe to (`true`) and what not any more, since last time.
    pub(super) fn changed_subscriptions(&mut self) -> Vec<(ResourceKind, Vec<String>, bool)> {
        let mut out = Vec::new();
        for (kind, wanted) in self.wanted.kinds() {
            let (new, gone) = wanted.changes();
            out.extend((!new.is_empty()).then_some((kind, new, true)));
            out.extend((!gone.is_empty()).then_some((kind, gone, false)));
        }
        out
    }

    /// Applies a response; returns what was refused, as texts with the resources' names.
    pub(crate) fn apply(&mut self, response: &Response) -> Vec<String> {
        let mut refusals = Refusals::default();
        match response.kind {
            ResourceKind::Cluster => self.apply_clusters(response, &mut refusals),
            ResourceKind::ClusterLoadAssignment => self.apply_endpoints(response, &mut refusals),
            ResourceKind::Secret => self.apply_secrets(response, &mut refusals),
            ResourceKind::Listener => self.apply_listeners(response, &mut refusals),
            ResourceKind::RouteConfiguration => self.apply_routes(response, &mut refusals),
            ResourceKind::VirtualHost => self.apply_hosts(response, &mut refusals),
            ResourceKind::ExtensionConfig => {
                for resource in &response.set {
                    refusals.add(
                        &resource.name,
                        &Refusal::new("filters over ECDS are not supported by the built-in engine"),
                    );
                }
            }
        }
        self.activate_listeners();
        self.publish();
        let stats = &self.instance.stats;
        if refusals.0.is_empty() {
            stats.acks.inc()
        } else {
            stats.nacks.inc()
        }
        refusals.0
    }

    /// Makes what has changed the workers' truth.
    pub(super) fn publish(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        self.snapshot.generation += 1;
        self.instance.stats.generation.set(self.snapshot.generation);
        self.instance.published.store(self.snapshot.clone());
        // A request finds the new snapshot by itself, and an idle worker lets go of the old one before long: nobody is
        // woken for a route. Connections to endpoints that are gone don't wait.
        if !self.touched.is_empty() {
            let clusters: Arc<[u32]> = std::mem::take(&mut self.touched).into();
            let instance = self.instance.key;
            self.shared.workers.all(|| Command::Refresh { instance, clusters: Arc::clone(&clusters) });
        }
        // After the snapshot: a listener that begins to accept finds itself in it.
        self.open_sockets();
    }
}

/// What was refused.
#[derive(Default)]
pub(super) struct Refusals(Vec<String>);

impl Refusals {
    /// One resource's refusal.
    pub(super) fn add(&mut self, name: &str, why: &dyn std::fmt::Display) {
        self.0.push(format!("{name}: {why}"));
    }

    /// A refusal that names its resource itself.
    pub(super) fn say(&mut self, why: &dyn std::fmt::Display) {
        self.0.push(why.to_string());
    }
}
