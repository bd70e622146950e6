//! The node: for each GatewayInstance of this node, an xDS socket and an engine instance that listens to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use foregate_api::GatewayInstance;
use foregate_proxy::{Engine, InstanceOptions};
use foregate_xds::{Cache, Instance, UnixSocket};
use futures::TryStreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::UpError;

/// Name of the one node of `foregate up`.
pub const NODE: &str = "local";

/// Runs this node's instances until it is told to drain.
pub struct Node {
    client: Client,
    cache: Cache,
    engine: Engine,
    drain: Duration,
    sockets: PathBuf,
    running: BTreeMap<String, CancellationToken>,
}

impl Node {
    /// A node whose sockets are in `sockets`, a directory that only this user may enter.
    pub fn new(client: Client, cache: Cache, engine: Engine, drain: Duration, sockets: PathBuf) -> Self {
        Self { client, cache, engine, drain, sockets, running: BTreeMap::new() }
    }

    /// Follows the GatewayInstances; once told to, drains the engine and ends.
    ///
    /// # Errors
    /// When the engine refuses an instance.
    pub async fn run(mut self, drain: CancellationToken) -> Result<(), UpError> {
        let followed = self.follow(&drain).await;
        self.engine.shutdown(self.drain).await;
        followed
    }

    async fn follow(&mut self, shutdown: &CancellationToken) -> Result<(), UpError> {
        let api: Api<GatewayInstance> = Api::all(self.client.clone());
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
        let mut listed = Vec::new();
        loop {
            let event = tokio::select! {
                event = events.try_next() => event,
                () = shutdown.cancelled() => return Ok(()),
            };
            match event {
                Ok(Some(watcher::Event::Init)) => listed.clear(),
                Ok(Some(watcher::Event::InitApply(instance))) => {
                    listed.push(instance.name_any());
                    self.apply(&instance, shutdown).await?;
                }
                Ok(Some(watcher::Event::InitDone)) => self.keep_only(&listed).await,
                Ok(Some(watcher::Event::Apply(instance))) => self.apply(&instance, shutdown).await?,
                Ok(Some(watcher::Event::Delete(instance))) => self.remove(&instance.name_any()).await,
                Ok(None) => return Ok(()),
                Err(error) => tracing::warn!(%error, "watching GatewayInstances failed; trying again"),
            }
        }
    }

    async fn apply(&mut self, instance: &GatewayInstance, shutdown: &CancellationToken) -> Result<(), UpError> {
        let name = instance.name_any();
        if instance.spec.node != NODE {
            return Ok(());
        }
        if instance.metadata.deletion_timestamp.is_some() {
            self.remove(&name).await;
            return Ok(());
        }
        if self.running.contains_key(&name) {
            return Ok(());
        }
        let proxy = &instance.spec.proxy;
        let identity = Instance { group: format!("{}/{}", proxy.namespace, proxy.name).into(), node: NODE.into() };
        let xds_socket = self.sockets.join(socket_name(instance));
        let stop = shutdown.child_token();
        // Bound before the engine hears of it, so that it connects at once.
        match UnixSocket::bind(&xds_socket).await {
            Ok(socket) => _ = tokio::spawn(serve_xds(self.cache.clone(), socket, identity, stop.clone())),
            Err(error) => tracing::error!(instance = %name, %error, "it gets no configuration until the next start"),
        }
        self.engine
            .add(InstanceOptions { name: name.clone(), xds_socket, node_id: name.clone() })
            .await
            .map_err(|source| UpError::Engine { source: Box::new(source) })?;
        tracing::info!(instance = %name, "started");
        self.running.insert(name, stop);
        Ok(())
    }

    async fn remove(&mut self, name: &str) {
        if let Some(stop) = self.running.remove(name) {
            if let Err(error) = self.engine.remove(name).await {
                tracing::warn!(instance = %name, %error, "not stopped");
            }
            stop.cancel();
            tracing::info!(instance = %name, "stopped");
        }
    }

    async fn keep_only(&mut self, listed: &[String]) {
        let gone: Vec<String> = self.running.keys().filter(|name| !listed.contains(name)).cloned().collect();
        for name in gone {
            self.remove(&name).await;
        }
    }
}

/// Serves one instance's socket until it is stopped.
async fn serve_xds(cache: Cache, socket: UnixSocket, identity: Instance, stop: CancellationToken) {
    let name = identity.group.clone();
    if let Err(error) = foregate_xds::serve(cache, socket, identity, stop).await {
        tracing::error!(gateway = %name, %error, "it gets no configuration until the next start");
    }
}

/// A short name: the path of a unix socket may have 107 bytes at most.
fn socket_name(instance: &GatewayInstance) -> String {
    let uid = instance.uid().unwrap_or_default();
    format!("{}.sock", uid.split('-').next().unwrap_or("xds"))
}

/// A directory for the sockets: in the data directory, or where its path is too long, in the temporary one.
///
/// # Errors
/// When it can't be made.
pub fn socket_dir(data_dir: &Path) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    const ROOM_FOR_NAME: usize = 24;
    const LONGEST_PATH: usize = 107;
    let near = data_dir.join("run");
    let dir = if near.as_os_str().len() + ROOM_FOR_NAME <= LONGEST_PATH {
        near
    } else {
        std::env::temp_dir().join(format!("foregate-{}", std::process::id()))
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    Ok(dir)
}
