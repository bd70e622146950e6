//! When all that was there at the start serves.
//!
//! A start first makes what is missing (a crash may have lost what was derived), and publishes; then the instances have
//! to apply it. What can't be served holds nothing up: a gateway without an address or with refused listeners has
//! nothing more to apply, an object whose creation has failed is tried again later, and an engine that doesn't run is
//! the node agent's concern.

use foregate_api::address::ProxyRef;

use crate::bind::instance_name;
use crate::pipeline::Pipeline;
use crate::status::instance::trouble;
use crate::store::Key;

/// How far a start has come.
#[derive(Debug, Default)]
pub(crate) enum Readiness {
    /// Proxies, addresses or instances that should be there are still being made.
    #[default]
    Making,
    /// All are made, and all is published. The instances that haven't applied it yet.
    Applying(Vec<Awaited>),
    /// All serves.
    Serving,
}

/// An instance that was there, or was made, at the start.
#[derive(Debug)]
pub(crate) struct Awaited {
    proxy: ProxyRef,
    node: String,
    /// What it has to apply: its gateway's sequence when all was published.
    sequence: u64,
}

impl Pipeline {
    /// Goes on as far as possible. True once: when all that was there at the start serves.
    pub(super) fn begins_to_serve(&mut self) -> bool {
        let silent = || self.gateways.keys().any(|proxy| self.is_silent(proxy));
        if matches!(self.readiness, Readiness::Making) && !self.outbox.is_creating() && !silent() {
            self.readiness = Readiness::Applying(self.awaited_instances());
        }
        let Readiness::Applying(awaited) = &mut self.readiness else { return false };
        let (gateways, presences, instances) = (&self.gateways, &self.presences, &self.stores.instances);
        awaited.retain(|Awaited { proxy, node, sequence }| {
            let name = instance_name(proxy, node);
            let exists = gateways.get(proxy).is_some_and(|it| it.instances.contains(&name));
            let runs = || instances.get(&Key::cluster(name)).is_none_or(|instance| trouble(instance).is_none());
            exists && !presences.has_applied(proxy, node, *sequence) && runs()
        });
        if !awaited.is_empty() {
            return false;
        }
        self.readiness = Readiness::Serving;
        true
    }

    fn awaited_instances(&self) -> Vec<Awaited> {
        let fed = self.gateways.iter().filter(|(_, gateway)| gateway.fed.is_some());
        let of_gateway = |(proxy, gateway): (&ProxyRef, &crate::pipeline::gateway::Gateway)| {
            let replicas = self.stores.proxies.get(&Key::from(proxy))?.spec.template.replicas;
            let (proxy, sequence) = (proxy.clone(), gateway.sequence);
            let nodes = self.nodes_of(&proxy, replicas).into_iter();
            Some(nodes.map(move |node| Awaited { proxy: proxy.clone(), node, sequence }))
        };
        fed.filter_map(of_gateway).flatten().collect()
    }
}
