//! What follows from where instances are: which streams nodes may open, and what nodes may do to the API.
//!
//! A node's streams are admitted for the instances that are placed on it, while its GatewayNode is there: deleting that
//! locks a node out. Towards the API a node is a user with a ClusterRole of its own: it may read all GatewayInstances
//! (they hold no secret), and write the status of its own and of its GatewayNode.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foregate_api::{GatewayInstance, GatewayNode};
use foregate_xds::tls::NODE_USER;
use foregate_xds::{Credentials, Directory, Instance};
use futures::{Stream, StreamExt};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Field manager of the roles and of nodes' conditions.
pub(super) const MANAGER: &str = "foregate-platform";
/// Before what the API refused is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// The watches have ended by themselves.
#[derive(Debug, thiserror::Error)]
#[error("the watches of instances and nodes have ended")]
pub struct Ended;

/// Where instances are.
#[derive(Debug, Default)]
struct Placement {
    instances: BTreeMap<String, Instance>,
    nodes: BTreeMap<String, Credentials>,
    instances_listed: bool,
    nodes_listed: bool,
    /// What each node's role says, by node: its UID and its instances.
    written: BTreeMap<String, (String, BTreeSet<String>)>,
}

/// Keeps the directory and the roles in step with the API until the shutdown.
///
/// # Errors
/// When the watches end by themselves.
pub async fn keep(client: Client, directory: Directory, shutdown: CancellationToken) -> Result<(), Ended> {
    let mut instances = std::pin::pin!(events(Api::<GatewayInstance>::all(client.clone())));
    let mut nodes = std::pin::pin!(events(Api::<GatewayNode>::all(client.clone())));
    let mut placement = Placement::default();
    let mut retry = None;
    loop {
        let changed = tokio::select! {
            event = instances.next() => placement.instance(event.ok_or(Ended)?),
            event = nodes.next() => placement.node(event.ok_or(Ended)?),
            () = pause(retry) => true,
            () = shutdown.cancelled() => return Ok(()),
        };
        if changed && placement.instances_listed && placement.nodes_listed {
            directory.replace_nodes(placement.nodes.iter().map(|(node, good)| (node.as_str().into(), good.clone())));
            directory.replace(placement.admitted());
            let written = write(&client, &mut placement).await;
            retry = written.is_err().then_some(RETRY);
            if let Err(error) = written {
                tracing::warn!(%error, "a node's role can't be written; trying again");
            }
        }
    }
}

async fn pause(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

pub(super) fn events<K>(api: Api<K>) -> impl Stream<Item = watcher::Event<K>>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    watcher(api, watcher::Config::default()).default_backoff().filter_map(|event| async move {
        event.inspect_err(|error| tracing::warn!(%error, "watching where instances are failed; trying again")).ok()
    })
}

impl Placement {
    /// Returns whether anything may follow from it: statuses change all the time, and nothing does.
    fn instance(&mut self, event: watcher::Event<GatewayInstance>) -> bool {
        match event {
            watcher::Event::Init => {
                // What isn't listed again is gone.
                self.instances_listed = false;
                self.instances.clear();
                false
            }
            watcher::Event::InitDone => !std::mem::replace(&mut self.instances_listed, true),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                let proxy = &object.spec.proxy;
                let group = format!("{}/{}", proxy.namespace, proxy.name).into();
                let instance = Instance { group, node: object.spec.node.as_str().into() };
                self.instances.insert(object.name_any(), instance.clone()) != Some(instance)
            }
            watcher::Event::Delete(object) => self.instances.remove(&object.name_any()).is_some(),
        }
    }

    fn node(&mut self, event: watcher::Event<GatewayNode>) -> bool {
        match event {
            watcher::Event::Init => {
                self.nodes_listed = false;
                self.nodes.clear();
                false
            }
            watcher::Event::InitDone => !std::mem::replace(&mut self.nodes_listed, true),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                let generation = object.spec.credential_generation;
                let good = Credentials { uid: object.uid().unwrap_or_default(), generation };
                self.nodes.insert(object.name_any(), good.clone()) != Some(good)
            }
            watcher::Event::Delete(object) => self.nodes.remove(&object.name_any()).is_some(),
        }
    }

    /// The instances whose node is there.
    fn admitted(&self) -> Vec<(std::sync::Arc<str>, Instance)> {
        let there = self.instances.iter().filter(|(_, instance)| self.nodes.contains_key(&*instance.node));
        there.map(|(name, instance)| (name.as_str().into(), instance.clone())).collect()
    }

    fn of(&self, node: &str) -> BTreeSet<String> {
        let its = self.instances.iter().filter(|(_, instance)| *instance.node == *node);
        its.map(|(name, _)| name.clone()).collect()
    }
}

/// Writes the roles that aren't as they should be. Those of nodes that are gone go with them: the node owns them.
async fn write(client: &Client, placement: &mut Placement) -> kube::Result<()> {
    placement.written.retain(|node, _| placement.nodes.contains_key(node));
    for (node, Credentials { uid, .. }) in placement.nodes.clone() {
        let wanted = (uid.clone(), placement.of(&node));
        if placement.written.get(&node) == Some(&wanted) {
            continue;
        }
        let name = format!("foregate:node:{node}");
        let role = role(&name, &node, &uid, &wanted.1);
        let params = PatchParams::apply(MANAGER).force();
        Api::<ClusterRole>::all(client.clone()).patch(&name, &params, &Patch::Apply(role)).await?;
        let binding = binding(&name, &node, &uid);
        Api::<ClusterRoleBinding>::all(client.clone()).patch(&name, &params, &Patch::Apply(binding)).await?;
        placement.written.insert(node, wanted);
    }
    Ok(())
}

fn metadata(name: &str, node: &str, uid: &str) -> Value {
    json!({ "name": name, "ownerReferences": [{
        "apiVersion": GatewayNode::api_version(&()), "kind": GatewayNode::kind(&()), "name": node, "uid": uid,
    }]})
}

fn role(name: &str, node: &str, uid: &str, instances: &BTreeSet<String>) -> Value {
    let group = GatewayNode::group(&());
    let mut rules = vec![
        json!({ "apiGroups": [group], "resources": ["gatewayinstances"], "verbs": ["get", "list", "watch"] }),
        json!({ "apiGroups": [group], "resources": ["gatewaynodes"], "resourceNames": [node], "verbs": ["get"] }),
        json!({
            "apiGroups": [group], "resources": ["gatewaynodes/status"], "resourceNames": [node],
            "verbs": ["get", "patch"],
        }),
        // Its next credential.
        json!({
            "apiGroups": [group], "resources": ["gatewaynodes/certificate"], "resourceNames": [node],
            "verbs": ["create"],
        }),
    ];
    // No names would mean all names.
    if !instances.is_empty() {
        rules.push(json!({
            "apiGroups": [group], "resources": ["gatewayinstances/status"], "resourceNames": instances,
            "verbs": ["get", "patch"],
        }));
    }
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": metadata(name, node, uid), "rules": rules,
    })
}

fn binding(name: &str, node: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": metadata(name, node, uid),
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{
            "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("{NODE_USER}{node}"),
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement() -> Placement {
        let instance = |node: &str| Instance { group: "t/web".into(), node: node.into() };
        Placement {
            instances: [("web.a".to_owned(), instance("a")), ("web.b".to_owned(), instance("b"))].into(),
            nodes: [("a".to_owned(), Credentials { uid: "uid".to_owned(), generation: 0 })].into(),
            ..Placement::default()
        }
    }

    #[test]
    fn only_instances_of_nodes_that_are_there_are_admitted() {
        let names: Vec<_> = placement().admitted().into_iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["web.a"]);
    }

    #[test]
    fn a_role_names_what_may_be_written() {
        let role = role("r", "a", "uid", &placement().of("a"));
        let rules = role["rules"].as_array().into_iter().flatten();
        let writes = rules.filter(|rule| rule["verbs"][1] == "patch");
        let names: Vec<_> = writes.map(|rule| rule["resourceNames"].clone()).collect();
        assert_eq!(names, [json!(["a"]), json!(["web.a"])]);
        let none = super::role("r", "a", "uid", &BTreeSet::new());
        assert!(!none.to_string().contains("gatewayinstances/status"), "no names would mean all names");
    }
}
