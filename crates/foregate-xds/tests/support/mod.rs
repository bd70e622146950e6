//! A server in this process on a socket in a temporary directory, and resources to serve.

pub mod resources;

use std::path::PathBuf;
use std::time::Duration;

use foregate_envoy::{Delta, Resource, ResourceId};
use foregate_xds::{Cache, Client, Event, Instance, Options, ServeError, serve_unix};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const GROUP: &str = "tenant-default/gw";
const PATIENCE: Duration = Duration::from_secs(90);

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

pub fn set(resources: impl IntoIterator<Item = Resource>) -> Delta {
    Delta { set: resources.into_iter().collect(), remove: Vec::new() }
}

pub fn remove(ids: impl IntoIterator<Item = ResourceId>) -> Delta {
    Delta { set: Vec::new(), remove: ids.into_iter().collect() }
}
