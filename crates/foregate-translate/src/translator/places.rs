//! Routes into virtual hosts and out of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use foregate_api::Origin;

use super::Translator;
use super::work::Work;
use crate::Key;
use crate::index::{ClusterUse, Forwarding, Place, Placed, Sorted, VirtualHost};

/// Where a route goes, and how.
pub(super) type Places = BTreeMap<Place, (Site, Placed)>;

/// What is at a place.
#[derive(Clone, Debug)]
pub(super) enum Site {
    /// A virtual host: its route configuration and domain.
    Host(Arc<str>, Arc<str>),
    /// Connections or datagrams.
    Forwarding {
        /// Name of the port's listener.
        listener: Arc<str>,
        /// The host name of the user's listener.
        chain: Arc<str>,
        /// The server name.
        hostname: Arc<str>,
    },
}

impl Translator {
    /// Moves a route to its new places.
    pub(super) fn place_route(&mut self, key: &Key, places: Places, causes: &[Arc<Origin>], work: &mut Work) {
        let mut placed = Vec::with_capacity(places.len());
        for (place, (site, how)) in places {
            self.count(&place.0, &how, true, work);
            self.place(key, &place, site, &how, work);
            work.blame(&place.0, causes);
            placed.push((place, how));
        }
        let Some(route) = self.index.routes.get_mut(key) else { return };
        let old = std::mem::replace(&mut route.placed, placed.into_iter().collect());
        for (place, how) in old {
            self.count(&place.0, &how, false, work);
            let stays = self.index.routes.get(key).is_some_and(|route| route.placed.contains_key(&place));
            if stays {
                continue;
            }
            self.displace(key, &place, work);
            work.blame(&place.0, causes);
        }
    }

    /// Takes a route that is gone out of everything.
    pub(super) fn unplace_route(&mut self, key: &Key, work: &mut Work) {
        let causes = work.routes.remove(key).unwrap_or_default();
        self.place_route(key, Places::new(), &causes, work);
        let Some(route) = self.index.routes.remove(key) else { return };
        for backend in route.backends.keys() {
            self.index.routes_by_backend.remove(backend, key);
            work.released.insert(backend.clone());
        }
        for claim in route.claims.keys() {
            self.index.routes_by_claim.remove(claim, key);
        }
    }

    fn place(&mut self, key: &Key, place: &Place, site: Site, how: &Placed, work: &mut Work) {
        let Some(proxy) = self.index.proxies.get_mut(&place.0) else { return };
        match site {
            Site::Host(configuration, domain) => {
                let host = proxy.virtual_hosts.entry(place.1.clone());
                host.or_insert_with(|| VirtualHost::new(configuration, domain)).place(key.clone(), how.clone());
                work.virtual_hosts.insert(place.clone());
            }
            Site::Forwarding { listener, chain, hostname } => {
                let known = proxy.forwardings.entry(place.1.clone());
                let new = || Forwarding { listener, chain: chain.clone(), hostname, placed: Sorted::default() };
                let known = known.or_insert_with(new);
                known.placed.insert(key.clone(), how.clone());
                work.listeners.insert(place.0.clone());
            }
        }
    }

    fn displace(&mut self, key: &Key, place: &Place, work: &mut Work) {
        let Some(proxy) = self.index.proxies.get_mut(&place.0) else { return };
        if let Some(forwarding) = proxy.forwardings.get_mut(&place.1) {
            forwarding.placed.remove(key);
            if forwarding.placed.is_empty() {
                proxy.forwardings.remove(&place.1);
            }
            work.listeners.insert(place.0.clone());
        } else if let Some(host) = proxy.virtual_hosts.get_mut(&place.1) {
            host.displace(key);
            work.virtual_hosts.insert(place.clone());
        }
    }

    /// Counts who names a cluster, per gateway and per backend.
    fn count(&mut self, proxy: &Key, placed: &Placed, more: bool, work: &mut Work) {
        for (cluster, backend) in placed.entry.clusters.iter() {
            self.count_cluster(proxy, cluster, backend, more, work);
        }
    }

    /// Counts one who names a cluster, or doesn't any more.
    pub(super) fn count_cluster(
        &mut self,
        proxy: &Key,
        cluster: &Arc<str>,
        backend: &Key,
        more: bool,
        work: &mut Work,
    ) {
        if let Some(known) = self.index.proxies.get_mut(proxy) {
            let used = known.clusters.entry(cluster.clone());
            let used = used.or_insert_with(|| ClusterUse { backend: backend.clone(), count: 0 });
            used.count = step(used.count, more);
            // Only the first and the last make a difference.
            if used.count == usize::from(more) {
                work.clusters.insert((proxy.clone(), cluster.clone()));
            }
        }
        if let Some(known) = self.index.backends.get_mut(backend) {
            let count = known.users.entry(proxy.clone()).or_default();
            *count = step(*count, more);
            if *count == 0 {
                known.users.remove(proxy);
            }
        }
    }
}

const fn step(count: usize, more: bool) -> usize {
    if more { count + 1 } else { count.saturating_sub(1) }
}
