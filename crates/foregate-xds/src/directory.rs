//! Who may ask for what: the instances of every node, by name.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::Status;

use crate::event::Instance;

/// The instances that there are, each under the name by which its node's streams ask for it (`node.id`). Clones share
/// it. The platform fills it from its GatewayInstances; a stream that is open when its instance goes ends.
#[derive(Clone, Debug)]
pub struct Directory {
    shared: Arc<watch::Sender<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// All instances are in it: who isn't doesn't exist.
    complete: bool,
    instances: HashMap<Arc<str>, Instance>,
}

impl Default for Directory {
    fn default() -> Self {
        Self { shared: Arc::new(watch::Sender::new(Known::default())) }
    }
}

impl Directory {
    /// An empty one that isn't complete: who asks is told to come again.
    pub fn new() -> Self {
        Self::default()
    }

    /// These are all.
    pub fn replace(&self, instances: impl IntoIterator<Item = (Arc<str>, Instance)>) {
        let instances = instances.into_iter().collect();
        self.shared.send_replace(Known { complete: true, instances });
    }

    /// An instance is there, or has changed.
    pub fn set(&self, name: &str, instance: Instance) {
        self.shared.send_if_modified(|known| {
            let same = known.instances.get(name) == Some(&instance);
            known.instances.insert(name.into(), instance);
            !same
        });
    }

    /// An instance is gone.
    pub fn remove(&self, name: &str) {
        self.shared.send_if_modified(|known| known.instances.remove(name).is_some());
    }

    /// The instance of that name, if it is on that node.
    pub fn find(&self, node: &str, name: &str) -> Option<Instance> {
        self.shared.borrow().instances.get(name).filter(|instance| *instance.node == *node).cloned()
    }

    /// As [`Directory::find`], in the words of a stream that is refused. What is on another node and what doesn't
    /// exist are told in the same words.
    pub(crate) fn admit(&self, node: &str, name: &str) -> Result<Instance, Status> {
        if let Some(instance) = self.find(node, name) {
            return Ok(instance);
        }
        if !self.shared.borrow().complete {
            return Err(Status::unavailable("the platform doesn't know its instances yet: connect again"));
        }
        Err(Status::permission_denied(format!("node.id: {name:?} is no instance on the node {node:?}")))
    }

    /// Waits until an instance is no longer that one.
    pub(crate) async fn gone(&self, name: &str, instance: &Instance) {
        let mut known = self.shared.subscribe();
        let other = |known: &Known| known.complete && known.instances.get(name) != Some(instance);
        let gone = known.wait_for(other).await.is_ok();
        if !gone {
            // Nobody can change it any more.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn instance(node: &str) -> Instance {
        Instance { group: "t/web".into(), node: node.into() }
    }

    #[tokio::test]
    async fn a_node_has_its_own_instances_only() {
        let directory = Directory::new();
        assert_eq!(directory.admit("a", "web.a").unwrap_err().code(), tonic::Code::Unavailable);
        directory.replace([("web.a".into(), instance("a"))]);
        assert_eq!(directory.admit("a", "web.a").unwrap(), instance("a"));
        let (other, absent) = (directory.admit("b", "web.a").unwrap_err(), directory.admit("b", "web.b").unwrap_err());
        assert_eq!((other.code(), absent.code()), (tonic::Code::PermissionDenied, tonic::Code::PermissionDenied));
        assert_eq!(other.message().replace("web.a", ""), absent.message().replace("web.b", ""));
        let moved = directory.clone();
        let gone = tokio::spawn(async move { moved.gone("web.a", &instance("a")).await });
        directory.set("web.a", instance("b"));
        gone.await.unwrap();
        directory.remove("web.a");
        assert_eq!(directory.find("b", "web.a"), None);
    }
}
