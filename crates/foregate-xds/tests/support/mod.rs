//! A server in this process on a socket in a temporary directory, and resources to serve.

use std::path::PathBuf;
use std::time::Duration;

use foregate_envoy::pb::envoy::config::cluster::v3::Cluster;
use foregate_envoy::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use foregate_envoy::pb::envoy::config::listener::v3::Listener;
use foregate_envoy::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use foregate_envoy::{Delta, Owner, Resource, ResourceId, ResourceKind};
use foregate_xds::{Cache, Client, Event, Instance, Options, ServeError, serve_unix};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const GROUP: &str = "tenant-default/gw";
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Served {
    pub cache: Cache,
    pub events: UnboundedReceiver<Event>,
    pub path: PathBuf,
    pub shutdown: CancellationToken,
    pub server: JoinHandle<Result<(), ServeError>>,
    _directory: tempfile::TempDir,
}

pub fn instance() -> Instance {
    Instance { group: GROUP.into(), node: "local".into() }
}

/// A server that is up.
pub async fn serve(options: Options) -> Served {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run").join("xds.sock");
    let (cache, events) = Cache::new(options);
    let shutdown = CancellationToken::new();
    let server = tokio::spawn({
        let (cache, path, shutdown) = (cache.clone(), path.clone(), shutdown.clone());
        async move { serve_unix(cache, &path, instance(), shutdown).await }
    });
    let served = Served { cache, events, path, shutdown, server, _directory: directory };
    within(async {
        while !served.path.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    served
}

impl Served {
    pub async fn client(&self) -> Client {
        within(Client::connect_unix(&self.path, "anything")).await.unwrap()
    }

    pub async fn event(&mut self) -> Event {
        within(self.events.recv()).await.unwrap()
    }

    /// Waits for progress up to a sequence; returns what else came before it.
    pub async fn progress(&mut self, sequence: u64) -> Vec<Event> {
        let mut others = Vec::new();
        loop {
            match self.event().await {
                Event::Progress { applied, .. } if applied >= sequence => return others,
                Event::Progress { .. } => {}
                other => others.push(other),
            }
        }
    }
}

/// Tests wait for conditions, never for time; this is the bound.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing came in time")
}

pub fn id(kind: ResourceKind, name: &str) -> ResourceId {
    ResourceId::new(kind, name)
}

pub fn set(resources: impl IntoIterator<Item = Resource>) -> Delta {
    Delta { set: resources.into_iter().collect(), remove: Vec::new() }
}

pub fn remove(ids: impl IntoIterator<Item = ResourceId>) -> Delta {
    Delta { set: Vec::new(), remove: ids.into_iter().collect() }
}

fn owner(name: &str) -> Owner {
    Owner { uid: format!("uid-of-{name}").into(), generation: 1 }
}

pub fn cluster(name: &str, alt: &str) -> Resource {
    let message = Cluster { name: name.into(), alt_stat_name: alt.into(), ..Default::default() };
    let needs = [id(ResourceKind::ClusterLoadAssignment, name)];
    Resource::new(id(ResourceKind::Cluster, name), &message, needs, [owner(name)])
}

pub fn endpoints(name: &str) -> Resource {
    let policy = Some(Default::default());
    let message = ClusterLoadAssignment { cluster_name: name.into(), policy, ..Default::default() };
    Resource::new(id(ResourceKind::ClusterLoadAssignment, name), &message, [], [owner(name)])
}

pub fn listener(name: &str, routes: &str) -> Resource {
    let message = Listener { name: name.into(), ..Default::default() };
    let needs = [id(ResourceKind::RouteConfiguration, routes)];
    Resource::new(id(ResourceKind::Listener, name), &message, needs, [owner(name)])
}

pub fn shell(name: &str) -> Resource {
    let message = RouteConfiguration { name: name.into(), ..Default::default() };
    Resource::new(id(ResourceKind::RouteConfiguration, name), &message, [], [owner(name)])
}

pub fn host(routes: &str, domain: &str, cluster: &str) -> Resource {
    let message = VirtualHost {
        name: format!("{domain} to {cluster}"),
        domains: vec![domain.into()],
        ..Default::default()
    };
    let name = format!("{routes}/{domain}");
    let needs = [id(ResourceKind::Cluster, cluster)];
    Resource::new(id(ResourceKind::VirtualHost, &name), &message, needs, [owner(domain)])
}
