//! Pods that XBackends select, as the endpoint slices of these.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use foregate_api::GatewayEndpointSlice;
use foregate_api::backend::{GatewayEndpointSliceSpec, SliceEndpoint, SlicePort};
use foregate_api::gateway::experimental::EXPERIMENTAL_GROUP;
use k8s_openapi::api::core::v1::Pod;

use super::{Source, Upstream};
use crate::book::metadata;
use crate::output::Derived;
use crate::target::TargetId;
use crate::world::{origin, uid};
use crate::{Attach, Change, Key};

/// What is kept of a Pod.
#[derive(Debug, PartialEq)]
pub(crate) struct PodState {
    labels: BTreeMap<String, String>,
    endpoint: SliceEndpoint,
}

impl PodState {
    /// None: it has no address, or it is done.
    fn new(pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref()?;
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return None;
        }
        let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).chain(status.pod_ip.clone());
        let mut addresses: Vec<String> = Vec::new();
        for address in all.filter(|address| address.parse::<IpAddr>().is_ok()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let serving = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let endpoint = SliceEndpoint {
            addresses,
            ready: serving && !terminating,
            serving,
            terminating,
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            zone: None,
        };
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        (!endpoint.addresses.is_empty()).then_some(Self { labels, endpoint })
    }

    fn has(&self, wanted: &BTreeMap<String, String>) -> bool {
        wanted.iter().all(|(label, value)| self.labels.get(label) == Some(value))
    }
}

impl Attach {
    /// Whether an XBackend selects Pods. Until then none needs to be fed.
    pub fn wants_pods(&self) -> bool {
        !self.index.selecting.is_empty()
    }

    pub(crate) fn take_pod(&mut self, change: Change<Pod>) {
        let (key, new) = match change {
            Change::Set(pod) => (Key::of(&pod.metadata), PodState::new(&pod)),
            Change::Gone(key) => (key, None),
        };
        let concerned: Vec<Key> = self.index.selecting.of(&key.namespace).cloned().collect();
        let old = match new {
            Some(new) => self.world.pods.insert(key.clone(), new),
            None => self.world.pods.remove(&key),
        };
        let new = self.world.pods.get(&key);
        if old.as_ref() == new {
            return;
        }
        for backend in concerned {
            let selector = self.selector(&backend);
            let selects = |pod: Option<&PodState>| pod.zip(selector).is_some_and(|(pod, wanted)| pod.has(wanted));
            if selects(old.as_ref()) || selects(new) {
                self.dirty.pod_slices.insert(backend);
            }
        }
    }

    fn selector(&self, backend: &Key) -> Option<&BTreeMap<String, String>> {
        self.xbackends.get(backend)?.verdict.as_ref()?.as_ref().ok()?.selector.as_ref()
    }

    /// Wants the Pods of an XBackend at each target that sends to it.
    pub(crate) fn derive_pods(&mut self, key: &Key) {
        for target in self.targets.ids() {
            let wanted = self.pod_slice(target, key);
            self.derive(Source::Pods(target, key.clone()), wanted);
        }
    }

    fn pod_slice(&self, target: TargetId, key: &Key) -> Option<Derived> {
        self.sends(target, &Upstream::XBackend(key.clone())).then_some(())?;
        let state = self.xbackends.get(key)?;
        let Some(Ok(destination)) = &state.verdict else { return None };
        let wanted = destination.selector.as_ref()?;
        let first = Key { namespace: key.namespace.clone(), name: "".into() };
        let pods = self.world.pods.range(first..).take_while(|(pod, _)| pod.namespace == key.namespace);
        let target = self.targets.get(target);
        let origin = origin(&target.cluster, EXPERIMENTAL_GROUP, "XBackend", &state.object.metadata);
        let metadata = metadata(&target.namespace, &origin.derived_name(), &origin);
        let spec = GatewayEndpointSliceSpec {
            service_uid: uid(&state.object.metadata),
            ports: vec![SlicePort { name: String::new(), port: destination.port }],
            endpoints: pods.filter(|(_, pod)| pod.has(wanted)).map(|(_, pod)| pod.endpoint.clone()).collect(),
            origin,
        };
        Some(Derived::Slice(Arc::new(GatewayEndpointSlice { metadata, spec })))
    }
}
