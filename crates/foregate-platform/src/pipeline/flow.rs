//! Endpoints and secrets of gateways that are held at a revision.
//!
//! What the present gateway has of them comes by translation, as ever. The rest (a revision names a cluster that no
//! route names any more) is looked up when a slice, a backend or a Secret of the tenant has changed.

use std::collections::BTreeSet;
use std::time::Instant;

use foregate_api::address::ProxyRef;
use foregate_translate::Present;
use foregate_xds::{Delta, Resource, ResourceId, ResourceKind};

use crate::pipeline::Pipeline;
use crate::pipeline::pin::{Pin, flows};
use crate::pipeline::wanted::{DERIVED_WITHIN, may_derive};

impl Pipeline {
    /// Leaves of a change what may reach a held gateway.
    pub(super) fn flow(&mut self, proxy: &ProxyRef, delta: &mut Delta) {
        let silent = self.is_silent(proxy);
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        match &mut gateway.pin {
            Some(Pin::Held(held)) => {
                delta.set.retain(|resource| flows(resource.id.kind) && held.needs.contains(&resource.id));
                for resource in &delta.set {
                    held.extras.remove(&resource.id);
                    if held.missing.remove(&resource.id) {
                        self.restate.insert(proxy.clone());
                    }
                }
                // What it still needs stays; what becomes of it is looked up.
                let lost = delta.remove.drain(..).filter(|id| held.needs.contains(id));
                held.extras.extend(lost.map(|id| (id, "".into())));
                self.stirred.insert(proxy.namespace.clone());
            }
            _ => {
                delta.set.retain(|resource| !silent && flows(resource.id.kind));
                delta.remove.clear();
            }
        }
    }

    /// Brings what only held gateways need up to date, in the tenants where something has changed.
    pub(super) fn refresh_extras(&mut self, now: Instant) {
        while let Some((at, _)) = self.fading.first()
            && *at <= now
            && let Some((_, proxy)) = self.fading.pop_first()
        {
            self.stirred.insert(proxy.namespace);
        }
        let stirred = std::mem::take(&mut self.stirred);
        if stirred.is_empty() {
            return;
        }
        let held = self.gateways.iter().filter(|(proxy, gateway)| {
            stirred.contains(&proxy.namespace) && matches!(&gateway.pin, Some(Pin::Held(held)) if !held.is_settled())
        });
        let held: Vec<ProxyRef> = held.map(|(proxy, _)| proxy.clone()).collect();
        for proxy in held {
            let delta = self.extras_of(&proxy, now);
            self.send(&proxy, delta, Vec::new(), Vec::new());
        }
    }

    fn extras_of(&mut self, proxy: &ProxyRef, now: Instant) -> Delta {
        let mut delta = Delta::default();
        let claims = self.claims_of(proxy);
        let Some(gateway) = self.gateways.get_mut(proxy) else { return delta };
        let Some(Pin::Held(held)) = &mut gateway.pin else { return delta };
        // A Secret that is gone may serve on without a change.
        let secrets = held.needs.iter().filter(|id| id.kind == ResourceKind::Secret);
        let ids: BTreeSet<_> = held.extras.keys().chain(&held.missing).chain(secrets).cloned().collect();
        let missing_before = held.missing.clone();
        for id in ids {
            let present = self.translator.present(proxy, &id);
            let may_come = || claims.iter().any(|claim| may_derive(claim, &id));
            let is_gone = matches!(present, Present::Gone(_));
            if (is_gone || held.fading.contains_key(&id))
                && !self.translator.knows_endpoints(proxy, &id)
                && may_come()
                && let Some(until) = held.fades(&id, now)
            {
                self.fading.insert((until, proxy.clone()));
                continue;
            }
            held.fading.remove(&id);
            let resource: Option<Resource> = match present {
                Present::Here(resource) => {
                    held.missing.remove(&id);
                    Some(resource)
                }
                Present::Gone(resource) => {
                    held.missing.insert(id.clone());
                    // A certificate stays what it was.
                    resource
                }
            };
            if let Some(resource) = resource.filter(|_| self.translator.resource(proxy, &id).is_none())
                && held.extras.insert(id, resource.version.clone()).as_ref() != Some(&resource.version)
            {
                delta.set.push(resource);
            }
        }
        if held.missing != missing_before {
            self.restate.insert(proxy.clone());
        }
        delta
    }
}

impl crate::pipeline::pin::Held {
    /// Until when endpoints stay what they were though their backend is gone, or its slices aren't here again: a route
    /// has let go of it, perhaps, before its controller knew that it is wanted. None: no longer.
    fn fades(&mut self, id: &ResourceId, now: Instant) -> Option<Instant> {
        if self.missing.contains(id) {
            return None;
        }
        let until = *self.fading.entry(id.clone()).or_insert(now + DERIVED_WITHIN);
        (now < until).then_some(until)
    }

    /// Whether all that it needs comes by translation.
    fn is_settled(&self) -> bool {
        let mut needs = self.needs.iter();
        self.extras.is_empty() && self.missing.is_empty() && !needs.any(|id| id.kind == ResourceKind::Secret)
    }
}
