//! What is to be done about one unit now: send it, remove it, let it wait, or nothing.
//!
//! Needs come in two sorts. An engine takes clusters unasked, so what names a cluster *waits before* it is sent until
//! the cluster is ready. Endpoints, secrets, route configurations and extensions it asks for only after it has got
//! what names them, so these can only be *waited for after*: the cluster is ready when they are acknowledged.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foregate_envoy::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use foregate_envoy::{Resource, ResourceId, ResourceKind};

use super::Stream;
use super::item::Change;
use crate::store::{Entry, Store, route_configuration_of};

/// That a unit waits: since when (if that is bounded), and on whom.
#[derive(Debug, Default)]
pub(super) struct Wait {
    since: Option<Instant>,
    on: Option<ResourceId>,
}

/// That the removal of a unit waits.
#[derive(Debug)]
pub(super) struct Drain {
    since: Instant,
    /// For something of which only the name is known to become known; otherwise for connections to end.
    may_be_named: bool,
}

/// How often to look again at what may be named by something unknown, at most.
const RECHECK: Duration = Duration::from_secs(1);

/// Who waits for whom.
#[derive(Debug, Default)]
pub(super) struct Waits {
    by_unit: HashMap<ResourceId, Wait>,
    by_need: HashMap<ResourceId, HashSet<ResourceId>>,
}

impl Waits {
    /// `unit` waits on `need`.
    fn wait(&mut self, unit: &ResourceId, need: &ResourceId) {
        let wait = self.by_unit.entry(unit.clone()).or_default();
        if wait.on.as_ref() == Some(need) {
            return;
        }
        if let Some(before) = wait.on.replace(need.clone()) {
            remove_waiter(&mut self.by_need, &before, unit);
        }
        self.by_need.entry(need.clone()).or_default().insert(unit.clone());
    }

    /// Since when `unit` waits for something that it won't wait for forever; `true` if since now.
    fn since(&mut self, unit: &ResourceId, now: Instant) -> (Instant, bool) {
        let wait = self.by_unit.entry(unit.clone()).or_default();
        let new = wait.since.is_none();
        (*wait.since.get_or_insert(now), new)
    }

    pub(super) fn stop(&mut self, unit: &ResourceId) {
        if let Some(Wait { on: Some(need), .. }) = self.by_unit.remove(unit) {
            remove_waiter(&mut self.by_need, &need, unit);
        }
    }

    /// All that wait on `need`; they no longer do.
    pub(super) fn release(&mut self, need: &ResourceId) -> HashSet<ResourceId> {
        let units = self.by_need.remove(need).unwrap_or_default();
        for unit in &units {
            if let Some(wait) = self.by_unit.get_mut(unit) {
                wait.on = None;
            }
        }
        units
    }
}

fn remove_waiter(by_need: &mut HashMap<ResourceId, HashSet<ResourceId>>, need: &ResourceId, unit: &ResourceId) {
    if let Some(units) = by_need.get_mut(need) {
        units.remove(unit);
        if units.is_empty() {
            by_need.remove(need);
        }
    }
}

/// The endpoints of a cluster that has none.
fn no_endpoints(name: &Arc<str>) -> Arc<Entry> {
    let message = ClusterLoadAssignment { cluster_name: name.to_string(), ..Default::default() };
    let id = ResourceId { kind: ResourceKind::ClusterLoadAssignment, name: name.clone() };
    Arc::new(Entry::new(Resource::new(id, &message, [], []), 0))
}

/// What the client asks for only after it has what names it.
pub(super) fn is_pulled(kind: ResourceKind) -> bool {
    !matches!(kind, ResourceKind::Cluster | ResourceKind::Listener | ResourceKind::VirtualHost)
}

impl Stream {
    /// What to send for a unit, if anything. `shells` are the route configurations that go out together with it.
    pub(super) fn decide(
        &mut self,
        store: &Store,
        id: &ResourceId,
        shells: &HashSet<Arc<str>>,
        now: Instant,
    ) -> Option<Change> {
        self.item(id)?;
        match self.target(store, id) {
            Some(entry) => self.decide_set(store, id, entry, shells, now),
            None => self.decide_gone(id, shells, now),
        }
    }

    /// What the client should have of it in the end.
    fn target(&self, store: &Store, id: &ResourceId) -> Option<Arc<Entry>> {
        if let Some(entry) = store.get(id) {
            return Some(entry.clone());
        }
        let channel = self.channel(id.kind);
        if id.kind != ResourceKind::ClusterLoadAssignment || !channel.names.contains(&id.name) {
            return None;
        }
        // Endpoints that went together with their cluster stay as they are while the cluster drains.
        let item = channel.items.get(&id.name)?;
        if !store.is_needed(id) {
            match (&item.acked, &item.suspect) {
                (Some(acked), _) => return Some(acked.clone()),
                (None, Some(Change::Set(suspect))) => return Some(suspect.clone()),
                _ if item.unknown => return None,
                _ => {}
            }
        }
        Some(no_endpoints(&id.name))
    }

    fn decide_set(
        &mut self,
        store: &Store,
        id: &ResourceId,
        entry: Arc<Entry>,
        shells: &HashSet<Arc<str>>,
        now: Instant,
    ) -> Option<Change> {
        self.draining.remove(id);
        let item = self.item(id)?;
        if item.refused.as_ref() == Some(entry.version()) {
            self.settle(id);
            return self.is_retry_due(id, entry.version(), now).then_some(Change::Set(entry));
        }
        if entry.within_application && !self.channel(id.kind).names.contains(&id.name) {
            // It listens nowhere: it is for clients that ask for it by name, and to all others as if it weren't there.
            return self.decide_gone(id, shells, now);
        }
        if !item.answer && item.acked.as_ref().is_some_and(|acked| acked.version() == entry.version()) {
            self.settle_when_ready(store, id, &entry, now);
            return None;
        }
        let secret = entry.needs().iter().find(|need| need.kind == ResourceKind::Secret && store.get(need).is_none());
        let missing = match secret {
            Some(secret) => Some(secret.clone()),
            None => self.missing_shell(id, shells),
        };
        if let Some(missing) = missing {
            // Nothing that this client does or doesn't do can change it, so its progress doesn't wait.
            self.waits.wait(id, &missing);
            self.settle(id);
            return None;
        }
        // A suspect has had its wait.
        if !self.item(id)?.is_suspect(&entry)
            && let Some(need) = self.first_unmet(id, &entry).or_else(|| self.first_unmet_of_hosts(store, id))
            && self.may_wait(id, &need, now)
        {
            return None;
        }
        Some(Change::Set(entry))
    }

    /// A virtual host travels inside a route configuration: the one that isn't there.
    fn missing_shell(&self, id: &ResourceId, shells: &HashSet<Arc<str>>) -> Option<ResourceId> {
        if id.kind != ResourceKind::VirtualHost || !self.composes() {
            return None;
        }
        let shell = ResourceId::new(ResourceKind::RouteConfiguration, route_configuration_of(&id.name));
        let there = shells.contains(&shell.name) || self.item(&shell).is_some_and(|item| item.acked.is_some());
        (!there).then_some(shell)
    }

    /// Has the unit wait on `need`, unless it has waited long enough.
    fn may_wait(&mut self, id: &ResourceId, need: &ResourceId, now: Instant) -> bool {
        let (since, new) = self.waits.since(id, now);
        let until = since + self.need_timeout;
        if now >= until {
            self.counts.forced += 1;
            return false;
        }
        if new {
            self.deadlines.insert((until, id.clone()));
        }
        self.waits.wait(id, need);
        true
    }

    /// The first thing that isn't ready of what a resource newly names.
    fn first_unmet(&self, id: &ResourceId, entry: &Entry) -> Option<ResourceId> {
        // Who takes neither all clusters nor all listeners asks for a cluster only after it has got what names it, and
        // puts them in order by itself: gRPC's clients.
        if ![ResourceKind::Cluster, ResourceKind::Listener].iter().any(|kind| self.channel(*kind).wildcard) {
            return None;
        }
        let acked = self.item(id).and_then(|item| item.acked.as_ref());
        entry
            .needs()
            .iter()
            .filter(|need| need.kind == ResourceKind::Cluster && *need != id)
            .filter_map(|need| Some((need, self.unready(need)?)))
            .find(|(need, _)| !acked.is_some_and(|acked| acked.needs().contains(need)))
            .map(|(_, leaf)| leaf)
    }

    /// What a composed route configuration would have to leave out virtual hosts for, that the client has never had.
    /// Where it waits for the configuration it doesn't listen yet; without the hosts it would answer 404 for them.
    fn first_unmet_of_hosts(&self, store: &Store, id: &ResourceId) -> Option<ResourceId> {
        let new = id.kind == ResourceKind::RouteConfiguration && self.composes() && self.item(id)?.acked.is_none();
        let mut hosts = new.then(|| store.virtual_hosts(&id.name))?;
        hosts.find_map(|name| {
            let host = ResourceId { kind: ResourceKind::VirtualHost, name: name.clone() };
            self.first_unmet(&host, store.get(&host)?)
        })
    }

    /// What a cluster still lacks on this stream: itself, its endpoints or a secret.
    fn unready(&self, cluster: &ResourceId) -> Option<ResourceId> {
        let Some(item) = self.item(cluster).filter(|item| !item.leaving()) else { return Some(cluster.clone()) };
        let Some(entry) = &item.acked else { return Some(cluster.clone()) };
        let acked = |need: &&ResourceId| self.item(need).is_some_and(|item| item.acked.is_some());
        entry.needs().iter().filter(|need| is_pulled(need.kind)).find(|need| !acked(need)).cloned()
    }

    /// The client has it. Its change is settled when what it names is, too, or had time to.
    fn settle_when_ready(&mut self, store: &Store, id: &ResourceId, entry: &Entry, now: Instant) {
        if self.item(id).is_none_or(|item| item.outstanding.is_none()) {
            return self.waits.stop(id);
        }
        if let Some(leaf) = self.first_unsettled(store, id, entry) {
            let (since, new) = self.waits.since(id, now);
            let until = since + self.need_timeout;
            if now < until {
                if new {
                    self.deadlines.insert((until, id.clone()));
                }
                return self.waits.wait(id, &leaf);
            }
        }
        self.waits.stop(id);
        self.settle(id);
    }

    /// What isn't answered yet of what a resource names and the client asks for after it.
    pub(super) fn first_unsettled(&self, store: &Store, id: &ResourceId, entry: &Entry) -> Option<ResourceId> {
        if id.kind == ResourceKind::RouteConfiguration && self.profile.vhds && !self.has_asked_for_hosts(&id.name) {
            return Some(id.clone());
        }
        let pending = |need: &&ResourceId| {
            let exists = need.kind == ResourceKind::ClusterLoadAssignment || store.get(need).is_some();
            let answered = self.item(need).is_some_and(|item| item.acked.is_some() || item.refused.is_some());
            is_pulled(need.kind) && exists && !answered
        };
        entry.needs().iter().find(pending).cloned()
    }

    fn has_asked_for_hosts(&self, configuration: &str) -> bool {
        let channel = self.channel(ResourceKind::VirtualHost);
        channel.wildcard
            || channel.globs.contains(configuration)
            || channel.names.iter().any(|name| route_configuration_of(name) == configuration)
    }

    fn decide_gone(&mut self, id: &ResourceId, shells: &HashSet<Arc<str>>, now: Instant) -> Option<Change> {
        let item = self.item(id)?;
        if !item.present() {
            let tell = item.answer && self.profile.delta && self.carrier(id.kind) == id.kind;
            if tell {
                return Some(Change::Remove);
            }
            self.forget(id);
            return None;
        }
        if !self.can_tell_removal(id) || self.missing_shell(id, shells).is_some() {
            self.forget(id);
            return None;
        }
        // What names it goes first. It comes back here when nothing does.
        if self.references.contains_key(id) {
            self.draining.remove(id);
            self.settle(id);
            return None;
        }
        let may_be_named = self.may_be_named(id.kind);
        if (may_be_named || id.kind == ResourceKind::Cluster) && !self.drained(id, may_be_named, now) {
            self.settle(id);
            return None;
        }
        Some(Change::Remove)
    }

    /// State of the world has no removals but by absence, and only where a response is complete.
    fn can_tell_removal(&self, id: &ResourceId) -> bool {
        let complete = matches!(id.kind, ResourceKind::Cluster | ResourceKind::Listener | ResourceKind::VirtualHost);
        self.profile.delta || complete
    }

    /// Whether the client has something of which only the name is known, and that may name a resource of this kind.
    fn may_be_named(&self, kind: ResourceKind) -> bool {
        use ResourceKind::{Cluster, ClusterLoadAssignment, ExtensionConfig, Listener, RouteConfiguration, Secret};
        let by: &[ResourceKind] = match kind {
            Listener | ResourceKind::VirtualHost => &[],
            RouteConfiguration | ExtensionConfig => &[Listener],
            Cluster => &[Listener, ExtensionConfig, RouteConfiguration, ResourceKind::VirtualHost],
            ClusterLoadAssignment => &[Cluster],
            Secret => &[Cluster, Listener, ExtensionConfig],
        };
        by.iter().any(|kind| self.unknown[*kind as usize] > 0)
    }

    /// Whether nothing has named it for the drain time. While something may, the time starts again and again.
    fn drained(&mut self, id: &ResourceId, may_be_named: bool, now: Instant) -> bool {
        let wait = if may_be_named { self.drain.max(RECHECK) } else { self.drain };
        let drain = self.draining.get(id).filter(|drain| drain.may_be_named == may_be_named);
        match drain.map(|drain| drain.since + wait) {
            Some(until) if now < until => return false,
            Some(_) if !may_be_named => {
                self.draining.remove(id);
                return true;
            }
            None if wait.is_zero() => return true,
            _ => {}
        }
        self.draining.insert(id.clone(), Drain { since: now, may_be_named });
        self.deadlines.insert((now + wait, id.clone()));
        false
    }

    /// Its changes are no longer outstanding.
    pub(super) fn settle(&mut self, id: &ResourceId) {
        if let Some(sequence) = self.item_mut(id).and_then(|item| item.outstanding.take()) {
            self.progress.remove(sequence);
        }
    }
}

/// The encoded `vhds` field (9) of a RouteConfiguration: a config source that says ADS, version 3.
pub(super) fn vhds_over_ads() -> Bytes {
    use foregate_envoy::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
    use foregate_envoy::pb::envoy::config::core::v3::{AggregatedConfigSource, ApiVersion, ConfigSource};
    use foregate_envoy::pb::envoy::config::route::v3::{RouteConfiguration, Vhds};
    use prost::Message;
    let source = ConfigSource {
        resource_api_version: ApiVersion::V3 as i32,
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    };
    let vhds = Some(Vhds { config_source: Some(source) });
    RouteConfiguration { vhds, ..Default::default() }.encode_to_vec().into()
}
