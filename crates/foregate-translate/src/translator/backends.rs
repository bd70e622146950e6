//! Backends: their clusters and endpoints.

use std::sync::Arc;

use bytes::Bytes;
use foregate_envoy::{Resource, ResourceId, ResourceKind};
use prost::Message;

use super::Translator;
use super::ingest::{BACKEND, backend_owner, service_of};
use super::proxies::secret_id;
use super::work::Work;
use crate::Key;
use crate::envoy::{self, check, cluster};
use crate::index::{Backend, BackendCluster};
use crate::ir::Endpoint;
use crate::resolve::endpoints;

impl Translator {
    /// Makes the clusters of backends that changed. A new cluster is a new name for every route that names it.
    pub(super) fn make_backends(&mut self, work: &mut Work) {
        for (key, causes) in std::mem::take(&mut work.backends) {
            let Some(backend) = self.index.backends.get_mut(&key) else { continue };
            let old = backend.cluster.take();
            backend.make(&key);
            work.judge(BACKEND, &key);
            let renamed = old.as_ref().map(|cluster| &cluster.name) != backend.cluster.as_ref().map(|it| &it.name);
            // A route that waited for this backend, or that its new cluster moves.
            if renamed || old.is_none() {
                self.index.routes_by_backend.of(&key).for_each(|route| work.mark_route(route, &causes));
                for proxy in self.index.proxies_by_backend.of(&key) {
                    work.named.insert(proxy.clone());
                    work.blame(proxy, &causes);
                }
            }
            self.mark_clusters(&key, work);
        }
        for service in std::mem::take(&mut work.services) {
            for key in self.index.backends_by_service.of(&service) {
                self.mark_clusters(key, work);
            }
        }
    }

    /// Marks a backend's cluster at every gateway that uses it.
    fn mark_clusters(&self, key: &Key, work: &mut Work) {
        let Some(backend) = self.index.backends.get(key) else { return };
        for proxy in backend.users.keys() {
            if let Some(name) = self.cluster_at(proxy, key) {
                work.clusters.insert((proxy.clone(), name));
            }
        }
    }

    /// The present cluster of a backend, as a gateway connects to it; none: there is none, or what the gateway has to
    /// show isn't there.
    pub(super) fn cluster_at(&self, proxy: &Key, backend: &Key) -> Option<Arc<str>> {
        let made = self.index.backends.get(backend)?.cluster.as_ref()?;
        match self.client_of(proxy, made) {
            Some(secret) if self.has_certificate(secret) => {
                Some(cluster::name(&backend.name, &made.source.spec, Some(&secret.to_string())))
            }
            Some(_) => None,
            None => Some(made.name.clone()),
        }
    }

    /// The Secret with the certificate that a gateway shows to a backend.
    fn client_of(&self, proxy: &Key, made: &BackendCluster) -> Option<&Key> {
        let plan = &self.index.proxies.get(proxy)?.plan;
        plan.client_certificate.as_ref().filter(|_| made.source.spec.tls.is_some())
    }

    /// Publishes clusters with their endpoints where routes name them, and takes them back where none does any more.
    pub(super) fn publish_clusters(&mut self, work: &mut Work) {
        for (proxy, name) in std::mem::take(&mut work.clusters) {
            let Some(known) = self.index.proxies.get(&proxy) else { continue };
            let ids = (
                ResourceId::new(ResourceKind::Cluster, name.clone()),
                ResourceId::new(ResourceKind::ClusterLoadAssignment, name.clone()),
            );
            let used = known.clusters.get(&name).filter(|used| used.count > 0).map(|used| used.backend.clone());
            let used = used.filter(|key| self.cluster_at(&proxy, key).as_ref() == Some(&name));
            let made = used.as_ref().and_then(|key| self.index.backends.get(key)?.cluster.as_ref());
            let (Some(key), Some(made)) = (&used, made) else {
                if let Some(known) = self.index.proxies.get_mut(&proxy) {
                    known.clusters.remove(&name);
                }
                work.retract(&proxy, ids.0);
                work.retract(&proxy, ids.1);
                continue;
            };
            let owners: Arc<[_]> = [made.owner.clone()].into();
            let client = self.client_of(&proxy, made);
            let body = match client {
                None => made.body.clone(),
                Some(secret) => {
                    cluster::build(&name, &made.source.spec, Some(&secret.to_string())).encode_to_vec().into()
                }
            };
            let mut needs: Vec<ResourceId> = client.map(secret_id).into_iter().collect();
            if !endpoints::are_names(&made.source.spec) {
                needs.push(ids.1.clone());
                let assignment = envoy::endpoints::build(&name, &self.endpoints(key, made));
                work.publish(&proxy, Resource::new(ids.1, &assignment, [], owners.clone()));
            }
            work.publish(&proxy, Self::encoded(ids.0, &body, needs, owners));
        }
        self.release_backends(work);
    }

    /// A backend that is gone leaves with the last that names it.
    pub(super) fn release_backends(&mut self, work: &mut Work) {
        for key in std::mem::take(&mut work.released) {
            let unused = self.index.backends.get(&key).is_some_and(|backend| backend.gone)
                && !self.index.routes_by_backend.has(&key)
                && !self.index.proxies_by_backend.has(&key);
            if unused && let Some(backend) = self.index.backends.remove(&key) {
                let service = service_of(&key, &backend.tracked.current.spec.origin);
                self.index.backends_by_service.remove(&service, &key);
                self.forget(&backend.tracked.owner, BACKEND, &key);
                work.judge(BACKEND, &key);
                work.backends.remove(&key);
            }
        }
    }

    /// The present endpoints of a backend.
    pub(super) fn endpoints(&self, key: &Key, made: &BackendCluster) -> Vec<Endpoint> {
        let service = service_of(key, &made.source.spec.origin);
        let slices = self.index.slices_by_service.of(&service).filter_map(|slice| self.index.slices.get(slice));
        endpoints::of(&made.source.spec, slices.map(|slice| &slice.spec))
    }
}

impl Backend {
    /// Makes the cluster of the best form that there is.
    fn make(&mut self, key: &Key) {
        let mut problem = None;
        let mut made = None;
        for (index, backend) in self.tracked.candidates().enumerate() {
            let name = cluster::name(&key.name, &backend.spec, None);
            let body = Bytes::from(cluster::build(&name, &backend.spec, None).encode_to_vec());
            match check(cluster::TYPE, &body, "spec") {
                Ok(()) => {
                    made = Some(BackendCluster { name, body, owner: backend_owner(backend), source: backend.clone() });
                    break;
                }
                Err(reason) if index == 0 => problem = Some(reason.to_string()),
                Err(_) => {}
            }
        }
        self.cluster = made;
        self.tracked.problem = problem;
    }
}
