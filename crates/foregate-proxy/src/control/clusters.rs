//! Clusters and their endpoints.

use std::collections::HashMap;
use std::sync::Arc;

use foregate_xds::client::Response;

use super::store::{Refusals, Store};
use crate::config::cluster::{self, ClusterConfig, CompiledCluster};
use crate::config::endpoints::{self, LoadAssignment, Names, Resolved};
use crate::config::refusal::decode;
use crate::config::upstream_tls::TlsContext;
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
        let slot = self.cluster_slots.slot(name);
        secrets.iter().for_each(|secret| self.wanted.secrets.add(secret));
        // The new one's endpoints are wanted before the old one's aren't any more.
        if let Some(service) = &config.service_name {
            self.wanted.endpoints.add(service);
            self.clusters.users.entry(service.clone()).or_default().push(name.to_owned());
        }
        let entry = Entry { slot, config: Arc::new(config), own, secrets };
        if let Some(old) = self.clusters.clusters.insert(name.to_owned(), entry) {
            self.forget(name, &old);
        }
        self.update_cluster(name);
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
            .map(|assignment| assignment.usable(entry.config.panic_percent, &Resolved::default()))
            .unwrap_or_else(|| Arc::new([]));
        let number = entry.slot.number;
        let cluster = Cluster { slot: Arc::clone(&entry.slot), config: Arc::clone(&entry.config), endpoints };
        self.snapshot.clusters = self.snapshot.clusters.with(number, Some(Arc::new(cluster)));
        self.touched.push(number);
        self.changed = true;
    }
}
