//! What a gateway that is held at an old revision needs of the present: endpoints of clusters and certificates, whether
//! anything of the gateway names them still or not.

use bytes::Bytes;
use foregate_api::address::ProxyRef;
use foregate_envoy::{Resource, ResourceId, ResourceKind};
use prost::Message as _;

use super::Translator;
use super::secrets::secret_owner;
use crate::Key;
use crate::envoy::{self, check};

/// Endpoints or a certificate as they are now.
#[derive(Clone, Debug, PartialEq)]
pub enum Present {
    /// There they are.
    Here(Resource),
    /// Their object is gone, or can't be used. Endpoints are none then, so that requests get 503; a certificate can't
    /// be made up.
    Gone(Option<Resource>),
}

impl Translator {
    /// A resource that a gateway has been given.
    pub fn resource(&self, proxy: &ProxyRef, id: &ResourceId) -> Option<&Resource> {
        self.index.proxies.get(&Key::from(proxy))?.published.get(id)
    }

    /// The resources of one kind that a gateway has been given, in no order.
    pub fn resources_of(&self, proxy: &ProxyRef, kind: ResourceKind) -> impl Iterator<Item = &Resource> {
        let proxy = self.index.proxies.get(&Key::from(proxy));
        proxy.into_iter().flat_map(|it| it.published.values()).filter(move |resource| resource.id.kind == kind)
    }

    /// The endpoints of a cluster, or a certificate, for a gateway of that tenant, by the resource's name. Anything
    /// else is gone.
    pub fn present(&self, proxy: &ProxyRef, id: &ResourceId) -> Present {
        if let Some(resource) = self.resource(proxy, id) {
            return Present::Here(resource.clone());
        }
        match id.kind {
            ResourceKind::ClusterLoadAssignment => self.present_endpoints(proxy, id),
            ResourceKind::Secret => {
                let key = id.name.split_once('/').map(|(namespace, name)| Key::new(namespace, name));
                let key = key.filter(|key| *key.namespace == *proxy.namespace);
                key.and_then(|key| self.present_certificate(&key, id)).map_or(Present::Gone(None), Present::Here)
            }
            _ => Present::Gone(None),
        }
    }

    /// A cluster's name is that of its backend, and a fingerprint of how connections to it were made.
    fn present_endpoints(&self, proxy: &ProxyRef, id: &ResourceId) -> Present {
        let backend = id.name.rsplit_once('/').map(|(backend, _)| Key::new(proxy.namespace.as_str(), backend));
        let made = backend.as_ref().and_then(|key| self.index.backends.get(key)).filter(|backend| !backend.gone);
        let made = made.and_then(|backend| backend.cluster.as_ref());
        let endpoints = backend.as_ref().zip(made).map(|(key, made)| (self.endpoints(key, made), made.owner.clone()));
        match endpoints {
            Some((endpoints, owner)) => {
                let assignment = envoy::endpoints::build(&id.name, &endpoints);
                Present::Here(Resource::new(id.clone(), &assignment, [], [owner]))
            }
            None => {
                let none = envoy::endpoints::build(&id.name, &[]);
                Present::Gone(Some(Resource::new(id.clone(), &none, [], [])))
            }
        }
    }

    /// What no listener of the present names isn't made beforehand.
    fn present_certificate(&self, key: &Key, id: &ResourceId) -> Option<Resource> {
        let secret = self.index.secrets.get(key).filter(|secret| !secret.gone)?;
        let current = &secret.tracked.current;
        let body = Bytes::from(envoy::secret::build(&key.to_string(), current).ok()?.encode_to_vec());
        check("envoy.extensions.transport_sockets.tls.v3.Secret", &body, "data").ok()?;
        Some(Self::encoded(id.clone(), &body, [], [secret_owner(key, current)]))
    }
}
