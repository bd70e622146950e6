//! What the client is believed to have, and what that names.

use foregate_envoy::{ResourceId, ResourceKind};

use super::Stream;
use super::item::Change;
use crate::store::{Entry, route_configuration_of};

impl Stream {
    /// The client is not, or no longer, believed to have anything of it.
    pub(super) fn forget(&mut self, id: &ResourceId) {
        self.settle(id);
        self.clear_suspect(id);
        self.clear_unknown(id);
        self.waits.stop(id);
        self.draining.remove(id);
        self.relent(id);
        self.end_retry(id, None);
        let Some(item) = self.channel_mut(id.kind).items.remove(&id.name) else { return };
        self.host_held(id);
        if let Some(Change::Set(sent)) = item.sent {
            self.unrefer(&sent);
        }
        if let Some(acked) = item.acked {
            self.unrefer(&acked);
        }
    }

    pub(super) fn clear_suspect(&mut self, id: &ResourceId) {
        if let Some(Change::Set(entry)) = self.item_mut(id).and_then(|item| item.suspect.take()) {
            self.unrefer(&entry);
        }
    }

    pub(super) fn clear_unknown(&mut self, id: &ResourceId) {
        if self.item_mut(id).is_some_and(|item| std::mem::take(&mut item.unknown)) {
            self.unknown[id.kind as usize] -= 1;
        }
    }

    /// Keeps the virtual hosts that are in the client's composed route configurations.
    pub(super) fn host_held(&mut self, id: &ResourceId) {
        if id.kind != ResourceKind::VirtualHost || !self.composes() {
            return;
        }
        let configuration = route_configuration_of(&id.name);
        let held = self.channels[id.kind as usize].items.get(&id.name).and_then(|item| item.acked.clone());
        match (self.hosts.get_mut(configuration), held) {
            (Some(hosts), Some(held)) => drop(hosts.insert(id.name.clone(), held)),
            (Some(hosts), None) => {
                hosts.remove(&id.name);
                if hosts.is_empty() {
                    self.hosts.remove(configuration);
                }
            }
            (None, Some(held)) => drop(self.hosts.insert(configuration.into(), [(id.name.clone(), held)].into())),
            (None, None) => {}
        }
    }

    pub(super) fn refer(&mut self, entry: &Entry) {
        for need in entry.needs() {
            *self.references.entry(need.clone()).or_default() += 1;
        }
    }

    /// Whoever is named no more, and is to be removed, can be now.
    pub(super) fn unrefer(&mut self, entry: &Entry) {
        for need in entry.needs() {
            let Some(count) = self.references.get_mut(need) else { continue };
            *count -= 1;
            if *count == 0 {
                self.references.remove(need);
                self.enqueue(need);
            }
        }
    }
}
