//! All groups, the streams that read them, and the events that come back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foregate_envoy::{Delta, Resource, ResourceId, ResourceKind};
use indexmap::IndexMap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc, watch};

use crate::event::{Event, Instance};
use crate::options::Options;
use crate::stats::{Counters, SentBytes, Stats};
use crate::store::Store;

/// The resources of all gateways. Clones share it.
#[derive(Clone, Debug)]
pub struct Cache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    groups: Mutex<HashMap<Arc<str>, Arc<Group>>>,
    /// The streams of each instance's engines, in the order in which they came.
    instances: Mutex<HashMap<Instance, BTreeMap<u64, Standing>>>,
    events: mpsc::UnboundedSender<Event>,
    counters: Counters,
    sent_bytes: SentBytes,
    next_stream: AtomicU64,
    started: watch::Sender<bool>,
}

/// What an engine refuses at present: the version, and its words.
pub(crate) type Refused = BTreeMap<ResourceId, (Arc<str>, String)>;

/// How one engine fares.
#[derive(Debug, Default)]
struct Standing {
    /// It has answered all that there was when it came.
    complete: bool,
    refused: Refused,
}

/// One gateway: its resources, and its streams' inboxes.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) store: RwLock<Store>,
    streams: Mutex<HashMap<u64, Arc<Inbox>>>,
}

/// The ids that changed since the stream last looked, with the sequence of the first such change. The contents are in the
/// store: a slow stream costs its ids, once each, and delays nobody.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    changed: Mutex<IndexMap<ResourceId, u64>>,
    pub(crate) notify: Notify,
}

impl Inbox {
    pub(crate) fn take(&self) -> IndexMap<ResourceId, u64> {
        std::mem::take(&mut *self.changed.lock())
    }
}

impl Cache {
    /// An empty cache, and where the events of all its streams come out.
    pub fn new(options: Options) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let started = watch::Sender::new(options.started);
        let shared = Shared {
            options,
            groups: Mutex::default(),
            instances: Mutex::default(),
            events,
            counters: Counters::default(),
            sent_bytes: SentBytes::default(),
            next_stream: AtomicU64::new(1),
            started,
        };
        (Self { shared: Arc::new(shared) }, receiver)
    }

    /// Serves streams from now on; see [`Options::started`].
    pub fn start(&self) {
        self.shared.started.send_replace(true);
        let groups: Vec<_> = self.shared.groups.lock().values().cloned().collect();
        for group in groups {
            group.wake(&[], 0);
        }
    }

    /// Waits until streams are served.
    pub async fn until_started(&self) {
        // Fails when the cache is gone, and then there is nobody to tell.
        let _ = self.shared.started.subscribe().wait_for(|started| *started).await;
    }

    /// Applies a change to a group and tells its streams. Returns the change's sequence, which counts up from 1 in
    /// each group. A group is served from its first change on: until then its clients keep what they have.
    pub fn apply(&self, group: &str, delta: Delta) -> u64 {
        self.group(group).change(|store| store.apply(delta))
    }

    /// Removes all that a group has, from its streams as well.
    pub fn remove_group(&self, group: &str) {
        let Some(found) = self.shared.groups.lock().get(group).cloned() else { return };
        found.change(Store::clear);
        self.drop_if_unused(group);
    }

    /// A group's resources, by kind and name.
    pub fn dump(&self, group: &str) -> Vec<Resource> {
        let Some(group) = self.shared.groups.lock().get(group).cloned() else { return Vec::new() };
        let mut all: Vec<_> = group.store.read().iter().map(|entry| entry.resource.clone()).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// The number of the stream of an instance's newest engine; 0: there is none. It grows with every engine that comes.
    pub fn newest_engine(&self, instance: &Instance) -> u64 {
        let instances = self.shared.instances.lock();
        instances.get(instance).and_then(BTreeMap::last_key_value).map_or(0, |(id, _)| *id)
    }

    /// What engines that came after `since` (of [`Cache::newest_engine`]) refuse and those before don't, with their
    /// words. None: there is no such engine, or it hasn't answered all that there is yet.
    pub fn refused_since(&self, instance: &Instance, since: u64) -> Option<Vec<(ResourceId, String)>> {
        let instances = self.shared.instances.lock();
        let streams = instances.get(instance)?;
        let newer = || streams.range(since + 1..).map(|(_, standing)| standing);
        if newer().next().is_none() || newer().any(|standing| !standing.complete) {
            return None;
        }
        let older = |id: &ResourceId, version: &Arc<str>| {
            let mut before = streams.range(..=since).map(|(_, standing)| standing);
            before.any(|standing| standing.refused.get(id).is_some_and(|(refused, _)| refused == version))
        };
        let all = newer().flat_map(|standing| &standing.refused);
        let all = all.filter(|(id, (version, _))| !older(id, version));
        Some(all.map(|(id, (_, message))| (id.clone(), message.clone())).collect())
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.shared.counters.read()
    }

    /// Bytes of resources that were sent to engines and relays, by kind: names, versions and bodies.
    pub fn sent_bytes(&self) -> Vec<(ResourceKind, u64)> {
        self.shared.sent_bytes.read()
    }

    /// The options that it was made with.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub(crate) fn sent(&self) -> &SentBytes {
        &self.shared.sent_bytes
    }

    pub(crate) fn emit(&self, event: Event) {
        // The receiver is gone only when the process ends.
        let _ = self.shared.events.send(event);
    }

    fn group(&self, name: &str) -> Arc<Group> {
        let mut groups = self.shared.groups.lock();
        if let Some(group) = groups.get(name) {
            return group.clone();
        }
        groups.entry(name.into()).or_default().clone()
    }

    fn drop_if_unused(&self, name: &str) {
        let mut groups = self.shared.groups.lock();
        // Two references are the map's and the caller's. A third one is somebody who is about to change it.
        let unused = groups.get(name).is_some_and(|group| {
            Arc::strong_count(group) <= 2
                && group.streams.lock().is_empty()
                && group.store.read().iter().next().is_none()
        });
        if unused {
            groups.remove(name);
        }
    }

    /// The versions of a group's resources.
    pub(crate) fn versions(&self, group: &str) -> HashMap<ResourceId, Arc<str>> {
        let Some(group) = self.shared.groups.lock().get(group).cloned() else { return HashMap::new() };
        let store = group.store.read();
        store.iter().map(|entry| (entry.resource.id.clone(), entry.version().clone())).collect()
    }

    /// Registers a stream. It counts as its instance's engine only once it has joined: [`Attached::join`].
    pub(crate) fn attach(&self, instance: &Instance) -> Attached {
        let id = self.shared.next_stream.fetch_add(1, Ordering::Relaxed);
        let inbox = Arc::new(Inbox::default());
        let group = {
            // Under the lock of the groups, so that the group isn't dropped in between.
            let mut groups = self.shared.groups.lock();
            let group = groups.entry(instance.group.clone()).or_default().clone();
            group.streams.lock().insert(id, inbox.clone());
            group
        };
        self.shared.counters.streams.fetch_add(1, Ordering::Relaxed);
        Attached { cache: self.clone(), instance: instance.clone(), id, inbox, group }
    }

    fn join(&self, instance: &Instance, id: u64) {
        let mut instances = self.shared.instances.lock();
        let streams = instances.entry(instance.clone()).or_default();
        let first = streams.is_empty();
        streams.entry(id).or_default();
        if first {
            self.emit(Event::Connected(instance.clone()));
        }
    }

    fn leave(&self, instance: &Instance, id: u64) {
        let mut instances = self.shared.instances.lock();
        let Some(streams) = instances.get_mut(instance) else { return };
        let Some(left) = streams.remove(&id) else { return };
        if streams.is_empty() {
            instances.remove(instance);
            self.emit(Event::Disconnected(instance.clone()));
            return;
        }
        // Who is left hasn't refused it.
        for (id, (version, _)) in left.refused {
            if !streams.values().any(|other| other.refused.contains_key(&id)) {
                self.emit(Event::Recovered { instance: instance.clone(), id, version });
            }
        }
    }

    fn detach(&self, instance: &Instance, id: u64, group: &Group) {
        group.streams.lock().remove(&id);
        self.shared.counters.streams.fetch_sub(1, Ordering::Relaxed);
        self.leave(instance, id);
        self.drop_if_unused(&instance.group);
    }
}

impl Group {
    fn change(&self, change: impl FnOnce(&mut Store) -> Vec<ResourceId>) -> u64 {
        let mut store = self.store.write();
        let changed = change(&mut store);
        let sequence = store.sequence();
        // Under the store's lock: a stream that reads the store finds in its inbox all that led there.
        self.wake(&changed, sequence);
        sequence
    }

    fn wake(&self, changed: &[ResourceId], sequence: u64) {
        for inbox in self.streams.lock().values() {
            if !changed.is_empty() {
                let mut ids = inbox.changed.lock();
                for id in changed {
                    ids.entry(id.clone()).or_insert(sequence);
                }
            }
            inbox.notify.notify_one();
        }
    }
}

/// A registered stream; detaches itself when dropped.
#[derive(Debug)]
pub(crate) struct Attached {
    cache: Cache,
    pub(crate) instance: Instance,
    id: u64,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) group: Arc<Group>,
}

impl Attached {
    /// Whether the group may be served already.
    pub(crate) fn may_serve(&self, store: &Store) -> bool {
        store.sequence() > 0 && *self.cache.shared.started.borrow()
    }

    /// From now on the stream counts as its instance's engine.
    pub(crate) fn join(&self) {
        self.cache.join(&self.instance, self.id);
    }

    /// It no longer does.
    pub(crate) fn leave(&self) {
        self.cache.leave(&self.instance, self.id);
    }

    /// Reports progress, unless the instance has a newer stream that has done so: then that one's progress counts.
    pub(crate) fn progress(&self, applied: u64) {
        let mut instances = self.cache.shared.instances.lock();
        let Some(streams) = instances.get_mut(&self.instance) else { return };
        let Some(own) = streams.get_mut(&self.id) else { return };
        own.complete = true;
        if !streams.range(self.id + 1..).any(|(_, newer)| newer.complete) {
            self.cache.emit(Event::Progress { instance: self.instance.clone(), applied });
        }
    }
}

impl Attached {
    /// What the engine refuses has changed.
    pub(crate) fn refuses(&self, refused: Refused) {
        let mut instances = self.cache.shared.instances.lock();
        if let Some(own) = instances.get_mut(&self.instance).and_then(|streams| streams.get_mut(&self.id)) {
            own.refused = refused;
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.cache.detach(&self.instance, self.id, &self.group);
    }
}
