//! Sending units, and taking the answers.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use foregate_envoy::{ResourceId, ResourceKind};

use super::decide::is_pulled;
use super::item::{Change, Flight};
use super::{Output, Stream};
use crate::store::{Entry, Store, route_configuration_of};

/// Units of a refused response up to this number are sent again one by one; more are halved until they are so few.
const ONE_BY_ONE: usize = 8;
/// Longest error message of a client that is passed on, in bytes.
const MAX_MESSAGE: usize = 4096;

/// Units that go into one response.
pub(super) type Batch = Vec<(ResourceId, Change)>;

impl Stream {
    /// Sends what is due of one kind, in one response.
    pub(super) fn flush(&mut self, store: &Store, kind: ResourceKind, now: Instant) {
        while let Some(suspects) = self.channel_mut(kind).suspects.pop_front() {
            let batch = self.collect_suspects(store, suspects, now);
            if !batch.is_empty() {
                return self.launch(kind, batch);
            }
        }
        let mut batch = self.collect(store, kind, Batch::new(), now);
        if kind == ResourceKind::RouteConfiguration && self.composes() {
            batch = self.collect(store, ResourceKind::VirtualHost, batch, now);
        }
        let greet = std::mem::take(&mut self.channel_mut(kind).greet);
        if greet || !batch.is_empty() {
            self.launch(kind, batch);
        }
    }

    fn collect_suspects(&mut self, store: &Store, suspects: Vec<ResourceId>, now: Instant) -> Batch {
        let mut shells = HashSet::new();
        let mut batch = Batch::new();
        let several = suspects.len() > 1;
        for id in suspects {
            // One that was unsubscribed meanwhile, and perhaps subscribed again, is no suspect any more.
            let Some(item) = self.item_mut(&id).filter(|item| item.suspect.is_some()) else { continue };
            // What the client did with it is open: it is sent even if it seems to have it.
            item.answer = true;
            let Some(change) = self.decide(store, &id, &shells, now) else { continue };
            let changed =
                matches!(&change, Change::Set(now) if self.item(&id).is_some_and(|item| !item.is_suspect(now)));
            if changed && several {
                // It has become something else since: that goes alone.
                self.enqueue(&id);
                continue;
            }
            note_shell(&mut shells, &id, &change);
            batch.push((id, change));
        }
        batch
    }

    /// Adds a kind's queued units to a batch, as many as fit.
    fn collect(&mut self, store: &Store, kind: ResourceKind, mut batch: Batch, now: Instant) -> Batch {
        let mut shells = HashSet::new();
        for (id, change) in &batch {
            note_shell(&mut shells, id, change);
        }
        let mut bytes = 0;
        // Units that are put back come round again: each is looked at once.
        for _ in 0..self.channel(kind).queued() {
            let Some(name) = self.channel_mut(kind).dequeue() else { break };
            let id = ResourceId { kind, name };
            // What was refused before, maybe, goes alone, so that it takes no others with it.
            let alone = self.item(&id).is_some_and(|item| item.refused.is_some() || item.suspect.is_some());
            let Some(change) = self.decide(store, &id, &shells, now) else { continue };
            if alone && !batch.is_empty() {
                self.enqueue(&id);
                continue;
            }
            self.shell_leaves(store, &id, &change);
            note_shell(&mut shells, &id, &change);
            bytes += size(&change);
            batch.push((id, change));
            if alone || bytes >= self.max_response_bytes && self.is_partial(kind) {
                break;
            }
        }
        batch
    }

    /// A composed route configuration goes out for the first time: its virtual hosts go with it.
    fn shell_leaves(&mut self, store: &Store, id: &ResourceId, change: &Change) {
        let shell = id.kind == ResourceKind::RouteConfiguration && self.composes();
        if shell && matches!(change, Change::Set(_)) && self.item(id).is_some_and(|item| item.acked.is_none()) {
            for name in store.virtual_hosts(&id.name) {
                let id = ResourceId { kind: ResourceKind::VirtualHost, name: name.clone() };
                self.touch(&id, store.get(&id).map_or(0, |entry| entry.sequence));
            }
        }
    }

    /// Whether a response of this kind may leave out what didn't change.
    pub(super) fn is_partial(&self, kind: ResourceKind) -> bool {
        let composed = kind == ResourceKind::VirtualHost && self.composes();
        let complete = !self.profile.delta && matches!(kind, ResourceKind::Cluster | ResourceKind::Listener);
        !composed && !complete
    }

    fn launch(&mut self, kind: ResourceKind, batch: Batch) {
        self.responses += 1;
        let nonce = format!("{:x}", self.responses);
        let response = self.render(kind, &batch, nonce.clone());
        let mut units = Vec::with_capacity(batch.len());
        for (id, change) in batch {
            if let Change::Set(entry) = &change {
                self.refer(entry);
            }
            self.waits.stop(&id);
            if let Some(item) = self.item_mut(&id) {
                item.sent = Some(change);
                item.answer = false;
            }
            units.push(id);
        }
        let channel = self.channel_mut(kind);
        channel.last_nonce.clone_from(&nonce);
        channel.flight = Some(Flight { nonce, units });
        self.out.push(Output::Response(response));
    }

    /// The client acknowledged the response in flight.
    pub(super) fn acknowledge(&mut self, store: &Store, kind: ResourceKind) {
        self.counts.acks += 1;
        let Some(flight) = self.channel_mut(kind).flight.take() else { return };
        for id in flight.units {
            self.accepted(store, &id);
        }
    }

    fn accepted(&mut self, store: &Store, id: &ResourceId) {
        let Some(sent) = self.item_mut(id).and_then(|item| item.sent.take()) else { return self.overtaken(store, id) };
        self.clear_unknown(id);
        self.clear_suspect(id);
        match sent {
            Change::Set(entry) => {
                if self.first_unsettled(store, id, &entry).is_none() {
                    self.pass_outstanding(store, id, &entry);
                }
                let Some(item) = self.item_mut(id) else { return };
                item.refused = None;
                let before = item.acked.replace(entry);
                if let Some(before) = &before {
                    self.unrefer(before);
                }
                self.host_held(id);
                self.enqueue(id);
                self.wake(id);
                match before {
                    Some(_) => self.resend_endpoints(id),
                    None => self.resend_pulled(store, id),
                }
            }
            Change::Remove => {
                self.removed(id);
                // It may have come back meanwhile.
                if store.get(id).is_some() && self.wants(id) {
                    self.touch(id, store.get(id).map_or(0, |entry| entry.sequence));
                }
                self.wake(id);
            }
        }
    }

    /// It was unsubscribed while in flight. If it is subscribed again by now, the client has taken what was in flight.
    fn overtaken(&mut self, store: &Store, id: &ResourceId) {
        if self.wants(id) {
            self.has_unknown(store, id);
        }
    }

    /// The client has it no more.
    fn removed(&mut self, id: &ResourceId) {
        let acked = self.item(id).and_then(|item| item.acked.clone());
        self.forget(id);
        if !self.profile.delta {
            // It drops what that named, too. Should it ask for it again, the request that says so may be the first
            // that we take note of.
            for need in acked.iter().flat_map(|acked| acked.needs()).filter(|need| is_pulled(need.kind)) {
                if !self.references.contains_key(need) && self.channel_mut(need.kind).names.remove(&need.name) {
                    self.forget_unwanted(need.kind);
                }
            }
        }
        if id.kind == ResourceKind::RouteConfiguration && self.composes() {
            for name in self.hosts.remove(&id.name).into_iter().flat_map(BTreeMap::into_keys) {
                self.forget(&ResourceId { kind: ResourceKind::VirtualHost, name });
            }
        }
    }

    /// Envoy warms a changed cluster until its endpoints come once more.
    fn resend_endpoints(&mut self, cluster: &ResourceId) {
        if self.profile.vhds || cluster.kind != ResourceKind::Cluster {
            return;
        }
        let Some(entry) = self.item(cluster).and_then(|item| item.acked.clone()) else { return };
        for need in entry.needs().iter().filter(|need| need.kind == ResourceKind::ClusterLoadAssignment) {
            if let Some(item) = self.item_mut(need) {
                item.answer = true;
            }
            self.enqueue(need);
        }
    }

    /// In state of the world, while the culprit is searched, a client may get a resource, lose it and get it again, and
    /// drop what that names without our seeing it.
    fn resend_pulled(&mut self, store: &Store, id: &ResourceId) {
        if self.profile.delta {
            return;
        }
        let Some(entry) = self.item(id).and_then(|item| item.acked.clone()) else { return };
        for need in entry.needs().iter().filter(|need| is_pulled(need.kind)) {
            let Some(item) = self.item_mut(need).filter(|item| item.acked.is_some()) else { continue };
            item.answer = true;
            if need.kind != ResourceKind::RouteConfiguration
                && let Some(acked) = item.acked.take()
            {
                self.unrefer(&acked);
            }
            self.touch(need, store.get(need).map_or(0, |entry| entry.sequence));
        }
    }

    /// The client refused the response in flight.
    pub(super) fn refuse(&mut self, store: &Store, kind: ResourceKind, message: &str) {
        self.counts.nacks += 1;
        let Some(mut flight) = self.channel_mut(kind).flight.take() else { return };
        if let [id] = flight.units.as_slice() {
            return self.culprit(store, id, message);
        }
        // Unsubscribed meanwhile: no longer of interest, but it may have been the culprit, so what is left is no proof.
        flight.units.retain(|id| {
            let there = self.item(id).is_some_and(|item| item.sent.is_some());
            if !there {
                self.overtaken(store, id);
            }
            there
        });
        if flight.units.is_empty() {
            return;
        }
        for id in &flight.units {
            self.suspect(id);
        }
        // Route configurations first: virtual hosts can't be sent without.
        flight.units.sort_by_key(|id| id.kind == ResourceKind::VirtualHost);
        let size = if flight.units.len() <= ONE_BY_ONE { 1 } else { flight.units.len().div_ceil(2) };
        let groups: Vec<_> = flight.units.chunks(size).map(<[_]>::to_vec).collect();
        let suspects = &mut self.channel_mut(kind).suspects;
        for group in groups.into_iter().rev() {
            suspects.push_front(group);
        }
    }

    /// A unit of a refused response: the client may have taken it, or not.
    fn suspect(&mut self, id: &ResourceId) {
        let Some(item) = self.item_mut(id) else { return };
        let sent = item.sent.take();
        let before = std::mem::replace(&mut item.suspect, sent);
        if let Some(Change::Set(before)) = before {
            self.unrefer(&before);
        }
    }

    fn culprit(&mut self, store: &Store, id: &ResourceId, message: &str) {
        let Some(sent) = self.item_mut(id).and_then(|item| item.sent.take()) else { return };
        let Change::Set(entry) = sent else {
            // A client that refuses to let go of something: there is no more to be said to it.
            return self.removed(id);
        };
        self.unrefer(&entry);
        if self.item(id).is_some_and(|item| item.is_suspect(&entry)) {
            self.clear_suspect(id);
        }
        self.pass_outstanding(store, id, &entry);
        if let Some(item) = self.item_mut(id) {
            item.refused = Some(entry.version().clone());
        }
        self.enqueue(id);
        self.wake(id);
        self.out.push(Output::Nacked {
            id: id.clone(),
            version: entry.version().clone(),
            owners: entry.resource.owners.clone(),
            message: truncate(message).to_owned(),
        });
    }

    /// An answer for one version settles all changes up to it; a newer one stays outstanding.
    fn pass_outstanding(&mut self, store: &Store, id: &ResourceId, answered: &Entry) {
        let newest = store.get(id).map_or(store.sequence(), |entry| entry.sequence);
        let Some(item) = self.item_mut(id) else { return };
        let Some(outstanding) = item.outstanding.filter(|outstanding| *outstanding <= answered.sequence) else {
            return;
        };
        if newest > answered.sequence {
            item.outstanding = Some(newest);
            self.progress.remove(outstanding);
            self.progress.add(newest);
        }
    }

    /// The client is not, or no longer, believed to have anything of it.
    pub(super) fn forget(&mut self, id: &ResourceId) {
        self.settle(id);
        self.clear_suspect(id);
        self.clear_unknown(id);
        self.waits.stop(id);
        self.draining.remove(id);
        let Some(item) = self.channel_mut(id.kind).items.remove(&id.name) else { return };
        self.host_held(id);
        if let Some(Change::Set(sent)) = item.sent {
            self.unrefer(&sent);
        }
        if let Some(acked) = item.acked {
            self.unrefer(&acked);
        }
    }

    fn clear_suspect(&mut self, id: &ResourceId) {
        if let Some(Change::Set(entry)) = self.item_mut(id).and_then(|item| item.suspect.take()) {
            self.unrefer(&entry);
        }
    }

    fn clear_unknown(&mut self, id: &ResourceId) {
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
    fn unrefer(&mut self, entry: &Entry) {
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

fn note_shell(shells: &mut HashSet<Arc<str>>, id: &ResourceId, change: &Change) {
    if id.kind == ResourceKind::RouteConfiguration && matches!(change, Change::Set(_)) {
        shells.insert(id.name.clone());
    }
}

fn size(change: &Change) -> usize {
    match change {
        Change::Set(entry) => entry.resource.body.len() + entry.resource.id.name.len(),
        Change::Remove => 64,
    }
}

fn truncate(message: &str) -> &str {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}
