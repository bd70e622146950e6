//! What one stream knows and does: a pure state machine.
//!
//! Inputs are [`Stream::request`], [`Stream::changed`] and [`Stream::advance`] (time passed); each is given the
//! [`Store`] and the present time. Outputs are collected and taken with [`Stream::take`]. Nothing here waits, locks
//! or does I/O.
//!
//! A *unit* is a resource as the cache holds it. Units of one kind travel in responses of that kind, at most one in
//! flight per kind; what changes meanwhile is queued by name, so that only the latest version is ever sent. The files:
//! `decide` says what is to be done about one unit, `flight` sends, `answer` takes acknowledgements and refusals, `retry`
//! tries refused listeners again, `held` keeps what the client is believed to have, `subscribe` what it wants, `render` makes responses, `progress` counts what
//! is outstanding.

mod answer;
mod decide;
mod flight;
mod held;
mod item;
mod progress;
mod render;
mod request;
mod retry;
mod subscribe;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foregate_envoy::{Owner, ResourceId, ResourceKind};
use indexmap::IndexMap;

use crate::cache::Refused;
use crate::options::Options;
use crate::store::{Entry, Store, route_configuration_of};
use decide::{Drain, Waits};
use item::{Channel, Item};
use progress::Progress;
use retry::Retry;

pub(crate) use answer::truncate;
pub use render::{Response, Sent};
pub use request::{Names, Request};

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The incremental protocol; otherwise state of the world.
    pub delta: bool,
    /// Virtual hosts one by one ([`VHDS_FEATURE`](crate::VHDS_FEATURE)); otherwise inside route configurations. Only
    /// the incremental protocol can do that.
    pub vhds: bool,
}

/// What comes out of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// To be sent to the client.
    Response(Response),
    /// All changes up to this sequence that concern the stream are acknowledged or refused.
    Progress(u64),
    /// The client refused this resource, sent alone.
    Nacked {
        /// Which one.
        id: ResourceId,
        /// In which version.
        version: Arc<str>,
        /// Whose it is.
        owners: Arc<[Owner]>,
        /// What the client said.
        message: String,
    },
    /// The client has taken at a later try what it had refused.
    Recovered {
        /// Which one.
        id: ResourceId,
        /// In which version.
        version: Arc<str>,
    },
}

/// Counts since the last [`Stream::take_counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Responses acknowledged.
    pub acks: u64,
    /// Responses refused.
    pub nacks: u64,
    /// Requests with an outdated nonce.
    pub stale_nonces: u64,
    /// Resources sent though what they name was not acknowledged in time.
    pub forced: u64,
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    profile: Profile,
    drain: Duration,
    need_timeout: Duration,
    max_response_bytes: usize,
    opened: Instant,
    channels: [Channel; ResourceKind::ALL.len()],
    /// How many of the client's resources (acknowledged or sent) name this one.
    references: HashMap<ResourceId, u32>,
    /// Who waits until something is acknowledged (or, a secret, exists).
    waits: Waits,
    /// In composed route configurations, by name: the virtual hosts that the client has.
    hosts: HashMap<Arc<str>, BTreeMap<Arc<str>, Arc<Entry>>>,
    /// Whose removal is due, and waits.
    draining: HashMap<ResourceId, Drain>,
    /// Refused listeners, and when each is tried again.
    retries: HashMap<Arc<str>, Retry>,
    /// When to look again at whom.
    deadlines: BTreeSet<(Instant, ResourceId)>,
    /// How many of each kind the client holds in a version that the cache doesn't know: they may name anything.
    unknown: [usize; ResourceKind::ALL.len()],
    progress: Progress,
    /// What the client refuses at present, and whether that has changed.
    refused: Refused,
    refused_changed: bool,
    /// Responses so far: makes nonces.
    responses: u64,
    counts: Counts,
    out: Vec<Output>,
}

impl Stream {
    /// A stream that has not asked for anything yet.
    pub fn new(profile: Profile, options: &Options, now: Instant) -> Self {
        Self {
            profile: Profile { vhds: profile.vhds && profile.delta, ..profile },
            drain: options.drain,
            need_timeout: options.need_timeout,
            max_response_bytes: options.max_response_bytes,
            opened: now,
            channels: Default::default(),
            references: HashMap::new(),
            waits: Waits::default(),
            hosts: HashMap::new(),
            draining: HashMap::new(),
            retries: HashMap::new(),
            deadlines: BTreeSet::new(),
            unknown: Default::default(),
            progress: Progress::default(),
            refused: Refused::new(),
            refused_changed: false,
            responses: 0,
            counts: Counts::default(),
            out: Vec::new(),
        }
    }

    /// The store changed: ids, each with the sequence of its first change since the last call.
    pub fn changed(&mut self, store: &Store, changes: IndexMap<ResourceId, u64>) {
        for (id, sequence) in changes {
            if id.kind == ResourceKind::Secret {
                // Who was withheld for it belongs to this change now.
                for waiter in self.waits.release(&id) {
                    self.touch(&waiter, sequence);
                }
            }
            if self.wants(&id) || self.item(&id).is_some() {
                self.touch(&id, sequence);
            }
            if id.kind == ResourceKind::Cluster {
                self.touch_missing_endpoints(store, &id);
            }
        }
    }

    /// Sends what may be sent now, and reports. To be called after every input, and at [`Stream::deadline`].
    pub fn advance(&mut self, store: &Store, now: Instant) {
        while let Some((at, _)) = self.deadlines.first() {
            if *at > now {
                break;
            }
            if let Some((_, id)) = self.deadlines.pop_first() {
                self.enqueue(&id);
            }
        }
        // Settling one unit may release others, of an earlier kind as well: until nothing moves.
        while let Some(kind) = self.next_due() {
            self.flush(store, kind, now);
        }
        self.report(store, now);
        // What was refused may be as it was again, and then nothing is sent.
        let before = self.refused.len();
        self.refused.retain(|id, (version, _)| store.get(id).is_some_and(|entry| entry.version() == version));
        self.refused_changed |= self.refused.len() < before;
    }

    /// When [`Stream::advance`] is to be called at the latest, if at all.
    pub fn deadline(&self) -> Option<Instant> {
        let first = self.deadlines.first().map(|(at, _)| *at);
        let gate = (!self.progress.open()).then(|| self.opened + self.need_timeout);
        first.into_iter().chain(gate).min()
    }

    /// Takes what came out since the last call.
    pub fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// What the client refuses, if that has changed since the last call.
    pub(crate) fn take_refused(&mut self) -> Option<Refused> {
        std::mem::take(&mut self.refused_changed).then(|| self.refused.clone())
    }

    /// Nothing is refused of it any more.
    fn relent(&mut self, id: &ResourceId) {
        self.refused_changed |= self.refused.remove(id).is_some();
    }

    /// Takes the counts since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Virtual hosts travel inside route configurations.
    fn composes(&self) -> bool {
        !self.profile.vhds
    }

    /// The kind whose responses carry a kind's units.
    fn carrier(&self, kind: ResourceKind) -> ResourceKind {
        if kind == ResourceKind::VirtualHost && self.composes() { ResourceKind::RouteConfiguration } else { kind }
    }

    fn channel(&self, kind: ResourceKind) -> &Channel {
        &self.channels[kind as usize]
    }

    fn channel_mut(&mut self, kind: ResourceKind) -> &mut Channel {
        &mut self.channels[kind as usize]
    }

    fn item(&self, id: &ResourceId) -> Option<&Item> {
        self.channel(id.kind).items.get(&id.name)
    }

    fn item_mut(&mut self, id: &ResourceId) -> Option<&mut Item> {
        self.channel_mut(id.kind).items.get_mut(&id.name)
    }

    /// Whether the client is subscribed to it.
    fn wants(&self, id: &ResourceId) -> bool {
        if id.kind == ResourceKind::VirtualHost && self.composes() {
            return self.channel(ResourceKind::RouteConfiguration).wants_name(route_configuration_of(&id.name));
        }
        let channel = self.channel(id.kind);
        channel.wants_name(&id.name)
            || id.kind == ResourceKind::VirtualHost && channel.globs.contains(route_configuration_of(&id.name))
    }

    /// A unit changed, or was asked for: looks at it, and counts it as outstanding until it is settled.
    fn touch(&mut self, id: &ResourceId, sequence: u64) {
        let channel = &mut self.channels[id.kind as usize];
        let item = channel.items.entry(id.name.clone()).or_default();
        if item.outstanding.is_none() {
            item.outstanding = Some(sequence);
            self.progress.add(sequence);
        }
        channel.enqueue(&id.name);
    }

    /// Looks at a unit again.
    fn enqueue(&mut self, id: &ResourceId) {
        self.channel_mut(id.kind).enqueue(&id.name);
    }

    /// Looks again at all that wait for this one.
    fn wake(&mut self, id: &ResourceId) {
        for waiter in self.waits.release(id) {
            self.enqueue(&waiter);
        }
    }

    /// A cluster changed whose endpoints the cache doesn't have: what the client should see may differ now.
    fn touch_missing_endpoints(&mut self, store: &Store, cluster: &ResourceId) {
        let Some(entry) = store.get(cluster) else { return };
        for need in entry.needs() {
            if need.kind == ResourceKind::ClusterLoadAssignment && store.get(need).is_none() {
                self.enqueue(need);
            }
        }
    }

    /// The first kind, in make-before-break order, that has something to do and nothing in flight.
    fn next_due(&self) -> Option<ResourceKind> {
        ResourceKind::ALL.into_iter().find(|kind| {
            let channel = self.channel(*kind);
            if self.carrier(*kind) != *kind || !channel.started || channel.flight.is_some() {
                return false;
            }
            let carried = *kind == ResourceKind::RouteConfiguration && self.composes();
            channel.has_work() || carried && self.channel(ResourceKind::VirtualHost).has_work()
        })
    }
}
