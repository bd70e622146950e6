//! Random changes against clients that delay, reorder, refuse, die and come back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod client;
mod world;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Client, DELTA, DELTA_VHDS, SOTW, clusters_of, is_poisoned};
use foregate_envoy::{ResourceId, ResourceKind};
use foregate_xds::Options;
use foregate_xds::store::Entry;
use foregate_xds::stream::{Output, Profile, Stream};
use indexmap::IndexMap;
use proptest::prelude::*;
use world::{Edit, World, edit};

const DRAIN: Duration = Duration::from_secs(2);
/// Long enough that nothing is forced while clients are only slow.
const NEED_TIMEOUT: Duration = Duration::from_secs(100_000);

#[derive(Clone, Debug)]
enum Step {
    /// The cache changes, in one delta.
    Edit(Vec<Edit>),
    /// A stream looks at its inbox.
    Notice(usize),
    /// So many requests of a client arrive.
    Arrive(usize, usize),
    /// A client takes a response of a kind (by number).
    Take(usize, usize),
    /// A client dies and comes back, with or without what it had.
    Reconnect(usize, bool),
    /// Seconds pass.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(edit(), 1..4).prop_map(Step::Edit),
        4 => any::<usize>().prop_map(Step::Notice),
        8 => (any::<usize>(), 1..4usize).prop_map(|(client, n)| Step::Arrive(client, n)),
        12 => (any::<usize>(), 0..7usize).prop_map(|(client, kind)| Step::Take(client, kind)),
        1 => (any::<usize>(), prop::bool::weighted(0.7)).prop_map(|(client, resume)| Step::Reconnect(client, resume)),
        2 => (1..5u64).prop_map(Step::Pass),
    ]
}

/// One client and its stream.
struct Peer {
    client: Client,
    stream: Stream,
    inbox: IndexMap<ResourceId, u64>,
    nonces: HashSet<String>,
    progress: Option<u64>,
    nacked: BTreeSet<(ResourceId, Arc<str>)>,
    forced: bool,
    resumed: bool,
}

fn options() -> Options {
    Options { drain: DRAIN, need_timeout: NEED_TIMEOUT, max_response_bytes: 60, ..Options::default() }
}

impl Peer {
    fn new(profile: Profile, partial: bool, now: Instant) -> Self {
        Self {
            client: Client::new(profile, partial),
            stream: Stream::new(profile, &options(), now),
            inbox: IndexMap::new(),
            nonces: HashSet::new(),
            progress: None,
            nacked: BTreeSet::new(),
            forced: false,
            resumed: false,
        }
    }

    fn reconnect(&mut self, resume: bool, now: Instant) {
        // State of the world can't say what it has: such a client starts with nothing.
        self.client.connect(resume && self.client.profile.delta);
        self.stream = Stream::new(self.client.profile, &options(), now);
        self.resumed = resume;
        self.inbox.clear();
        self.nonces.clear();
        self.progress = None;
        self.nacked.clear();
    }

    /// One step of the stream, as its shell does it.
    fn step(&mut self, world: &World, arriving: bool, now: Instant) -> Result<bool, TestCaseError> {
        self.stream.changed(&world.store, std::mem::take(&mut self.inbox));
        let request = if arriving { self.client.requests.pop_front() } else { None };
        let arrived = request.is_some();
        if let Some(request) = request {
            self.stream.request(&world.store, request);
        }
        self.stream.advance(&world.store, now);
        self.forced |= self.stream.take_counts().forced > 0;
        let mut moved = arrived;
        for output in self.stream.take() {
            moved = true;
            match output {
                Output::Response(response) => {
                    prop_assert!(self.nonces.insert(response.nonce.clone()), "nonce {} again", response.nonce);
                    let queue = self.client.responses.entry(response.kind).or_default();
                    prop_assert!(queue.is_empty(), "two responses of {:?} in flight", response.kind);
                    queue.push_back(response);
                }
                Output::Progress(applied) => {
                    prop_assert!(self.progress < Some(applied), "progress goes back");
                    prop_assert!(applied <= world.store.sequence());
                    self.progress = Some(applied);
                    self.check_applied(world, applied)?;
                }
                Output::Nacked { id, version, .. } => drop(self.nacked.insert((id, version))),
                Output::Recovered { id, version } => {
                    prop_assert!(self.nacked.contains(&(id.clone(), version.clone())), "{id:?} was never refused");
                }
            }
        }
        Ok(moved)
    }

    /// What progress covers is there.
    fn check_applied(&self, world: &World, applied: u64) -> Result<(), TestCaseError> {
        let hosts = self.client.hosts();
        for entry in world.store.iter().filter(|entry| entry.sequence <= applied) {
            let id = &entry.resource.id;
            let blocked = !has_needs(world, entry, applied);
            let withheld = blocked || is_poisoned(id.kind, &entry.resource.body) || self.is_shell_poisoned(world, id);
            if self.forced || withheld || !self.is_reachable(id) || !self.is_covered(world, id, applied) {
                continue;
            }
            // It lost what led it there, got it again, and asks anew: the server believes that it has still got it.
            if self.asks_for(id.kind) {
                continue;
            }
            let there = match id.kind {
                ResourceKind::VirtualHost => hosts.get(&id.name) == Some(&entry.resource.body),
                ResourceKind::RouteConfiguration => self.client.version(id).is_some(),
                _ => self.client.version(id) == Some(entry.version()),
            };
            prop_assert!(there, "{:?} of {} isn't there at {applied}", id, entry.sequence);
        }
        Ok(())
    }

    /// Whether the client has said something of a kind that the server hasn't heard yet.
    fn asks_for(&self, kind: ResourceKind) -> bool {
        let kinds: &[ResourceKind] = match kind {
            ResourceKind::VirtualHost => &[ResourceKind::VirtualHost, ResourceKind::RouteConfiguration],
            ResourceKind::RouteConfiguration => &[ResourceKind::RouteConfiguration],
            ResourceKind::ClusterLoadAssignment => &[ResourceKind::ClusterLoadAssignment],
            _ => &[],
        };
        self.client.requests.iter().any(|request| kinds.contains(&request.kind))
    }

    /// Whether what leads the client to it is older than this as well.
    fn is_covered(&self, world: &World, id: &ResourceId, applied: u64) -> bool {
        let name = id.name.split('/').next().unwrap();
        let by: &[ResourceKind] = match id.kind {
            ResourceKind::ClusterLoadAssignment => &[ResourceKind::Cluster],
            ResourceKind::RouteConfiguration => &[ResourceKind::Listener],
            ResourceKind::VirtualHost => &[ResourceKind::Listener, ResourceKind::RouteConfiguration],
            _ => &[],
        };
        // What is withheld for a missing secret counts as settled, with what it leads to.
        let sent = |entry: &&Arc<Entry>| has_needs(world, entry, applied);
        let at = |kind| world.store.get(&ResourceId::new(kind, name)).filter(sent).map(|entry| entry.sequence);
        by.iter().all(|kind| at(*kind).is_some_and(|at| at <= applied))
    }

    fn take(&mut self, kind: ResourceKind) -> Result<bool, TestCaseError> {
        let moved = self.client.take(kind);
        if !self.forced {
            prop_assert_eq!(self.client.check(), Ok(()), "{:?}", self.client.profile);
        }
        Ok(moved)
    }

    /// Client and stream talk until neither has anything to say.
    fn settle(&mut self, world: &World, now: Instant) -> Result<(), TestCaseError> {
        for _ in 0..10_000 {
            let mut moved = self.step(world, true, now)?;
            for kind in ResourceKind::ALL {
                moved |= self.take(kind)?;
            }
            if !moved {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("client and server never come to rest"))
    }

    /// The client has what the cache has, but for what it refuses, and all was reported.
    fn check_converged(&self, world: &World) -> Result<(), TestCaseError> {
        let store = &world.store;
        prop_assert_eq!(self.progress, Some(store.sequence()), "{:?}", self.client.profile);
        let hosts = self.client.hosts();
        for entry in store.iter() {
            let id = &entry.resource.id;
            let blocked =
                entry.needs().iter().any(|need| need.kind == ResourceKind::Secret && store.get(need).is_none());
            if blocked || self.is_shell_poisoned(world, id) || !self.is_reachable(id) {
                continue;
            }
            if is_poisoned(id.kind, &entry.resource.body) {
                let reported = self.nacked.contains(&(id.clone(), entry.version().clone()));
                prop_assert!(reported, "{:?} is poisoned, not reported to {:?}", id, self.client.profile);
                continue;
            }
            match id.kind {
                ResourceKind::VirtualHost => {
                    prop_assert_eq!(
                        hosts.get(&id.name),
                        Some(&entry.resource.body),
                        "{:?} {:?}",
                        id,
                        self.client.profile
                    );
                }
                ResourceKind::RouteConfiguration if !self.client.profile.vhds => {
                    prop_assert!(self.client.version(id).is_some(), "{:?} {:?}", id, self.client.profile);
                }
                _ => {
                    let version = self.client.version(id);
                    prop_assert_eq!(version, Some(entry.version()), "{:?} {:?}", id, self.client.profile);
                }
            }
        }
        self.check_nothing_else(world)
    }

    fn is_reachable(&self, id: &ResourceId) -> bool {
        let has = |kind, name: &str| self.client.version(&ResourceId::new(kind, name)).is_some();
        match id.kind {
            ResourceKind::Cluster | ResourceKind::Listener => true,
            ResourceKind::ClusterLoadAssignment => has(ResourceKind::Cluster, &id.name),
            ResourceKind::RouteConfiguration => has(ResourceKind::Listener, &id.name),
            ResourceKind::VirtualHost => has(ResourceKind::RouteConfiguration, id.name.split('/').next().unwrap()),
            ResourceKind::Secret | ResourceKind::ExtensionConfig => false,
        }
    }

    /// The shell that a virtual host would travel in is refused, and the server may know no older one that is not.
    fn is_shell_poisoned(&self, world: &World, host: &ResourceId) -> bool {
        let configuration = host.name.split('/').next().unwrap();
        let shell = world.store.get(&ResourceId::new(ResourceKind::RouteConfiguration, configuration));
        host.kind == ResourceKind::VirtualHost
            && !self.client.profile.vhds
            && shell.is_some_and(|shell| is_poisoned(ResourceKind::RouteConfiguration, &shell.resource.body))
    }

    fn check_nothing_else(&self, world: &World) -> Result<(), TestCaseError> {
        // A client that may have an older listener or route, and never gets a good one, keeps what that may name or
        // hold.
        let withheld = world.store.iter().any(|entry| {
            let blocked = entry.needs().iter().any(|need| world.store.get(need).is_none());
            blocked || is_poisoned(entry.resource.id.kind, &entry.resource.body)
        });
        if (self.resumed || !self.client.profile.vhds) && withheld {
            return Ok(());
        }
        // What a last good resource names stays as long as that does.
        let named: BTreeSet<String> = self.client.hosts().values().flat_map(clusters_of).collect();
        for kind in [ResourceKind::Cluster, ResourceKind::Listener, ResourceKind::RouteConfiguration] {
            for name in self.client.have.get(&kind).into_iter().flat_map(|have| have.keys()) {
                let id = ResourceId { kind, name: name.clone() };
                let kept = kind == ResourceKind::Cluster && (withheld || named.contains(&**name));
                let there = kept || world.store.get(&id).is_some();
                prop_assert!(there, "{:?} is gone, {:?} still has it", id, self.client.profile);
            }
        }
        for name in self.client.hosts().into_keys() {
            let id = ResourceId { kind: ResourceKind::VirtualHost, name };
            prop_assert!(world.store.get(&id).is_some(), "{:?} is gone, {:?} still has it", id, self.client.profile);
        }
        Ok(())
    }
}

/// Whether what it names has been in the store since a sequence.
fn has_needs(world: &World, entry: &Entry, sequence: u64) -> bool {
    let since = |need| world.store.get(need).is_some_and(|need: &Arc<Entry>| need.sequence <= sequence);
    entry
        .needs()
        .iter()
        .all(|need| if need.kind == ResourceKind::Secret { since(need) } else { world.store.get(need).is_some() })
}

fn run(profiles: &[(Profile, bool)], steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut now = Instant::now();
    let mut world = World::default();
    let mut peers: Vec<Peer> = profiles.iter().map(|(profile, partial)| Peer::new(*profile, *partial, now)).collect();
    let mut poisoned = HashSet::new();
    let count = peers.len();
    for step in steps {
        match step {
            Step::Edit(edits) => {
                let (sequence, changed) = world.edit(&edits);
                for entry in world.store.iter().filter(|entry| entry.sequence == sequence) {
                    if is_poisoned(entry.resource.id.kind, &entry.resource.body) {
                        poisoned.insert((entry.resource.id.clone(), entry.version().clone()));
                    }
                }
                for peer in &mut peers {
                    for id in &changed {
                        peer.inbox.entry(id.clone()).or_insert(sequence);
                    }
                }
            }
            Step::Notice(peer) => drop(peers[peer % count].step(&world, false, now)?),
            Step::Arrive(peer, n) => {
                for _ in 0..n {
                    peers[peer % count].step(&world, true, now)?;
                }
            }
            Step::Take(peer, kind) => drop(peers[peer % count].take(ResourceKind::ALL[kind])?),
            Step::Reconnect(peer, resume) => {
                let peer = &mut peers[peer % count];
                peer.reconnect(resume, now);
                // A client says at once all that it has.
                while !peer.client.requests.is_empty() {
                    peer.step(&world, true, now)?;
                }
            }
            Step::Pass(seconds) => now += Duration::from_secs(seconds),
        }
    }
    for peer in &mut peers {
        peer.settle(&world, now)?;
        for wait in [Duration::ZERO, DRAIN, DRAIN, NEED_TIMEOUT, DRAIN, DRAIN, NEED_TIMEOUT, DRAIN, DRAIN] {
            peer.settle(&world, now + wait)?;
            now += wait;
        }
        for nacked in &peer.nacked {
            prop_assert!(poisoned.contains(nacked), "{:?} is innocent", nacked);
        }
        peer.check_converged(&world)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_converges_and_never_breaks(
        profile in prop::sample::select(vec![DELTA_VHDS, DELTA, SOTW]),
        partial in any::<bool>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        run(&[(profile, partial)], steps)?;
    }
}
