//! The relay, as the agent knows it.

use foregate_api::GatewayInstance;
use foregate_node::XdsSource;
use foregate_xds::{Cache, Instance, Relay};
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

/// Where this node's configuration comes from: the platform, through the relay.
pub struct RelaySource {
    relay: Relay,
    /// The node ends: what stops then is to be kept.
    drain: CancellationToken,
}

impl RelaySource {
    /// `drain`: what tells the agent to end.
    pub fn new(relay: Relay, drain: CancellationToken) -> Self {
        Self { relay, drain }
    }
}

impl XdsSource for RelaySource {
    fn open(&self, instance: &GatewayInstance, stop: CancellationToken) -> Cache {
        let (name, proxy) = (instance.name_any(), &instance.spec.proxy);
        let group = format!("{}/{}", proxy.namespace, proxy.name).into();
        let node = instance.spec.node.as_str().into();
        self.relay.follow(&name, Instance { group, node }, Default::default());
        let (relay, drain) = (self.relay.clone(), self.drain.clone());
        tokio::spawn(async move {
            stop.cancelled().await;
            if !drain.is_cancelled() {
                relay.forget(&name);
            }
        });
        self.relay.cache().clone()
    }
}
