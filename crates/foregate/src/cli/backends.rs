//! GatewayBackends, and the clusters made of them, as people know them.

use std::collections::BTreeMap;

use foregate_api::GatewayBackend;
use kube::ResourceExt as _;

/// `Service default/web:80`.
pub fn display(backend: &GatewayBackend) -> String {
    let port = backend.spec.port;
    let name = backend.spec.origin.display();
    if port == 0 { name } else { format!("{name}:{port}") }
}

/// Backends by the name that clusters have of them.
#[derive(Clone, Debug, Default)]
pub struct Backends(BTreeMap<String, String>);

impl Backends {
    /// Of all these.
    pub fn of(backends: &[GatewayBackend]) -> Self {
        Self(backends.iter().map(|backend| (backend.name_any(), display(backend))).collect())
    }

    /// Whose a resource is, where it is a cluster's: the cluster is named by its backend and a fingerprint.
    pub fn owner(&self, kind: &str, name: &str) -> Option<&str> {
        let (backend, _) = name.rsplit_once('/').filter(|_| kind.starts_with("Cluster"))?;
        self.0.get(backend).map(String::as_str)
    }

    /// Whether a cluster is a backend's that isn't there (any more).
    pub fn lacks(&self, cluster: &str) -> bool {
        let ours = |print: &str| print.len() == 16 && print.bytes().all(|byte| byte.is_ascii_hexdigit());
        cluster.rsplit_once('/').is_some_and(|(backend, print)| ours(print) && !self.0.contains_key(backend))
    }

    /// A resource in few words: `Cluster of Service default/web:80`, `Listener http-80`.
    pub fn resource(&self, kind: &str, name: &str) -> String {
        self.owner(kind, name).map_or_else(|| format!("{kind} {name}"), |owner| format!("{kind} of {owner}"))
    }
}
