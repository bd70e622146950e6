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

/// How many endpoints a slice has at most: the platform's API takes objects of so many bytes, and a change of one
/// endpoint writes its whole slice.
const MOST: usize = 1000;

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
            let slices = self.pod_slices(target, key).unwrap_or_default();
            let parts: Vec<Arc<str>> = slices.iter().map(|(part, _)| part.clone()).collect();
            let place = (target, key.clone());
            let old = match parts.is_empty() {
                true => self.pod_parts.remove(&place),
                false => self.pod_parts.insert(place, parts.clone()),
            };
            let old = old.unwrap_or_default();
            if old != parts {
                // They list them.
                let upstream = Upstream::XBackend(key.clone());
                self.dirty.backends.extend(self.index.upstream_backends.of(&upstream).cloned());
            }
            for gone in old.into_iter().filter(|old| !parts.contains(old)) {
                self.derive(Source::Pods(target, key.clone(), gone), None);
            }
            for (part, slice) in slices {
                self.derive(Source::Pods(target, key.clone(), part), Some(slice));
            }
        }
    }

    /// Names of what is derived from the Pods of an XBackend, whose own derived name is `of`.
    pub(super) fn pod_slice_names(&self, target: TargetId, key: &Key, of: &str) -> Vec<String> {
        let parts = self.pod_parts.get(&(target, key.clone())).into_iter().flatten();
        let mut names: Vec<String> = parts.map(|part| slice_name(of, part)).collect();
        names.sort();
        names
    }

    fn pod_slices(&self, target: TargetId, key: &Key) -> Option<Vec<(Arc<str>, Derived)>> {
        self.sends(target, &Upstream::XBackend(key.clone())).then_some(())?;
        let state = self.xbackends.get(key)?;
        let Some(Ok(destination)) = &state.verdict else { return None };
        let wanted = destination.selector.as_ref()?;
        let first = Key { namespace: key.namespace.clone(), name: "".into() };
        let pods = self.world.pods.range(first..).take_while(|(pod, _)| pod.namespace == key.namespace);
        let target = self.targets.get(target);
        let origin = origin(&target.cluster, EXPERIMENTAL_GROUP, "XBackend", &state.object.metadata);
        let chosen = pods.filter(|(_, pod)| pod.has(wanted)).map(|(key, pod)| (hash(&key.name), pod)).collect();
        let mut parts = Vec::new();
        divide(chosen, String::new(), &mut parts);
        let slices = parts.into_iter().map(|(part, endpoints)| {
            let metadata = metadata(&target.namespace, &slice_name(&origin.derived_name(), &part), &origin);
            let spec = GatewayEndpointSliceSpec {
                service_uid: uid(&state.object.metadata),
                ports: vec![SlicePort { name: String::new(), port: destination.port }],
                endpoints,
                origin: origin.clone(),
            };
            (part.into(), Derived::Slice(Arc::new(GatewayEndpointSlice { metadata, spec })))
        });
        Some(slices.collect())
    }
}

fn slice_name(of: &str, part: &str) -> String {
    if part.is_empty() { of.to_owned() } else { format!("{of}-{part}") }
}

/// Divides Pods into slices by the first bits of their hashes, by as many as it takes: which slice a Pod is in depends
/// on nothing else, so that a Pod more or less changes one slice, or divides it in two.
fn divide(pods: Vec<(u64, &PodState)>, part: String, into: &mut Vec<(String, Vec<SliceEndpoint>)>) {
    let bit = u64::BITS as usize - 1;
    if pods.len() <= MOST || part.len() >= bit {
        into.push((part, pods.into_iter().map(|(_, pod)| pod.endpoint.clone()).collect()));
        return;
    }
    let bit = bit - part.len();
    let (ones, zeros) = pods.into_iter().partition(|(hash, _)| (hash >> bit) & 1 == 1);
    divide(zeros, format!("{part}0"), into);
    divide(ones, format!("{part}1"), into);
}

/// Hash of a name, of which each bit depends on all of it, and that no version changes: FNV-1a, and the end of
/// SplitMix64.
fn hash(name: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
