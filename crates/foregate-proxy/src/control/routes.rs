//! Route configurations, and virtual hosts that come one by one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use foregate_xds::client::{ClientResource, Response};
use tokio::time::Instant;

use super::store::{Refusals, Store};
use crate::config::refusal::Refusal;
use crate::config::route_config::{self, RouteConfig, claim};
use crate::config::vhost::{self, VirtualHost};
use crate::routing::domains::Domains;
use crate::slots::Slot;
use crate::snapshot::RouteTable;

/// Route configurations by name.
#[derive(Default)]
pub(super) struct RouteConfigs {
    configs: HashMap<String, Entry>,
    /// Virtual hosts by route configuration and name, also those whose configuration hasn't come yet.
    hosts: HashMap<String, HashMap<String, Arc<VirtualHost>>>,
}

/// Virtual hosts by name; `None`: gone.
type Changes = Vec<(String, Option<Arc<VirtualHost>>)>;

struct Entry {
    slot: Arc<Slot>,
    config: RouteConfig,
    /// When it came, or its virtual hosts changed last.
    changed: Instant,
    /// A listener serves it: nothing is waited for any more.
    served: bool,
}

/// Virtual hosts come one by one, and nobody says which is the last: after such a pause they are taken to be all.
const QUIET: Duration = Duration::from_millis(30);
/// For so long the first one is waited for; there may be none.
const FIRST: Duration = Duration::from_millis(200);

impl RouteConfigs {
    /// From when on a route configuration can be served; `None`: it isn't there.
    pub(super) fn ready_at(&self, name: &str) -> Option<Instant> {
        let entry = self.configs.get(name)?;
        let empty = self.hosts.get(name).is_none_or(HashMap::is_empty);
        Some(match (entry.config.vhds && !entry.served, empty) {
            (false, _) => entry.changed,
            (true, true) => entry.changed + FIRST,
            (true, false) => entry.changed + QUIET,
        })
    }

    /// Notes that a listener serves a route configuration.
    pub(super) fn serving(&mut self, name: &str) {
        if let Some(entry) = self.configs.get_mut(name) {
            entry.served = true;
        }
    }
}

/// The route configuration of a virtual host's name, `<route configuration>/<domain>`.
fn owner(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(config, _)| config)
}

impl Store {
    pub(super) fn apply_routes(&mut self, response: &Response, refusals: &mut Refusals) {
        for resource in &response.set {
            if let Err(refusal) = self.set_route_config(resource) {
                refusals.add(&resource.name, &refusal);
            }
        }
        for name in &response.removed {
            let Some(old) = self.routes.configs.remove(name) else { continue };
            self.routes.hosts.remove(name);
            self.unwant_hosts(name, &old.config);
            self.snapshot.routes = self.snapshot.routes.with(old.slot.number, None);
            self.changed = true;
        }
    }

    fn set_route_config(&mut self, resource: &ClientResource) -> Result<(), Refusal> {
        let before = self.routes.configs.get(&resource.name).map(|entry| &entry.config);
        let config = route_config::compile(&resource.body, before, &mut self.numbers)?;
        let mut domains = route_config::domains(&config.hosts)?;
        if config.vhds {
            for host in self.routes.hosts.get(&resource.name).into_iter().flatten().map(|(_, host)| host) {
                claim(&mut domains, host)?;
            }
        }
        if config.vhds {
            self.wanted.hosts.add(&format!("{}/*", resource.name));
        }
        let slot = self.route_slots.slot(&resource.name);
        self.set_table(&slot, &config, domains);
        let served = self.routes.configs.get(&resource.name).is_some_and(|entry| entry.served);
        let entry = Entry { slot, config, changed: Instant::now(), served };
        let old = self.routes.configs.insert(resource.name.clone(), entry);
        if let Some(old) = old {
            self.unwant_hosts(&resource.name, &old.config);
        }
        Ok(())
    }

    fn unwant_hosts(&mut self, name: &str, config: &RouteConfig) {
        if config.vhds {
            self.wanted.hosts.remove(&format!("{name}/*"));
        }
    }

    /// Puts a route configuration's virtual hosts into the snapshot.
    pub(super) fn set_table(&mut self, slot: &Arc<Slot>, config: &RouteConfig, domains: Domains) {
        let table = RouteTable { domains, options: Arc::clone(&config.options) };
        self.snapshot.routes = self.snapshot.routes.with(slot.number, Some(Arc::new(table)));
        self.changed = true;
    }

    pub(super) fn apply_hosts(&mut self, response: &Response, refusals: &mut Refusals) {
        let mut changes: BTreeMap<String, Changes> = BTreeMap::new();
        for resource in &response.set {
            match self.compile_host(resource) {
                Ok((config, host)) => {
                    changes.entry(config).or_default().push((resource.name.clone(), Some(Arc::new(host))));
                }
                Err(refusal) => refusals.add(&resource.name, &refusal),
            }
        }
        for name in &response.removed {
            if let Some(config) = owner(name) {
                changes.entry(config.to_owned()).or_default().push((name.clone(), None));
            }
        }
        for (config, changes) in changes {
            self.change_hosts(&config, changes, refusals);
        }
    }

    fn compile_host(&mut self, resource: &ClientResource) -> Result<(String, VirtualHost), Refusal> {
        let config = owner(&resource.name)
            .ok_or_else(|| Refusal::new("a virtual host's name must be <route configuration>/<domain>"))?;
        let before = self.routes.hosts.get(config).and_then(|hosts| hosts.get(&resource.name));
        let host = vhost::compile(&resource.body, before.map(|host| &**host), &mut self.numbers)?;
        Ok((config.to_owned(), host))
    }

    /// Domains may move from one virtual host to another in one step: all old ones are given up before any new one is
    /// claimed.
    fn change_hosts(&mut self, config: &str, changes: Changes, refusals: &mut Refusals) {
        let known = self.routes.hosts.entry(config.to_owned()).or_default();
        let entry = self.routes.configs.get_mut(config).map(|entry| {
            entry.changed = Instant::now();
            &*entry
        });
        let table = entry.and_then(|entry| self.snapshot.routes.get(entry.slot.number));
        let mut domains = table.map(|table| table.domains.clone()).unwrap_or_default();
        let olds: Vec<_> = changes.iter().map(|(name, _)| known.remove(name)).collect();
        for old in olds.iter().flatten() {
            release(&mut domains, old);
        }
        for ((name, new), old) in changes.into_iter().zip(olds) {
            let Some(new) = new else { continue };
            match claim(&mut domains, &new) {
                Ok(()) => {
                    known.insert(name, new);
                }
                Err(refusal) => {
                    refusals.add(&name, &refusal);
                    release(&mut domains, &new);
                    if let Some(old) = old.filter(|old| claim(&mut domains, old).is_ok()) {
                        known.insert(name, old);
                    }
                }
            }
        }
        if known.is_empty() {
            self.routes.hosts.remove(config);
        }
        let entry = self.routes.configs.get(config);
        if let Some(entry) = entry {
            let options = Arc::clone(&entry.config.options);
            let table = RouteTable { domains, options };
            self.snapshot.routes = self.snapshot.routes.with(entry.slot.number, Some(Arc::new(table)));
            self.changed = true;
        }
    }
}

/// Takes a virtual host's domains from it; those that it doesn't have stay whose they are.
fn release(domains: &mut Domains, host: &Arc<VirtualHost>) {
    for domain in &host.domains {
        if domains.get(domain).is_some_and(|owner| Arc::ptr_eq(owner, host)) {
            domains.set(domain, None);
        }
    }
}
