//! EndpointSlices of Services that routes use.

use std::net::IpAddr;
use std::sync::Arc;

use foregate_api::GatewayEndpointSlice;
use foregate_api::backend::{GatewayEndpointSliceSpec, SliceEndpoint, SlicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::{Source, Upstream};
use crate::book::metadata;
use crate::need::Need;
use crate::output::Derived;
use crate::target::TargetId;
use crate::world::{origin, slim, uid};
use crate::{Attach, Change, Key};

/// Label of an EndpointSlice: its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

impl Attach {
    pub(crate) fn take_slice(&mut self, change: Change<EndpointSlice>) {
        let (key, new) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Some(slim(object))),
            Change::Gone(key) => (key, None),
        };
        // One may be moved to a Service that nothing names.
        let is_needed = |slice: &Arc<EndpointSlice>| {
            self.needs.is_none() || service_of(slice).is_some_and(|service| self.needs(&Need::Service(service)))
        };
        let new = new.filter(is_needed);
        if new.is_none() && !self.world.slices.contains_key(&key) {
            return;
        }
        let listed = |slice: &EndpointSlice| (service_of(slice), has_addresses(slice), uid(&slice.metadata));
        let now = new.as_deref().map(listed);
        let old = match new {
            Some(object) => self.world.slices.insert(key.clone(), object),
            None => self.world.slices.remove(&key),
        };
        let before = old.as_deref().map(listed);
        if before != now {
            let service = |listed: Option<(Option<Key>, bool, String)>| listed.and_then(|(service, ..)| service);
            let (before, now) = (service(before), service(now));
            self.index.service_slices.replace(&key, &before, &now);
            for service in before.into_iter().chain(now) {
                self.dirty.backends.extend(self.index.upstream_backends.of(&Upstream::Service(service)).cloned());
            }
        }
        self.dirty.slices.insert(key);
    }

    /// Names of what is derived from a Service's slices.
    pub(super) fn slices_of(&self, target: TargetId, service: &Key) -> Vec<String> {
        let slices = self.index.service_slices.of(service).filter_map(|key| self.world.slices.get(key));
        let ours = slices.filter(|slice| has_addresses(slice));
        let target = self.targets.get(target);
        let mut names: Vec<String> = ours.map(|slice| target.name(&uid(&slice.metadata)).to_string()).collect();
        names.sort();
        names
    }

    /// Wants a slice at each target that sends to its Service.
    pub(crate) fn derive_slice(&mut self, key: &Key) {
        for target in self.targets.ids() {
            self.derive(Source::Slice(target, key.clone()), self.slice(target, key));
        }
    }

    fn slice(&self, target: TargetId, key: &Key) -> Option<Derived> {
        let slices = self.world.slices.get(key).filter(|slice| has_addresses(slice));
        slices.and_then(|slice| {
            let upstream = Upstream::Service(service_of(slice)?);
            let service = self.world.services.get(upstream.key())?;
            self.sends(target, &upstream).then_some(())?;
            let target = self.targets.get(target);
            let origin = origin(&target.cluster, "discovery.k8s.io", "EndpointSlice", &slice.metadata);
            let metadata = metadata(&target.namespace, &origin.derived_name(), &origin);
            let spec = GatewayEndpointSliceSpec {
                origin,
                service_uid: uid(&service.metadata),
                ports: slice.ports.iter().flatten().filter_map(slice_port).collect(),
                endpoints: slice.endpoints.iter().flatten().filter_map(slice_endpoint).collect(),
            };
            Some(Derived::Slice(Arc::new(GatewayEndpointSlice { metadata, spec })))
        })
    }
}

/// Names instead of addresses are for others to look up.
fn has_addresses(slice: &EndpointSlice) -> bool {
    slice.address_type != "FQDN"
}

/// The Service of a slice.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
    Some(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name.as_str()))
}

fn slice_port(port: &k8s_openapi::api::discovery::v1::EndpointPort) -> Option<SlicePort> {
    let number = u16::try_from(port.port?).ok().filter(|&p| p != 0)?;
    Some(SlicePort { name: port.name.clone().unwrap_or_default(), port: number })
}

/// An endpoint, if it has an IP address: a missing condition counts as the API says.
fn slice_endpoint(endpoint: &Endpoint) -> Option<SliceEndpoint> {
    let addresses: Vec<String> = endpoint.addresses.iter().filter(|a| a.parse::<IpAddr>().is_ok()).cloned().collect();
    if addresses.is_empty() {
        return None;
    }
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    Some(SliceEndpoint {
        addresses,
        ready,
        serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
        terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        node_name: endpoint.node_name.clone(),
        zone: endpoint.zone.clone(),
    })
}
