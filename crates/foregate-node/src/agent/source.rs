//! Where instances' configuration comes from.

use foregate_api::GatewayInstance;
use foregate_xds::{Cache, Instance};
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

/// Where instances' configuration comes from: the platform's own cache in the same process, or a relay's.
pub trait XdsSource: Send + Sync + 'static {
    /// The cache that an instance's engine is served from, as group `NAMESPACE/PROXY`. A relay keeps that group filled
    /// until `stop`. Called once when an instance starts; must not block.
    fn open(&self, instance: &GatewayInstance, stop: CancellationToken) -> Cache;
}

impl XdsSource for Cache {
    fn open(&self, _: &GatewayInstance, _: CancellationToken) -> Cache {
        self.clone()
    }
}

/// Who an instance is to the xDS server.
pub(crate) fn identity(instance: &GatewayInstance) -> Instance {
    let proxy = &instance.spec.proxy;
    Instance { group: format!("{}/{}", proxy.namespace, proxy.name).into(), node: instance.spec.node.as_str().into() }
}

/// The first part of an instance's UID: a name short enough for the path of a unix socket.
pub(crate) fn short_name(instance: &GatewayInstance) -> String {
    instance.uid().unwrap_or_default().split('-').next().filter(|part| !part.is_empty()).unwrap_or("xds").to_owned()
}
