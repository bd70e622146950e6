//! Clusters and their endpoints.

use std::collections::HashMap;
use std::sync::Arc;

use foregate_xds::client::Response;

use super::dns::{Asking, Found};
use super::store::{Refusals, Store};
use crate::config::cluster::{self, Balance, ClusterConfig, CompiledCluster};
use crate::config::dns::Dns;
use crate::config::endpoints::{self, LoadAssignment, Names, Resolved};
use crate::config::refusal::decode;
use crate::config::upstream_tls::TlsContext;
use crate::hashing;
use crate::slots::Slot;
use crate::snapshot::Cluster;

/// Clusters by name, and endpoints by service name.
#[derive(Default)]
pub(super) struct Clusters {
    clusters: HashMap<String, Entry>,
    assignments: HashMap<String, LoadAssignment>,
    /// Which clusters use the endpoints of a service name.
    users: HashMap<String, Vec<String>>,
}

struct Entry {
    slot: Arc<Slot>,
    config: Arc<ClusterConfig>,
    own: Option<LoadAssignment>,
    secrets: Vec<String>,
    resolved: Resolved,
    /// Lookups of its endpoints' names, if they have any.
    asking: Option<Asking>,
    /// There has been no answer yet.
    warming: bool,
}

impl Entry {
    /// Names that have to be looked up, and how.
    fn names(&self) -> Option<(Dns, Vec<Arc<str>>)> {
        let names = self.own.as_ref()?.names();
        self.config.dns.clone().filter(|_| !names.is_empty()).map(|dns| (dns, names))
    }
}

impl Store {
    pub(super) fn apply_clusters(&mut self, response: &Response, refusals: &mut Refusals) {
        for resource in &response.set {
            let mut context = TlsContext {
                secrets: &mut self.secrets.cells,
                tls: &self.secrets.tls,
                roots: &self.secrets.roots,
                wanted: Vec::new(),
            };
            match decode(&resource.body).and_then(|message| cluster::compile(message, &mut context)) {
                Ok(compiled) => self.set_cluster(&resource.name, compiled),
                Err(refusal) => refusals.add(&resource.name, &refusal),
            }
        }
        for name in &response.removed {
            self.remove_cluster(name);
        }
    }

    fn set_cluster(&mut self, name: &str, compiled: CompiledCluster) {
        let CompiledCluster { config, assignment: own, secrets } = compiled;
        let slot = self.numbers.clusters.slot(name);
        secrets.iter().for_each(|secret| self.wanted.secrets.add(secret));
        // The new one's endpoints are wanted before the old one's aren't any more.
        if let Some(service) = &config.service_name {
            self.wanted.endpoints.add(service);
            self.clusters.users.entry(service.clone()).or_default().push(name.to_owned());
        }
        let resolved = Resolved::default();
        let config = Arc::new(config);
        let entry = Entry { slot, config, own, secrets, resolved, asking: None, warming: false };
        let entry = self.look_up(name, entry);
        if let Some(old) = self.clusters.clusters.insert(name.to_owned(), entry) {
            self.forget(name, &old);
        }
        self.update_cluster(name);
    }

    /// Begins to look a cluster's names up; a version that changes nothing about them goes on with what is known.
    fn look_up(&mut self, name: &str, mut entry: Entry) -> Entry {
        let Some((dns, names)) = entry.names() else { return entry };
        entry.resolved.first_only = dns.logical;
        if let Some(old) = self.clusters.clusters.get_mut(name) {
            if old.names().is_some_and(|(old_dns, old_names)| old_dns == dns && old_names == names) {
                entry.asking = old.asking.take();
                entry.warming = old.warming;
            }
            // Names that stay have their addresses until there are newer ones.
            entry.resolved.addresses = std::mem::take(&mut old.resolved.addresses);
            entry.resolved.addresses.retain(|name, _| names.contains(name));
        }
        if entry.asking.is_none() {
            entry.warming = entry.resolved.addresses.is_empty();
            entry.asking = Some(self.lookups.ask(name, &dns, names));
        }
        entry
    }

    /// Applies what was found out about a cluster's names; what wasn't stays as it was.
    pub(super) fn found(&mut self, found: Found) {
        let Some(entry) = self.clusters.clusters.get_mut(&*found.cluster) else { return };
        if entry.asking.as_ref().is_none_or(|asking| asking.asker != found.asker) {
            return;
        }
        let before = (std::mem::take(&mut entry.warming), entry.resolved.clone());
        entry.resolved.addresses.extend(found.addresses);
        if before != (false, entry.resolved.clone()) {
            self.update_cluster(&found.cluster);
            self.publish();
        }
    }

    fn remove_cluster(&mut self, name: &str) {
        let Some(old) = self.clusters.clusters.remove(name) else { return };
        self.forget(name, &old);
        self.snapshot.clusters = self.snapshot.clusters.with(old.slot.number, None);
        self.touched.push(old.slot.number);
        self.changed = true;
    }

    /// A version of a cluster asks for nothing any more.
    fn forget(&mut self, name: &str, old: &Entry) {
        old.secrets.iter().for_each(|secret| self.wanted.secrets.remove(secret));
        let Some(service) = &old.config.service_name else { return };
        self.wanted.endpoints.remove(service);
        if let Some(users) = self.clusters.users.get_mut(service) {
            if let Some(at) = users.iter().position(|user| user == name) {
                users.swap_remove(at);
            }
            if users.is_empty() {
                self.clusters.users.remove(service);
            }
        }
        if !self.wanted.endpoints.contains(service) {
            self.clusters.assignments.remove(service);
        }
    }

    pub(super) fn apply_endpoints(&mut self, response: &Response, refusals: &mut Refusals) {
        for resource in &response.set {
            match decode(&resource.body).and_then(|message| endpoints::compile(message, Names::Refused)) {
                Ok(assignment) => self.set_endpoints(&resource.name, Some(assignment)),
                Err(refusal) => refusals.add(&resource.name, &refusal),
            }
        }
        for name in &response.removed {
            self.set_endpoints(name, None);
        }
    }

    fn set_endpoints(&mut self, service: &str, assignment: Option<LoadAssignment>) {
        match assignment {
            // What nobody wants any more may still be on its way.
            Some(assignment) if self.wanted.endpoints.contains(service) => {
                self.clusters.assignments.insert(service.to_owned(), assignment);
            }
            _ => {
                self.clusters.assignments.remove(service);
            }
        }
        for user in self.clusters.users.get(service).cloned().unwrap_or_default() {
            self.update_cluster(&user);
        }
    }

    /// Puts a cluster with its present endpoints into the snapshot.
    fn update_cluster(&mut self, name: &str) {
        let Some(entry) = self.clusters.clusters.get(name) else { return };
        let service = entry.config.service_name.as_ref();
        let assignment = match (&entry.own, service) {
            (Some(own), _) => Some(own),
            (None, Some(service)) => self.clusters.assignments.get(service),
            (None, None) => None,
        };
        let endpoints = assignment
            .map(|assignment| assignment.usable(entry.config.panic_percent, &entry.resolved))
            .unwrap_or_else(|| Arc::new([]));
        let table = match entry.config.balance {
            Balance::Hash { hashing, by_name } => hashing::table(hashing, &endpoints, by_name),
            _ => None,
        };
        let number = entry.slot.number;
        let (slot, config) = (Arc::clone(&entry.slot), Arc::clone(&entry.config));
        let cluster = Cluster { slot, config, endpoints, table, warming: entry.warming };
        self.snapshot.clusters = self.snapshot.clusters.with(number, Some(Arc::new(cluster)));
        self.touched.push(number);
        self.changed = true;
    }
}
