//! Backends that claims name: for whom listeners ask, for instance. Their clusters are there as long as a claim names
//! them, and before the listener that does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Translator;
use super::work::Work;
use crate::Key;

impl Translator {
    /// Finds the clusters of what gateways' claims name. A backend is named once its endpoints are known; one that is
    /// named already is followed to its new cluster.
    pub(super) fn follow_named(&mut self, work: &mut Work) {
        for key in std::mem::take(&mut work.named) {
            let Some(proxy) = self.index.proxies.get(&key) else { continue };
            let mut named = BTreeMap::new();
            for backend in &proxy.backends {
                let known = self.index.backends.get(backend);
                let is_ready =
                    proxy.named.contains_key(backend) || known.is_some_and(|known| self.has_endpoints(backend, known));
                let cluster = self.cluster_at(&key, backend).filter(|_| is_ready);
                named.extend(cluster.map(|cluster| (backend.clone(), cluster)));
            }
            if named != proxy.named {
                self.name_clusters(&key, named, work);
            }
        }
    }

    fn name_clusters(&mut self, key: &Key, named: BTreeMap<Key, Arc<str>>, work: &mut Work) {
        let Some(proxy) = self.index.proxies.get_mut(key) else { return };
        let old = std::mem::replace(&mut proxy.named, named.clone());
        for (backend, cluster) in &named {
            if old.get(backend) != Some(cluster) {
                self.count_cluster(key, cluster, backend, true, work);
            }
        }
        for (backend, cluster) in old {
            if named.get(&backend) != Some(&cluster) {
                self.count_cluster(key, &cluster, &backend, false, work);
                work.clusters.insert((key.clone(), cluster));
                work.released.insert(backend);
            }
        }
        work.listeners.insert(key.clone());
    }
}
