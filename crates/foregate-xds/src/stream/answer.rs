//! Taking answers: acknowledgements, and the search for the culprit of a refusal.

use std::collections::BTreeMap;

use foregate_envoy::{ResourceId, ResourceKind};

use super::decide::is_pulled;
use super::item::Change;
use super::{Output, Stream};
use crate::store::{Entry, Store};

/// Units of a refused response up to this number are sent again one by one; more are halved until they are so few.
const ONE_BY_ONE: usize = 8;
/// Longest error message of a client that is passed on, in bytes.
const MAX_MESSAGE: usize = 4096;

impl Stream {
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
                self.end_retry(id, Some(entry.version()));
                self.relent(id);
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
        self.refused.insert(id.clone(), (entry.version().clone(), truncate(message).to_owned()));
        self.refused_changed = true;
        self.enqueue(id);
        self.wake(id);
        if !self.note_refusal(id, entry.version(), truncate(message)) {
            return;
        }
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
}

pub(crate) fn truncate(message: &str) -> &str {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}
