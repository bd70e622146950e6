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
        let given = self.resource(proxy, id).cloned();
        match (id.kind, given) {
            (ResourceKind::Secret, given) => self.present_certificate(proxy, id, given),
            (_, Some(given)) => Present::Here(given),
            (ResourceKind::ClusterLoadAssignment, None) => self.present_endpoints(proxy, id),
            (_, None) => Present::Gone(None),
        }
    }

    /// Whether the endpoints of a cluster are known: its backend is here, and so are all the slices that it lists.
    pub fn knows_endpoints(&self, proxy: &ProxyRef, id: &ResourceId) -> bool {
        let made = || {
            let (name, _) = id.name.rsplit_once('/')?;
            let key = Key::new(proxy.namespace.as_str(), name);
            let backend = self.index.backends.get(&key).filter(|backend| !backend.gone && backend.cluster.is_some())?;
            Some(self.has_endpoints(&key, backend))
        };
        self.resource(proxy, id).is_some() || made().unwrap_or_default()
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

    /// What no listener of the present names isn't made beforehand. A Secret that is gone serves on where one does.
    fn present_certificate(&self, proxy: &ProxyRef, id: &ResourceId, given: Option<Resource>) -> Present {
        let key = id.name.split_once('/').map(|(namespace, name)| Key::new(namespace, name));
        let key = key.filter(|key| *key.namespace == *proxy.namespace);
        let secret = key.as_ref().and_then(|key| self.index.secrets.get(key)).filter(|secret| !secret.gone);
        let Some((key, secret)) = key.as_ref().zip(secret) else { return Present::Gone(given) };
        let made = || {
            let current = &secret.tracked.current;
            let body = Bytes::from(envoy::secret::build(&key.to_string(), current).ok()?.encode_to_vec());
            check("envoy.extensions.transport_sockets.tls.v3.Secret", &body, "data").ok()?;
            Some(Self::encoded(id.clone(), &body, [], [secret_owner(key, current)]))
        };
        given.or_else(made).map_or(Present::Gone(None), Present::Here)
    }
}
