//! What engines say: who is there, what they have applied, what they refuse.

use std::time::Instant;

use foregate_api::address::ProxyRef;
use foregate_api::instance::Nack;
use foregate_xds::{Event, Instance, Owner, ResourceId, ResourceKind};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::bind::proxy_of_group;
use crate::pipeline::Pipeline;
use crate::pipeline::dissent::Refusal;

impl Pipeline {
    /// What a stream says.
    pub(super) fn heard(&mut self, event: Event, now: Instant, clock: Timestamp) {
        let (Event::Connected(instance) | Event::Disconnected(instance)) = &event else {
            return self.answered(event, clock);
        };
        let Some(proxy) = proxy_of_group(&instance.group) else { return };
        let known = self.gateways.get(&proxy);
        if matches!(event, Event::Connected(_)) {
            tracing::info!(group = %instance.group, node = %instance.node, "an instance has connected");
            let sequence = known.map(|gateway| gateway.sequence).unwrap_or_default();
            self.presences.connected(&proxy, &instance.node, sequence);
            if let Some(gateway) = self.gateways.get_mut(&proxy) {
                gateway.forget_refusals_of(&instance.node);
            }
        } else {
            tracing::info!(group = %instance.group, node = %instance.node, "an instance has disconnected");
            self.presences.disconnected(&proxy, &instance.node, now);
            let name = crate::bind::instance_name(&proxy, &instance.node);
            if known.is_none_or(|gateway| !gateway.instances.contains(&name)) {
                self.presences.forget(&proxy, &instance.node);
            }
            if known.is_some_and(|gateway| gateway.claims.is_empty()) {
                self.reshape.insert(proxy.clone());
            }
        }
        self.restate.insert(proxy);
    }

    fn answered(&mut self, event: Event, clock: Timestamp) {
        match event {
            Event::Progress { instance, applied } => {
                let Some(proxy) = proxy_of_group(&instance.group) else { return };
                let before = self.presences.applied(&proxy).unwrap_or_default();
                let ready = self.presences.progress(&proxy, &instance.node, applied);
                self.trial_applied(&proxy);
                if let Some(gateway) = self.gateways.get_mut(&proxy) {
                    gateway.acknowledged = gateway.acknowledged.max(applied);
                    gateway.dissent.applied(&instance.node, applied);
                }
                if ready || self.gateways.get(&proxy).is_some_and(|gateway| gateway.awaited() > before) {
                    self.restate.insert(proxy);
                }
            }
            Event::Nacked { instance, id: refused, version, owners, message } => {
                self.refused(&instance, refused.clone(), &version, &owners.clone(), message, clock);
            }
            Event::Recovered { instance, id, .. } => self.recovered(&instance, &id),
            Event::Connected(_) | Event::Disconnected(_) => {}
        }
    }

    /// An engine has taken a listener at last, whose port was in use.
    fn recovered(&mut self, instance: &Instance, id: &ResourceId) {
        tracing::info!(group = %instance.group, node = %instance.node, name = %id.name, "taken at last");
        let Some(proxy) = proxy_of_group(&instance.group) else { return };
        if let Some(gateway) = self.gateways.get_mut(&proxy) {
            gateway.refused_listeners.remove(&(id.name.to_string(), instance.node.to_string()));
            gateway.dissent.recovered(id, &instance.node);
        }
        self.restate.insert(proxy);
    }

    /// An engine has refused a resource: whoever made it what it is, is held back; but not if another engine has taken
    /// the very same ([`dissent`](super::dissent)).
    fn refused(
        &mut self,
        instance: &Instance,
        id: ResourceId,
        version: &str,
        owners: &[Owner],
        message: String,
        clock: Timestamp,
    ) {
        tracing::warn!(group = %instance.group, node = %instance.node, kind = id.kind.type_url(), name = %id.name, message, "refused");
        let Some(proxy) = proxy_of_group(&instance.group) else { return };
        let nack = Nack {
            type_url: id.kind.type_url().to_owned(),
            resources: vec![id.name.to_string()],
            message: message.clone(),
            time: Time(Timestamp::from_second(clock.as_second()).unwrap_or(clock)),
        };
        self.presences.nacked(&proxy, &instance.node, nack);
        self.restate.insert(proxy.clone());
        if id.kind != ResourceKind::Listener && self.refused_while_held(&proxy, &id, owners.is_empty(), &message) {
            return;
        }
        let refusal = Refusal { version: version.into(), owners: owners.into(), message: message.clone() };
        if self.dissents(&proxy, &instance.node, &id, &refusal) {
            return;
        }
        self.judge(&proxy, &instance.node, id, &refusal);
    }

    /// Finds out who is to blame for a refusal, and holds them back.
    pub(super) fn judge(&mut self, proxy: &ProxyRef, node: &str, id: ResourceId, refusal: &Refusal) {
        let Refusal { version, owners, message } = refusal;
        let applied = self.presences.applied(proxy).unwrap_or_default();
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        if gateway.searches.contains_key(&id) {
            return self.trial_refused(proxy, &id, version, message);
        }
        let blame = gateway.history.blame(&id, version, owners, applied);
        if id.kind == ResourceKind::Listener && !blame.certain {
            // The template served before, so it is what the listener asks for: a port that is taken, for example.
            gateway.refused_listeners.insert((id.name.to_string(), node.to_owned()), message.clone());
            return;
        }
        self.hold_back(proxy, id, version, blame, message);
    }
}
