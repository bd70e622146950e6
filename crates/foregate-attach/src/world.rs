//! The workload cluster's objects that others refer to.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foregate_api::envoy_gateway::EnvoyProxy;
use foregate_api::{GatewayClassParameters, Origin};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use crate::backend::{CA_KEY, PodState};
use crate::grants::Grants;
use crate::{Key, Release, certificate};

/// What others refer to.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub services: HashMap<Key, Arc<Service>>,
    pub slices: HashMap<Key, Arc<EndpointSlice>>,
    /// Pods, once an XBackend selects some.
    pub pods: BTreeMap<Key, PodState>,
    pub secrets: HashMap<Key, SecretState>,
    /// `ca.crt` of ConfigMaps.
    pub config_maps: HashMap<Key, Option<String>>,
    /// Certificates of ClusterTrustBundles.
    pub trust_bundles: HashMap<Arc<str>, String>,
    /// None: nobody has asked.
    pub release: Option<Release>,
    pub grants: Grants,
    pub parameters: HashMap<Key, Arc<GatewayClassParameters>>,
    pub envoy_proxies: HashMap<Key, Arc<EnvoyProxy>>,
    /// Labels of namespaces.
    pub namespaces: HashMap<Arc<str>, BTreeMap<String, String>>,
}

/// What is kept of a Secret: a certificate and its key, and trusted certificates, if it has them.
#[derive(Debug)]
pub(crate) struct SecretState {
    pub metadata: ObjectMeta,
    /// Its `resourceVersion`.
    pub version: String,
    pub pair: Option<Pair>,
    /// `ca.crt`.
    pub ca: Option<String>,
    checked: OnceCell<Result<(), String>>,
}

/// A certificate chain and its key, as PEM.
#[derive(Clone, PartialEq)]
pub(crate) struct Pair {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair(…)")
    }
}

impl SecretState {
    pub fn new(secret: &Secret) -> Self {
        let data = |name| secret.data.as_ref().and_then(|data| data.get(name)).map(|bytes| bytes.0.clone());
        let pair = data("tls.crt").zip(data("tls.key")).map(|(certificate, key)| Pair { certificate, key });
        let ca = data(CA_KEY).and_then(|bytes| String::from_utf8(bytes).ok());
        let metadata = ObjectMeta {
            namespace: secret.metadata.namespace.clone(),
            name: secret.metadata.name.clone(),
            uid: secret.metadata.uid.clone(),
            creation_timestamp: secret.metadata.creation_timestamp.clone(),
            ..ObjectMeta::default()
        };
        let version = secret.metadata.resource_version.clone().unwrap_or_default();
        Self { metadata, version, pair, ca, checked: OnceCell::new() }
    }

    /// Whether it can be served; found out once.
    pub fn usable(&self) -> Result<(), &str> {
        self.checked
            .get_or_init(|| match &self.pair {
                Some(pair) => certificate::check(&pair.certificate, &pair.key),
                None => Err("it has no data tls.crt and tls.key; make one with `kubectl create secret tls`".to_owned()),
            })
            .as_ref()
            .copied()
            .map_err(String::as_str)
    }
}

/// The object without the parts of its metadata that nothing here reads and that are often the largest.
pub(crate) fn slim<K: Resource + Clone>(object: Arc<K>) -> Arc<K> {
    if object.meta().managed_fields.is_none() && object.meta().annotations.is_none() {
        return object;
    }
    let mut object = Arc::unwrap_or_clone(object);
    object.meta_mut().managed_fields = None;
    object.meta_mut().annotations = None;
    Arc::new(object)
}

/// The UID of an object. A source that has none gets one that is as unique, from the name.
pub(crate) fn uid(metadata: &ObjectMeta) -> String {
    match metadata.uid.as_deref() {
        Some(uid) if !uid.is_empty() => uid.to_owned(),
        _ => {
            let namespace = metadata.namespace.as_deref().unwrap_or_default();
            format!("{namespace}.{}", metadata.name.as_deref().unwrap_or_default())
        }
    }
}

/// Where what is derived from an object comes from.
pub(crate) fn origin(cluster: &str, group: &str, kind: &str, metadata: &ObjectMeta) -> Origin {
    Origin {
        cluster: cluster.to_owned(),
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: uid(metadata),
        generation: metadata.generation.unwrap_or_default(),
        creation_timestamp: metadata.creation_timestamp.clone(),
    }
}
