//! Slices that backends list: nobody is sent to a backend before they are here, nor are they dropped while they are
//! needed. Slices, backends and routes come in watches of their own, in any order.

use super::Translator;
use super::ingest::service_of_slice;
use super::work::Work;
use crate::Key;
use crate::index::Backend;

impl Translator {
    /// Whether all slices that a backend lists are here.
    pub(super) fn has_endpoints(&self, key: &Key, backend: &Backend) -> bool {
        let listed = &backend.tracked.current.spec.endpoint_slices;
        listed.iter().all(|name| self.index.slices.contains_key(&key.sibling(name)))
    }

    /// A slice that is gone stays while a backend lists it, and while its Service's other slices aren't all here.
    pub(super) fn lose_slice(&mut self, key: &Key, work: &mut Work) {
        if self.is_needed(key) {
            self.index.lingering_slices.insert(key.clone());
        } else {
            self.drop_slice(key, work);
        }
    }

    /// Drops what lingered for a backend that has changed or is no more.
    pub(super) fn drop_lingering_slices(&mut self, work: &mut Work) {
        let lingering = self.index.lingering_slices.iter();
        let over: Vec<Key> = lingering.filter(|key| !self.is_needed(key)).cloned().collect();
        for key in over {
            self.index.lingering_slices.remove(&key);
            self.drop_slice(&key, work);
        }
    }

    /// Marks the routes and gateways that waited for slices that have arrived.
    pub(super) fn wake_waiting_routes(&mut self, work: &mut Work) {
        for slice in std::mem::take(&mut work.arrived_slices) {
            for backend in self.backends_of(&slice) {
                work.named.extend(self.index.proxies_by_backend.of(backend).cloned());
                for key in self.index.routes_by_backend.of(backend) {
                    let Some(route) = self.index.routes.get(key) else { continue };
                    if !route.serves_current() {
                        work.mark_route(key, &[route.tracked.current.spec.origin.clone().into()]);
                    }
                }
            }
        }
    }

    fn is_needed(&self, key: &Key) -> bool {
        self.backends_of(key).any(|name| {
            let Some(backend) = self.index.backends.get(name) else { return false };
            let is_listed = backend.tracked.current.spec.endpoint_slices.iter().any(|listed| **listed == *key.name);
            is_listed || !self.has_endpoints(name, backend)
        })
    }

    /// Backends of a slice's Service.
    fn backends_of(&self, key: &Key) -> impl Iterator<Item = &Key> {
        let service = self.index.slices.get(key).map(|slice| service_of_slice(key, slice));
        service.into_iter().flat_map(|service| self.index.backends_by_service.get(&service)).flatten()
    }
}
