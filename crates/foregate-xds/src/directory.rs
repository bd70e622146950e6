//! Who may ask for what: the instances of every node, by name. And which nodes' agents are there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::watch;
use tonic::Status;

use crate::event::Instance;
use crate::tls::NodeName;

/// The instances that there are, each under the name by which its node's streams ask for it (`node.id`). Clones share
/// it. The platform fills it from its GatewayInstances; a stream that is open when its instance goes ends.
#[derive(Clone, Debug)]
pub struct Directory {
    shared: Arc<watch::Sender<Known>>,
    agents: Arc<watch::Sender<Agents>>,
}

/// Nodes whose agent runs, each with the number of its streams that say so.
pub type Agents = BTreeMap<Arc<str>, usize>;

/// Which credentials of a node are good: those that are bound to this object, in this generation or a later one. A
/// certificate says it as `UID/GENERATION`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// UID of the node's object.
    pub uid: String,
    /// The first generation that is good.
    pub generation: i64,
}

impl Credentials {
    fn admit(&self, bound_to: &str) -> bool {
        let (uid, generation) = bound_to.split_once('/').unwrap_or_default();
        uid == self.uid && generation.parse().is_ok_and(|generation: i64| generation >= self.generation)
    }
}

#[derive(Debug, Default)]
struct Known {
    /// All instances are in it: who isn't doesn't exist.
    complete: bool,
    /// None: it isn't known yet which there are.
    nodes: Option<HashMap<Arc<str>, Credentials>>,
    instances: HashMap<Arc<str>, Instance>,
}

impl Known {
    fn is_revoked(&self, NodeName { node, bound_to }: &NodeName) -> bool {
        let Some(nodes) = &self.nodes else { return false };
        nodes.get(node).is_none_or(|credentials| !credentials.admit(bound_to))
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self { shared: Arc::new(watch::Sender::new(Known::default())), agents: Arc::default() }
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
        self.shared.send_modify(|known| {
            known.complete = true;
            known.instances = instances;
        });
    }

    /// These are all nodes: others' agents are turned away.
    pub fn replace_nodes(&self, nodes: impl IntoIterator<Item = (Arc<str>, Credentials)>) {
        let nodes = Some(nodes.into_iter().collect());
        self.shared.send_if_modified(|known| {
            let same = known.nodes == nodes;
            known.nodes = nodes;
            !same
        });
    }

    /// Whose agent runs, as far as it says so: see [`Relay::announce`](crate::Relay::announce).
    pub fn present(&self) -> watch::Receiver<Agents> {
        self.agents.subscribe()
    }

    /// An agent says that it runs, until what is returned is dropped.
    pub(crate) fn enter(&self, node: &Arc<str>) -> Result<Presence, Status> {
        match &self.shared.borrow().nodes {
            Some(nodes) if nodes.contains_key(node) => {}
            Some(_) => return Err(Status::permission_denied(format!("there is no node {node:?}"))),
            None => return Err(Status::unavailable("the platform doesn't know its nodes yet: connect again")),
        }
        self.agents.send_modify(|agents| *agents.entry(node.clone()).or_default() += 1);
        Ok(Presence { node: node.clone(), agents: self.agents.clone() })
    }

    /// Whether a node's credential is good. As long as it isn't known which nodes there are, nothing is said against it.
    pub(crate) fn confirm(&self, name: &NodeName) -> Result<(), Status> {
        if self.shared.borrow().is_revoked(name) {
            let NodeName { node, .. } = name;
            return Err(Status::permission_denied(format!("the node {node:?} was removed, or its credential revoked")));
        }
        Ok(())
    }

    /// Waits until a node's credential isn't good any more.
    pub(crate) async fn revoked(&self, name: &NodeName) {
        let revoked = self.shared.subscribe().wait_for(|known| known.is_revoked(name)).await.is_ok();
        if !revoked {
            // Nobody can change it any more.
            std::future::pending::<()>().await;
        }
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

/// One stream of an agent.
#[derive(Debug)]
pub(crate) struct Presence {
    node: Arc<str>,
    agents: Arc<watch::Sender<Agents>>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.agents.send_modify(|agents| {
            if let Some(count) = agents.get_mut(&self.node) {
                *count -= 1;
                if *count == 0 {
                    agents.remove(&self.node);
                }
            }
        });
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

    #[tokio::test]
    async fn an_agent_is_there_while_one_of_its_streams_is() {
        let (directory, node) = (Directory::new(), Arc::from("a"));
        assert_eq!(directory.enter(&node).unwrap_err().code(), tonic::Code::Unavailable);
        directory.replace_nodes([("b".into(), Credentials::default())]);
        assert_eq!(directory.enter(&node).unwrap_err().code(), tonic::Code::PermissionDenied);
        directory.replace_nodes([(node.clone(), Credentials::default())]);
        let (first, second) = (directory.enter(&node).unwrap(), directory.enter(&node).unwrap());
        drop(first);
        assert!(directory.present().borrow().contains_key("a"));
        drop(second);
        assert!(directory.present().borrow().is_empty());
    }

    #[tokio::test]
    async fn a_credential_is_good_for_one_object_and_until_it_is_revoked() {
        let directory = Directory::new();
        let name = |node: &str, bound_to: &str| NodeName { node: node.into(), bound_to: bound_to.into() };
        assert!(directory.confirm(&name("a", "")).is_ok(), "nothing is known yet");
        let of = |generation| [("a".into(), Credentials { uid: "u".to_owned(), generation })];
        directory.replace_nodes(of(2));
        for (node, bound_to, is_good) in [
            ("a", "u/2", true),
            ("a", "u/3", true),
            ("a", "u/1", false),
            ("a", "v/2", false),
            ("a", "u", false),
            ("a", "", false),
            ("b", "u/2", false),
        ] {
            assert_eq!(directory.confirm(&name(node, bound_to)).is_ok(), is_good, "{node} {bound_to}");
        }
        let (waits, held) = (directory.clone(), name("a", "u/2"));
        let revoked = tokio::spawn(async move { waits.revoked(&held).await });
        directory.replace_nodes(of(3));
        revoked.await.unwrap();
    }
}
