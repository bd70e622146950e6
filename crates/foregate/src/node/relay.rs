//! The relay, as the agent knows it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foregate_api::GatewayInstance;
use foregate_node::XdsSource;
use foregate_xds::{Cache, Instance, Relay};
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// What is on disk and nobody has asked for after this time is of instances that were deleted while the node was down.
const SWEEP: Duration = Duration::from_secs(600);

/// Where this node's configuration comes from: the platform, through the relay. Clones are the same.
#[derive(Clone)]
pub struct RelaySource {
    relay: Relay,
    /// The node ends: what stops then is to be kept.
    drain: CancellationToken,
    /// Instances that run, with what tells that they don't any more.
    open: Arc<Mutex<HashMap<String, CancellationToken>>>,
}

impl RelaySource {
    /// `drain`: what tells the agent to end.
    pub fn new(relay: Relay, drain: CancellationToken) -> Self {
        Self { relay, drain, open: Arc::default() }
    }

    /// Forgets, after a while, what was on disk and belongs to nobody.
    pub async fn sweep(self) {
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            () = self.drain.cancelled() => return,
        }
        for stored in self.relay.stored() {
            if !self.open.lock().contains_key(&stored.id) {
                tracing::info!(instance = stored.id, "it is no more: its configuration is removed from disk");
                self.relay.forget(&stored.id);
            }
        }
    }

    /// An instance has stopped. One of the same name may have begun since: then that one has seen to it.
    fn stopped(&self, name: &str) {
        let mut open = self.open.lock();
        if open.get(name).is_some_and(CancellationToken::is_cancelled) {
            open.remove(name);
            self.relay.forget(name);
        }
    }
}

impl XdsSource for RelaySource {
    fn open(&self, instance: &GatewayInstance, stop: CancellationToken) -> Cache {
        let (name, proxy) = (instance.name_any(), &instance.spec.proxy);
        let group = format!("{}/{}", proxy.namespace, proxy.name).into();
        let node = instance.spec.node.as_str().into();
        self.stopped(&name);
        self.open.lock().insert(name.clone(), stop.clone());
        self.relay.follow(&name, Instance { group, node }, Default::default());
        let source = self.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            if !source.drain.is_cancelled() {
                source.stopped(&name);
            }
        });
        self.relay.cache().clone()
    }
}
