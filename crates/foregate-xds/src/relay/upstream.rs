//! The platform's end of a relay's stream.

use std::collections::HashMap;
use std::sync::Arc;

use foregate_envoy::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use foregate_envoy::{Resource, ResourceId};
use tokio::sync::mpsc;
use tonic::Status;

use super::wire::{Malformed, Part, Report, versions_of};
use crate::cache::{Attached, Cache};
use crate::event::Event;
use crate::session::Talk;
use crate::stats::Counters;
use crate::store::{Entry, Store};
use crate::stream::truncate;
use crate::wire::Delta;

/// Serves one relay's stream, of which the first request has come.
pub(crate) async fn serve(talk: Talk<Delta>, first: DeltaDiscoveryRequest) -> Result<(), Status> {
    let Talk { cache, instance, mut requests, responses } = talk;
    let attached = cache.attach(&instance);
    let inbox = attached.inbox.clone();
    let has = Some(versions_of(first).map_err(refuse)?);
    let mut upstream = Upstream { cache, attached, has, sent: 0, responses: responses.clone() };
    upstream.send_changes().await?;
    loop {
        tokio::select! {
            request = requests.message() => match request? {
                Some(request) => upstream.heard(Report::decode(request).map_err(refuse)?)?,
                None => return Ok(()),
            },
            () = inbox.notify.notified() => upstream.send_changes().await?,
            () = responses.closed() => return Ok(()),
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn refuse(malformed: Malformed) -> Status {
    Status::invalid_argument(malformed.to_string())
}

struct Upstream {
    cache: Cache,
    attached: Attached,
    /// What the relay has, until it was compared with what there is.
    has: Option<HashMap<ResourceId, String>>,
    /// Up to which sequence all was sent.
    sent: u64,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
}

/// What is to be sent.
#[derive(Default)]
struct Change {
    set: Vec<Arc<Entry>>,
    remove: Vec<ResourceId>,
    sequence: u64,
}

impl Upstream {
    /// Sends all that has changed since the last call. A relay that reads slowly gets less often, and more at once.
    async fn send_changes(&mut self) -> Result<(), Status> {
        let Some(change) = self.change() else { return Ok(()) };
        let limit = self.cache.options().max_response_bytes;
        let counters = self.cache.counters();
        Counters::add(&counters.resources, change.set.len() as u64);
        Counters::add(&counters.removals, change.remove.len() as u64);
        let sent = self.cache.sent();
        change.set.iter().for_each(|entry| sent.entry(entry));
        change.remove.iter().for_each(|id| sent.add(id.kind, id.name.len()));
        let mut part = Part { remove: change.remove, ..Part::default() };
        let mut bytes = 0;
        for entry in change.set {
            bytes += entry.resource.body.len() + entry.resource.id.name.len();
            part.set.push(Resource { owners: Arc::new([]), ..entry.resource.clone() });
            if bytes >= limit {
                bytes = 0;
                self.send(std::mem::take(&mut part)).await?;
            }
        }
        self.send(Part { sequence: Some(change.sequence), ..part }).await
    }

    async fn send(&self, part: Part) -> Result<(), Status> {
        Counters::add(&self.cache.counters().responses, 1);
        self.responses.send(Ok(part.encode())).await.map_err(|_| Status::cancelled("the relay left"))
    }

    /// None if there is nothing new, or the group isn't served yet.
    fn change(&mut self) -> Option<Change> {
        let store = self.attached.group.store.read();
        if !self.attached.may_serve(&store) {
            return None;
        }
        let changed = self.attached.inbox.take();
        let sequence = store.sequence();
        let mut change = match self.has.take() {
            Some(has) => difference(&store, has),
            None if sequence == self.sent => return None,
            None => {
                let mut change = Change::default();
                for (id, _) in changed {
                    match store.get(&id) {
                        Some(entry) => change.set.push(entry.clone()),
                        None => change.remove.push(id),
                    }
                }
                change
            }
        };
        self.sent = sequence;
        change.sequence = sequence;
        Some(change)
    }

    fn heard(&self, report: Report) -> Result<(), Status> {
        let instance = self.attached.instance.clone();
        match report {
            Report::Engine(true) => self.attached.join(),
            Report::Engine(false) => self.attached.leave(),
            Report::Applied(sequence) if sequence > self.sent => {
                return Err(Status::invalid_argument("response_nonce: that has never been sent"));
            }
            Report::Applied(applied) => {
                Counters::add(&self.cache.counters().acks, 1);
                self.attached.progress(applied);
            }
            Report::Refused { id, version, message } => {
                Counters::add(&self.cache.counters().nacks, 1);
                // What has been replaced meanwhile needs no culprit: its successor is judged by itself.
                let Some(entry) = self.current(&id, &version) else { return Ok(()) };
                Counters::add(&self.cache.counters().culprits, 1);
                let (owners, message) = (entry.resource.owners.clone(), truncate(&message).to_owned());
                self.cache.emit(Event::Nacked { instance, id, version, owners, message });
            }
            Report::Recovered { id, version } => {
                if self.current(&id, &version).is_some() {
                    self.cache.emit(Event::Recovered { instance, id, version });
                }
            }
        }
        Ok(())
    }

    /// The resource, if that is its present version.
    fn current(&self, id: &ResourceId, version: &str) -> Option<Arc<Entry>> {
        let store = self.attached.group.store.read();
        store.get(id).filter(|entry| **entry.version() == *version).cloned()
    }
}

/// What a relay lacks, and what it has too much.
fn difference(store: &Store, has: HashMap<ResourceId, String>) -> Change {
    let lacks = |entry: &&Arc<Entry>| has.get(&entry.resource.id).is_none_or(|version| **version != **entry.version());
    let set = store.iter().filter(lacks).cloned().collect();
    let remove = has.into_keys().filter(|id| store.get(id).is_none()).collect();
    Change { set, remove, sequence: store.sequence() }
}
