//! What the cache holds: a small model of a gateway, rendered to resources after every change.

use std::collections::{BTreeMap, BTreeSet};

use foregate_envoy::pb::envoy::config::cluster::v3::Cluster;
use foregate_envoy::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints};
use foregate_envoy::pb::envoy::config::listener::v3::Listener;
use foregate_envoy::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use foregate_envoy::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use foregate_envoy::{Delta, Resource, ResourceId, ResourceKind};
use foregate_xds::store::Store;
use proptest::prelude::*;

/// A change to the model. Numbers are small, so that changes meet.
#[derive(Clone, Debug)]
pub enum Edit {
    Route { configuration: u8, domain: u8, clusters: BTreeSet<u8>, content: Content },
    NoRoute { configuration: u8, domain: u8 },
    Cluster { cluster: u8, secret: Option<u8>, content: Content },
    Endpoints { cluster: u8, content: Option<Content> },
    Listener { listener: u8, secret: Option<u8>, content: Content },
    NoListener { listener: u8 },
    Shell { configuration: u8, content: Option<Content> },
    Secret { secret: u8, present: bool },
}

/// A variant, and whether clients refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub variant: u8,
    pub poisoned: bool,
}

impl Content {
    const GOOD: Self = Self { variant: 0, poisoned: false };

    fn text(self) -> String {
        format!("{}{}", self.variant, if self.poisoned { "!" } else { "" })
    }
}

fn content() -> impl Strategy<Value = Content> {
    (0..4u8, prop::bool::weighted(0.15)).prop_map(|(variant, poisoned)| Content { variant, poisoned })
}

pub fn edit() -> impl Strategy<Value = Edit> {
    let secret = || prop::option::weighted(0.3, 0..2u8);
    prop_oneof![
        6 => (0..2u8, 0..4u8, prop::collection::btree_set(0..4u8, 0..3), content()).prop_map(
            |(configuration, domain, clusters, content)| Edit::Route { configuration, domain, clusters, content }
        ),
        3 => (0..2u8, 0..4u8).prop_map(|(configuration, domain)| Edit::NoRoute { configuration, domain }),
        2 => (0..4u8, secret(), content())
            .prop_map(|(cluster, secret, content)| Edit::Cluster { cluster, secret, content }),
        2 => (0..4u8, prop::option::weighted(0.8, content()))
            .prop_map(|(cluster, content)| Edit::Endpoints { cluster, content }),
        2 => (0..2u8, secret(), content())
            .prop_map(|(listener, secret, content)| Edit::Listener { listener, secret, content }),
        1 => (0..2u8).prop_map(|listener| Edit::NoListener { listener }),
        1 => (0..2u8, prop::option::weighted(0.8, content()))
            .prop_map(|(configuration, content)| Edit::Shell { configuration, content }),
        2 => (0..2u8, any::<bool>()).prop_map(|(secret, present)| Edit::Secret { secret, present }),
    ]
}

/// The model, and the store that it is written to.
#[derive(Default)]
pub struct World {
    pub store: Store,
    routes: BTreeMap<(u8, u8), (BTreeSet<u8>, Content)>,
    clusters: BTreeMap<u8, (Option<u8>, Content)>,
    endpoints: BTreeMap<u8, Option<Content>>,
    listeners: BTreeMap<u8, (Option<u8>, Content)>,
    shells: BTreeMap<u8, Content>,
    secrets: BTreeSet<u8>,
    written: BTreeMap<ResourceId, Resource>,
}

impl World {
    /// Applies edits as one change; returns its sequence and what changed.
    pub fn edit(&mut self, edits: &[Edit]) -> (u64, Vec<ResourceId>) {
        for edit in edits {
            self.take(edit.clone());
        }
        let resources = self.render();
        let set = resources.values().filter(|new| self.written.get(&new.id) != Some(new)).cloned().collect();
        let remove = self.written.keys().filter(|id| !resources.contains_key(id)).cloned().collect();
        self.written = resources;
        let changed = self.store.apply(Delta { set, remove });
        (self.store.sequence(), changed)
    }

    fn take(&mut self, edit: Edit) {
        match edit {
            Edit::Route { configuration, domain, clusters, content } => {
                self.routes.insert((configuration, domain), (clusters, content));
            }
            Edit::NoRoute { configuration, domain } => drop(self.routes.remove(&(configuration, domain))),
            Edit::Cluster { cluster, secret, content } => drop(self.clusters.insert(cluster, (secret, content))),
            Edit::Endpoints { cluster, content } => drop(self.endpoints.insert(cluster, content)),
            Edit::Listener { listener, secret, content } => {
                self.listeners.insert(listener, (secret, content));
                self.shells.entry(listener).or_insert(Content::GOOD);
            }
            Edit::NoListener { listener } => drop(self.listeners.remove(&listener)),
            Edit::Shell { configuration, content: Some(content) } => drop(self.shells.insert(configuration, content)),
            // A listener without its routes is no valid state of the cache.
            Edit::Shell { configuration, content: None } if !self.listeners.contains_key(&configuration) => {
                self.shells.remove(&configuration);
            }
            Edit::Shell { .. } => {}
            Edit::Secret { secret, present: true } => drop(self.secrets.insert(secret)),
            Edit::Secret { secret, present: false } => drop(self.secrets.remove(&secret)),
        }
    }

    /// As a translator does: clusters and endpoints are there while a route names them.
    fn render(&self) -> BTreeMap<ResourceId, Resource> {
        let mut all: Vec<Resource> = Vec::new();
        let named: BTreeSet<u8> = self.routes.values().flat_map(|(clusters, _)| clusters).copied().collect();
        for cluster in named {
            let (secret, content) = self.clusters.get(&cluster).copied().unwrap_or((None, Content::GOOD));
            all.push(render_cluster(cluster, secret, content));
            if let Some(content) = self.endpoints.get(&cluster).copied().unwrap_or(Some(Content::GOOD)) {
                all.push(render_endpoints(cluster, content));
            }
        }
        all.extend(self.listeners.iter().map(|(name, (secret, content))| render_listener(*name, *secret, *content)));
        all.extend(self.shells.iter().map(|(name, content)| render_shell(*name, *content)));
        all.extend(self.secrets.iter().map(|name| render_secret(*name)));
        all.extend(self.routes.iter().map(|((configuration, domain), (clusters, content))| {
            render_host(*configuration, *domain, clusters, *content)
        }));
        all.into_iter().map(|resource| (resource.id.clone(), resource)).collect()
    }
}

fn id(kind: ResourceKind, name: impl Into<String>) -> ResourceId {
    ResourceId::new(kind, name.into())
}

fn secret_id(secret: u8) -> ResourceId {
    id(ResourceKind::Secret, format!("s{secret}"))
}

/// Text after the second `;` names a secret.
fn secret_text(secret: Option<u8>) -> String {
    secret.map(|secret| format!("s{secret}")).unwrap_or_default()
}

fn render_cluster(cluster: u8, secret: Option<u8>, content: Content) -> Resource {
    let name = format!("c{cluster}");
    let alt_stat_name = format!("{};{}", content.text(), secret_text(secret));
    let mut needs = vec![id(ResourceKind::ClusterLoadAssignment, name.clone())];
    needs.extend(secret.map(secret_id));
    let message = Cluster { name: name.clone(), alt_stat_name, ..Default::default() };
    Resource::new(id(ResourceKind::Cluster, name), &message, needs, [])
}

fn render_endpoints(cluster: u8, content: Content) -> Resource {
    let name = format!("c{cluster}");
    let priority = u32::from(content.variant) + if content.poisoned { 100 } else { 0 };
    let endpoints = vec![LocalityLbEndpoints { priority, ..Default::default() }];
    let message = ClusterLoadAssignment { cluster_name: name.clone(), endpoints, ..Default::default() };
    Resource::new(id(ResourceKind::ClusterLoadAssignment, name), &message, [], [])
}

fn render_listener(listener: u8, secret: Option<u8>, content: Content) -> Resource {
    let stat_prefix = format!("{};{}", content.text(), secret_text(secret));
    let mut needs = vec![id(ResourceKind::RouteConfiguration, format!("r{listener}"))];
    needs.extend(secret.map(secret_id));
    let message = Listener { name: format!("r{listener}"), stat_prefix, ..Default::default() };
    Resource::new(id(ResourceKind::Listener, format!("r{listener}")), &message, needs, [])
}

fn render_shell(configuration: u8, content: Content) -> Resource {
    let name = format!("r{configuration}");
    let internal_only_headers = vec![content.text()];
    let message = RouteConfiguration { name: name.clone(), internal_only_headers, ..Default::default() };
    Resource::new(id(ResourceKind::RouteConfiguration, name), &message, [], [])
}

fn render_secret(secret: u8) -> Resource {
    let message = Secret { name: format!("s{secret}"), ..Default::default() };
    Resource::new(secret_id(secret), &message, [], [])
}

fn render_host(configuration: u8, domain: u8, clusters: &BTreeSet<u8>, content: Content) -> Resource {
    let names: Vec<String> = clusters.iter().map(|cluster| format!("c{cluster}")).collect();
    let full = format!("r{configuration}/d{domain}");
    let message = VirtualHost {
        name: format!("{};{}", content.text(), names.join(",")),
        domains: vec![full.clone()],
        ..Default::default()
    };
    let needs: Vec<_> = names.into_iter().map(|name| id(ResourceKind::Cluster, name)).collect();
    Resource::new(id(ResourceKind::VirtualHost, full), &message, needs, [])
}
