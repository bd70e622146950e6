//! Sending units: which go into one response.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use foregate_envoy::{ResourceId, ResourceKind};

use super::item::{Change, Flight};
use super::{Output, Stream};
use crate::store::Store;

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
