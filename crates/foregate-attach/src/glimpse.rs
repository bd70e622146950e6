//! Services and EndpointSlices that nothing names: of these only the beginning is read, and what tells them apart kept.
//!
//! Whoever watches shows the beginning of each ([`Glimpse`]) and is told whether the rest is to be read. Once something
//! names a Service that wasn't, the Service and its EndpointSlices are asked for, once ([`Need::Service`]). The answer
//! and the watch know nothing of each other, so one may be ahead of the other:
//!
//! - What the watch has said of an object since it came to be needed counts, and the answer doesn't: whatever the
//!   answer has that is newer, the watch is going to say.
//! - Of an object that only the answer had, the watch isn't heard until it is as far as the answer was.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::backend::Upstream;
use crate::need::Need;
use crate::world::uid;
use crate::{Attach, Change, Key};

/// What isn't read unless something names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GlimpseKind {
    /// A Service.
    Service,
    /// An EndpointSlice.
    EndpointSlice,
}

/// What a watch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The object is in a list of all that there are.
    Listed,
    /// It came, or changed.
    Set,
    /// It is gone.
    Gone,
}

/// The beginning of an object.
#[derive(Clone, Debug)]
pub struct Glimpse {
    /// Its kind.
    pub kind: GlimpseKind,
    /// The object.
    pub key: Key,
    /// What is said of it.
    pub told: Told,
    /// `metadata.uid`; empty where it isn't known.
    pub uid: String,
    /// `metadata.resourceVersion`, as a number; none: it isn't known.
    pub version: Option<u64>,
    /// Name of the Service that an EndpointSlice says that it is of.
    pub service: Option<String>,
    /// Whether it may be one that stands for a Gateway of ours.
    pub may_be_ours: bool,
}

/// A Service as the API answered, with its EndpointSlices.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its namespace and name.
    pub service: Key,
    /// The number of the [`crate::NeedChange::Follow`] that it was asked for by.
    pub number: u64,
    /// None: there is none of that name.
    pub object: Option<Arc<Service>>,
    /// Those that say that they are of it.
    pub slices: Vec<Arc<EndpointSlice>>,
}

type Id = (GlimpseKind, Key);

/// What is known of answers and watches.
#[derive(Debug, Default)]
pub(crate) struct Glimpses {
    /// UIDs of Services that aren't read.
    unread: HashMap<Key, String>,
    /// What watches have said while an answer is due, with the number of the last need at that time.
    said: HashMap<Id, u64>,
    /// The versions that answers had, of what watches have said nothing since.
    fetched: HashMap<Id, u64>,
}

/// `metadata.resourceVersion` as a number. Kubernetes says that versions of one kind can be compared (KEP-5504).
fn version(metadata: &ObjectMeta) -> Option<u64> {
    metadata.resource_version.as_deref()?.parse().ok()
}

impl Attach {
    /// Notes what is said of an object. Returns whether the whole is to be read, if there is any, and taken.
    pub fn glimpse(&mut self, glimpse: &Glimpse) -> bool {
        let Glimpse { kind, key, told, .. } = glimpse;
        let service = match kind {
            GlimpseKind::Service => Some(key.clone()),
            GlimpseKind::EndpointSlice => glimpse.service.as_deref().map(|name| Key::new(key.namespace.clone(), name)),
        };
        let is_read = match kind {
            GlimpseKind::Service => self.world.services.contains_key(key),
            GlimpseKind::EndpointSlice => self.world.slices.contains_key(key),
        };
        let is_needed = service.is_some_and(|service| self.needs(&Need::Service(service)));
        let id = (*kind, key.clone());
        if self.waits_for_services() {
            self.glimpses.said.insert(id.clone(), self.last_need());
        }
        // What is gone from a list is a name only.
        let is_name = *told == Told::Gone && glimpse.version.is_none();
        if !(is_needed || is_read || is_name || glimpse.may_be_ours) {
            if *kind == GlimpseKind::Service {
                self.note_unread(key, (*told != Told::Gone).then(|| glimpse.uid.clone()));
            }
            return false;
        }
        if let Some(&fetched) = self.glimpses.fetched.get(&id) {
            if *told != Told::Listed && glimpse.version.is_some_and(|version| version < fetched) {
                return false;
            }
            self.glimpses.fetched.remove(&id);
        }
        true
    }

    /// Keeps the UID of a Service that isn't read; none: it is gone.
    pub(crate) fn note_unread(&mut self, key: &Key, uid: Option<String>) {
        let old = match uid.clone() {
            Some(uid) => self.glimpses.unread.insert(key.clone(), uid),
            None => self.glimpses.unread.remove(key),
        };
        self.know(&Upstream::Service(key.clone()), old, uid);
    }

    /// The UID of a Service that wasn't read so far.
    pub(crate) fn was_unread(&mut self, key: &Key) -> Option<String> {
        self.glimpses.unread.remove(key)
    }

    pub(crate) fn take_fetched(&mut self, fetched: Fetched) {
        let need = Need::Service(fetched.service.clone());
        if !self.is_awaited(&need, fetched.number) {
            return;
        }
        if let Some(object) = fetched.object
            && self.is_news((GlimpseKind::Service, fetched.service), &object.metadata, fetched.number)
        {
            self.take_service(Change::Set(object));
        }
        for slice in fetched.slices {
            let id = (GlimpseKind::EndpointSlice, Key::of(&slice.metadata));
            if self.is_news(id, &slice.metadata, fetched.number) {
                self.take_slice(Change::Set(slice));
            }
        }
        self.take_known(&need, fetched.number);
    }

    /// Keeps what watches have said no longer than answers are due.
    pub(crate) fn forget_said(&mut self) {
        if !self.waits_for_services() && !self.glimpses.said.is_empty() {
            self.glimpses.said = HashMap::new();
        }
    }

    fn is_news(&mut self, id: Id, metadata: &ObjectMeta, number: u64) -> bool {
        if self.glimpses.said.get(&id).is_some_and(|&last| last >= number) {
            return false;
        }
        if let Some(version) = version(metadata) {
            self.glimpses.fetched.insert(id, version);
        }
        true
    }

    /// Forgets a Service that nothing names any more, but that it is there.
    pub(crate) fn unread(&mut self, key: &Key) {
        self.glimpses.fetched.remove(&(GlimpseKind::Service, key.clone()));
        if let Some(object) = self.world.services.remove(key) {
            self.glimpses.unread.insert(key.clone(), uid(&object.metadata));
        }
        let slices: Vec<Key> = self.index.service_slices.of(key).cloned().collect();
        for slice in slices {
            self.index.service_slices.remove(key, &slice);
            self.world.slices.remove(&slice);
            self.glimpses.fetched.remove(&(GlimpseKind::EndpointSlice, slice.clone()));
            self.dirty.slices.insert(slice);
        }
    }
}
