//! Who refuses what others have taken.
//!
//! A version of a resource that some engine of the gateway has acknowledged is what the gateway serves: a newcomer that
//! is to take an engine's place, or an instance on another node, doesn't change that by refusing it. Were it held back,
//! the engine that serves would lose it too, and with it what it may be there for, such as an authorization filter. So
//! such a refusal holds nothing back. The instance isn't ready, unless another engine still serves in its place, and it
//! is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use foregate_api::address::ProxyRef;
use foregate_xds::{Owner, ResourceId, ResourceKind};

use crate::bind::instance_name;
use crate::pipeline::Pipeline;
use crate::pipeline::gateway::Gateway;
use crate::status::instance::is_exchanged;
use crate::store::Key;

/// What an engine refuses, and its words.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub version: Arc<str>,
    pub owners: Arc<[Owner]>,
    pub message: String,
}

#[derive(Debug)]
struct Entry {
    refusal: Refusal,
    /// A newer version was published with this sequence, and isn't judged yet.
    replaced: Option<u64>,
}

/// What engines refuse that others have taken, by node.
#[derive(Debug, Default)]
pub(crate) struct Dissent {
    refused: BTreeMap<(String, ResourceId), Entry>,
    /// What was published, by sequence, when a node was told to run another engine.
    switched: BTreeMap<String, u64>,
}

impl Dissent {
    fn set(&mut self, node: &str, id: &ResourceId, refusal: Refusal) {
        self.refused.insert((node.to_owned(), id.clone()), Entry { refusal, replaced: None });
    }

    /// Whether a node has refused an earlier version, too: then its refusal says nothing of what is new.
    fn is_known(&self, node: &str, id: &ResourceId) -> bool {
        self.refused.contains_key(&(node.to_owned(), id.clone()))
    }

    fn of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = (&'a ResourceId, &'a Refusal)> {
        let current = self.refused.iter().filter(move |((of, _), entry)| of == node && entry.replaced.is_none());
        current.map(|((_, id), entry)| (id, &entry.refusal))
    }

    /// Returns whether anything was said against the version before.
    pub(crate) fn published(&mut self, id: &ResourceId, sequence: u64) -> bool {
        let mut any = false;
        for (_, entry) in self.refused.iter_mut().filter(|((_, of), _)| of == id) {
            any |= entry.replaced.is_none();
            entry.replaced = Some(sequence);
        }
        any
    }

    /// As [`Dissent::published`].
    pub(crate) fn removed(&mut self, id: &ResourceId) -> bool {
        let before = self.refused.len();
        self.refused.retain(|(_, of), _| of != id);
        self.refused.len() < before
    }

    /// A node's engine has taken what was published up to a sequence, but for what it has refused anew.
    pub(crate) fn applied(&mut self, node: &str, applied: u64) {
        self.refused.retain(|(of, _), entry| of != node || entry.replaced.is_none_or(|sequence| sequence > applied));
    }

    pub(crate) fn recovered(&mut self, id: &ResourceId, node: &str) {
        self.refused.remove(&(node.to_owned(), id.clone()));
    }

    pub(crate) fn forget(&mut self, node: &str) {
        self.refused.retain(|(of, _), _| of != node);
    }
}

impl Gateway {
    /// A node is to run another engine than before: the one that was to take over isn't any more.
    pub(crate) fn newcomer(&mut self, node: &str) {
        self.dissent.forget(node);
        self.dissent.switched.insert(node.to_owned(), self.sequence);
    }

    /// Whether a refused version of a resource was there before the engine that refuses it. That is known for certain
    /// once another engine has acknowledged it. `exchanged`: another engine serves there, who may be about to.
    fn is_old(&mut self, node: &str, id: &ResourceId, version: &str, exchanged: bool, applied: u64) -> bool {
        if self.history.is_acknowledged(id, version, self.acknowledged) {
            return true;
        }
        // After a start of the platform, nobody has said yet what the engine that serves has.
        let unknown = || !self.history.has_predecessor(id, version, applied);
        let switched = || {
            let sequence = self.history.sequence_of(id, version);
            sequence.zip(self.dissent.switched.get(node)).is_some_and(|(sequence, switched)| sequence <= *switched)
        };
        let doubted = self.dissent.is_known(node, id) || exchanged && (unknown() || switched());
        if doubted {
            self.history.doubt(id, version);
        }
        doubted
    }
}

impl Pipeline {
    /// Notes a refusal that holds nothing back. Returns whether it is one.
    pub(super) fn dissents(&mut self, proxy: &ProxyRef, node: &str, id: &ResourceId, refusal: &Refusal) -> bool {
        let exchanged = self.is_exchanged(proxy, node);
        let applied = self.presences.applied(proxy).unwrap_or_default();
        let Some(gateway) = self.gateways.get_mut(proxy) else { return false };
        let version = &*refusal.version;
        if !gateway.is_old(node, id, version, exchanged, applied) {
            return false;
        }
        if gateway.history.is_latest(id, version) {
            gateway.dissent.set(node, id, refusal.clone());
            if id.kind == ResourceKind::Listener && !exchanged {
                let key = (id.name.to_string(), node.to_owned());
                gateway.refused_listeners.insert(key, refusal.message.clone());
            }
        }
        true
    }

    /// An instance runs on what is wanted, by now: what its engine refuses that nobody has taken is judged at last.
    pub(super) fn exchanged(&mut self, proxy: &ProxyRef, node: &str) {
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        let unjudged: Vec<(ResourceId, Refusal)> = gateway
            .dissent
            .of(node)
            .filter(|(id, refusal)| !gateway.history.is_acknowledged(id, &refusal.version, gateway.acknowledged))
            .map(|(id, refusal)| (id.clone(), refusal.clone()))
            .collect();
        for (id, refusal) in unjudged {
            self.gateway(proxy).dissent.recovered(&id, node);
            self.judge(proxy, node, id, &refusal);
        }
    }

    fn is_exchanged(&self, proxy: &ProxyRef, node: &str) -> bool {
        let key = Key::cluster(instance_name(proxy, node));
        self.stores.instances.get(&key).is_some_and(|instance| is_exchanged(instance))
    }

    /// Whether an instance goes without something that other engines of its gateway serve.
    pub(super) fn lacks(&self, proxy: &ProxyRef, node: &str) -> bool {
        let refuses = self.gateways.get(proxy).is_some_and(|gateway| gateway.dissent.of(node).next().is_some());
        refuses && !self.is_exchanged(proxy, node)
    }

    /// What is to be said of a gateway's instances, each with what to do.
    pub(super) fn dissent(&self, proxy: &ProxyRef, nodes: &[String]) -> Vec<String> {
        let Some(gateway) = self.gateways.get(proxy) else { return Vec::new() };
        let said = nodes.iter().filter_map(|node| {
            let mut all = gateway.dissent.of(node);
            let (id, Refusal { message, .. }) = all.next()?;
            let others = match all.count() {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            let instance = self.stores.instances.get(&Key::cluster(instance_name(proxy, node)));
            let wanted = instance.as_ref().map_or("its engine", |instance| &*instance.spec.engine);
            let running = instance.as_ref().filter(|instance| is_exchanged(instance));
            let running = running.and_then(|instance| instance.status.as_ref()?.engine.as_ref());
            let then = match running {
                Some(engine) => format!(
                    "{0} serves on: change the GatewayProxy's template or what it refuses, or set `engine` back to {0}",
                    engine.name
                ),
                None => "what others have taken stays as it is: put this node right, or change it".to_owned(),
            };
            Some(format!("on node {node} {wanted} refuses {id:?}{others}: {message}; {then}"))
        });
        said.collect()
    }
}
