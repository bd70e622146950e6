//! What the client wants: wildcard, names, globs; and taking a request.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use foregate_envoy::{ResourceId, ResourceKind};

use super::render::composed;
use super::request::LEGACY_WILDCARD;
use super::{Names, Request, Stream};
use crate::store::{Entry, Store, route_configuration_of};

impl Stream {
    /// Takes a request: the answer to a response, and a change of subscriptions. Follow it with [`Stream::advance`].
    pub fn request(&mut self, store: &Store, request: Request) {
        let Request { kind, names, nonce, error } = request;
        let channel = self.channel(kind);
        let in_flight = channel.flight.as_ref().is_some_and(|flight| flight.nonce == nonce);
        let stale = !nonce.is_empty() && nonce != channel.last_nonce;
        if stale {
            self.counts.stale_nonces += 1;
        }
        if in_flight {
            match error {
                None => self.acknowledge(store, kind),
                Some(message) => self.refuse(store, kind, &message),
            }
        }
        let first = !std::mem::replace(&mut self.channel_mut(kind).started, true);
        match names {
            Names::Change { subscribe, unsubscribe, initial } => {
                let legacy = first && subscribe.is_empty() && unsubscribe.is_empty() && LEGACY_WILDCARD.contains(&kind);
                self.change_names(store, kind, subscribe, unsubscribe, initial, legacy);
            }
            // The client hasn't seen the latest response: it will say again what it wants when it answers that one.
            Names::All(_) if stale => {}
            Names::All(names) => self.replace_names(store, kind, names),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one request")]
    fn change_names(
        &mut self,
        store: &Store,
        kind: ResourceKind,
        subscribe: Vec<Arc<str>>,
        unsubscribe: Vec<Arc<str>>,
        initial: HashMap<Arc<str>, Arc<str>>,
        legacy: bool,
    ) {
        if legacy || subscribe.iter().any(|name| &**name == "*") {
            self.subscribe_all(store, kind, initial.is_empty());
        }
        for name in subscribe.iter().filter(|name| &***name != "*") {
            self.subscribe(store, kind, name);
        }
        for (name, version) in initial {
            self.has_already(store, ResourceId { kind, name }, &version);
        }
        if !unsubscribe.is_empty() {
            for name in &unsubscribe {
                self.unsubscribe(kind, name);
            }
        }
    }

    fn replace_names(&mut self, store: &Store, kind: ResourceKind, names: Vec<Arc<str>>) {
        let channel = self.channel_mut(kind);
        let legacy = names.is_empty() && channel.names.is_empty() && LEGACY_WILDCARD.contains(&kind);
        let all = legacy || names.iter().any(|name| &**name == "*");
        let named: HashSet<Arc<str>> = names.iter().filter(|name| &***name != "*").cloned().collect();
        let mut fewer = channel.wildcard && !all;
        channel.wildcard &= all;
        channel.names.retain(|name| {
            let stays = named.contains(name);
            fewer |= !stays;
            stays
        });
        if fewer {
            self.forget_unwanted(kind);
        }
        if all && !self.channel(kind).wildcard {
            self.subscribe_all(store, kind, true);
        }
        for name in &named {
            if !self.channel(kind).names.contains(name) {
                self.subscribe(store, kind, name);
            }
        }
    }

    fn subscribe_all(&mut self, store: &Store, kind: ResourceKind, greet: bool) {
        let channel = self.channel_mut(kind);
        if std::mem::replace(&mut channel.wildcard, true) {
            return;
        }
        channel.greet |= greet;
        let ids: Vec<_> = store.of_kind(kind).map(|entry| entry.resource.id.clone()).collect();
        for id in ids {
            self.subscribed(store, &id);
        }
    }

    fn subscribe(&mut self, store: &Store, kind: ResourceKind, name: &Arc<str>) {
        let glob = name.strip_suffix("/*").filter(|_| kind == ResourceKind::VirtualHost);
        if let Some(configuration) = glob {
            self.channel_mut(kind).globs.insert(configuration.into());
            for name in store.virtual_hosts(configuration) {
                self.subscribed(store, &ResourceId { kind, name: name.clone() });
            }
            self.enqueue(&ResourceId::new(ResourceKind::RouteConfiguration, configuration));
            return;
        }
        self.channel_mut(kind).names.insert(name.clone());
        let id = ResourceId { kind, name: name.clone() };
        self.subscribed(store, &id);
        // Asked for by name: answered whatever the client is believed to have.
        if let Some(item) = self.item_mut(&id) {
            item.answer = true;
        }
        if kind == ResourceKind::VirtualHost {
            self.enqueue(&ResourceId::new(ResourceKind::RouteConfiguration, route_configuration_of(name)));
        }
    }

    /// A unit is wanted from now on; a composed route configuration brings its virtual hosts.
    fn subscribed(&mut self, store: &Store, id: &ResourceId) {
        self.touch_subscribed(store, id);
        if id.kind == ResourceKind::RouteConfiguration && self.composes() {
            self.touch_virtual_hosts(store, &id.name);
        }
    }

    /// Looks at all virtual hosts of a composed route configuration.
    pub(super) fn touch_virtual_hosts(&mut self, store: &Store, configuration: &str) {
        for name in store.virtual_hosts(configuration) {
            let id = ResourceId { kind: ResourceKind::VirtualHost, name: name.clone() };
            self.touch_subscribed(store, &id);
        }
    }

    /// Outstanding since the beginning while the client is only getting to know the present state: it may ask for
    /// what changed long ago after what changed just now.
    fn touch_subscribed(&mut self, store: &Store, id: &ResourceId) {
        let changed = store.get(id).map_or(store.sequence(), |entry| entry.sequence);
        self.touch(id, if self.progress.open() { changed } else { 0 });
    }

    /// The client says that it has a version from an earlier stream.
    fn has_already(&mut self, store: &Store, id: ResourceId, version: &str) {
        if !self.wants(&id) || self.item(&id).is_some_and(|item| item.acked.is_some()) {
            return;
        }
        if id.kind == ResourceKind::RouteConfiguration && self.composes() {
            return self.has_composed(store, &id, version);
        }
        match store.get(&id) {
            Some(entry) if **entry.version() == *version => {
                let entry = entry.clone();
                self.has(store, &id, entry);
            }
            _ => self.has_unknown(store, &id),
        }
    }

    fn has_composed(&mut self, store: &Store, id: &ResourceId, version: &str) {
        let Some(shell) = store.get(id).cloned() else { return self.has_unknown(store, id) };
        let hosts: Vec<_> = store
            .virtual_hosts(&id.name)
            .filter_map(|name| store.get(&ResourceId { kind: ResourceKind::VirtualHost, name: name.clone() }).cloned())
            .collect();
        if *composed(&shell, hosts.iter()).version != *version {
            return self.has_unknown(store, id);
        }
        self.has(store, id, shell);
        for host in hosts {
            let id = host.resource.id.clone();
            self.has(store, &id, host);
        }
    }

    fn has(&mut self, store: &Store, id: &ResourceId, entry: Arc<Entry>) {
        self.touch_subscribed(store, id);
        self.refer(&entry);
        if let Some(item) = self.item_mut(id) {
            item.acked = Some(entry);
            item.answer = false;
        }
        self.host_held(id);
        self.wake(id);
    }

    pub(super) fn has_unknown(&mut self, store: &Store, id: &ResourceId) {
        self.touch_subscribed(store, id);
        if let Some(item) = self.item_mut(id)
            && !std::mem::replace(&mut item.unknown, true)
        {
            item.answer = false;
            self.unknown[id.kind as usize] += 1;
        }
    }

    fn unsubscribe(&mut self, kind: ResourceKind, name: &str) {
        let channel = self.channel_mut(kind);
        if name == "*" {
            channel.wildcard = false;
        } else if let Some(configuration) = name.strip_suffix("/*").filter(|_| kind == ResourceKind::VirtualHost) {
            channel.globs.remove(configuration);
        } else if channel.names.remove(name) && kind != ResourceKind::RouteConfiguration {
            let id = ResourceId::new(kind, name);
            if !self.wants(&id) {
                self.forget(&id);
            }
            return;
        }
        self.forget_unwanted(kind);
    }

    /// The client dropped what it is no longer subscribed to.
    pub(super) fn forget_unwanted(&mut self, kind: ResourceKind) {
        let mut kinds = vec![kind];
        if kind == ResourceKind::RouteConfiguration && self.composes() {
            kinds.push(ResourceKind::VirtualHost);
        }
        for kind in kinds {
            let gone: Vec<_> = self
                .channel(kind)
                .items
                .keys()
                .map(|name| ResourceId { kind, name: name.clone() })
                .filter(|id| !self.wants(id))
                .collect();
            for id in gone {
                self.forget(&id);
            }
        }
    }
}
