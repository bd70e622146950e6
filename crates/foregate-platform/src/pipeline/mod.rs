//! The one task's state: what the API holds, what follows from it, what is published and what is to be written.
//!
//! No I/O in here. [`Pipeline::take`] takes in what has happened, [`Pipeline::step`] draws the consequences of all of it
//! at once: first what is published (so that a route's change is on its way to the engines at once), then what is
//! written. Everything is level-triggered: a gateway that something touched is looked at as a whole, and what is there
//! already is neither published nor written again.
//!
//! One file per step: `observe` (what a change touches), `pace` (endpoints of very large Services), `shape` (claims to gateway, addresses, instances), `address`,
//! `publish` (translation, sequences), `pin`, `flow` and `wanted` (gateways held at a
//! revision), `engines` (what they say), `trial` (who is to blame among several), `dissent` (who refuses what others have taken), `report` (statuses), `copies` (Secrets
//! that nobody needs).

mod address;
mod copies;
mod dissent;
mod engines;
mod flow;
pub(crate) mod gateway;
mod handed;
pub(crate) mod last_good;
mod observe;
mod pace;
mod patience;
mod pin;
mod publish;
mod readiness;
mod refusal;
mod report;
mod shape;
mod trial;
mod wanted;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use foregate_api::address::{Address, AddressPool, ProxyRef};
use foregate_api::{
    GatewayBackend, GatewayClaim, GatewayEndpointSlice, GatewayInstance, GatewayNode, GatewayProxy, GatewayRoute,
    GatewayTemplate,
};
use foregate_translate::{ObjectRef, Translator};
use foregate_xds::{Cache, Event};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use crate::PlatformOptions;
use crate::certificate::Expiries;
use crate::keeper::{Rebuilt, Record, Step};
use crate::outbox::{Kind, Outbox, Target, Write};
use crate::presence::Presences;
use crate::store::{Key, Seen, Store};
use address::Pools;
use copies::Copies;
use gateway::Gateway;
use pace::Pace;
use patience::Patience;
use readiness::Readiness;
use wanted::Waiting;

/// A change in the API.
#[derive(Debug)]
pub(crate) enum Observation {
    Claim(Seen<GatewayClaim>),
    Proxy(Seen<GatewayProxy>),
    Address(Seen<Address>),
    Pool(Seen<AddressPool>),
    Template(Seen<GatewayTemplate>),
    Instance(Seen<GatewayInstance>),
    Node(Seen<GatewayNode>),
    Route(Seen<GatewayRoute>),
    Backend(Seen<GatewayBackend>),
    Slice(Seen<GatewayEndpointSlice>),
    Secret(Seen<Secret>),
}

/// How many kinds are watched: so many first lists must be there before anything is done.
pub(crate) const KINDS: usize = 11;

/// The server's answer to a create or a patch.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Claim(Arc<GatewayClaim>),
    Proxy(Arc<GatewayProxy>),
    Address(Arc<Address>),
    Pool(Arc<AddressPool>),
    Instance(Arc<GatewayInstance>),
    Route(Arc<GatewayRoute>),
    Backend(Arc<GatewayBackend>),
    Secret(Arc<Secret>),
}

/// How a write ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Created or patched.
    Written(Box<Object>),
    /// There is no such object, or not any more.
    Missing,
    /// There is one of that name already, or the UID is another's.
    Conflict,
    /// Anything else; it is tried again.
    Failed(String),
}

/// Something that has happened.
#[derive(Debug)]
pub(crate) enum Input {
    Observed(Observation),
    Xds(Event),
    Done(Target, Write, Outcome),
    /// What a revision was.
    Rebuilt(Rebuilt),
    /// Look at everything again.
    Resync,
}

/// The state of the platform.
pub(crate) struct Pipeline {
    options: PlatformOptions,
    cache: Cache,
    translator: Translator,
    stores: Stores,
    /// Kinds whose first list is here.
    listed: usize,
    started: bool,
    readiness: Readiness,
    gateways: HashMap<ProxyRef, Gateway>,
    pools: Pools,
    presences: Presences,
    outbox: Outbox,
    patience: Patience,
    /// Why objects couldn't be created at the last attempt.
    failures: HashMap<Target, String>,
    /// What translation or an engine says against objects.
    problems: HashMap<ObjectRef, String>,
    /// For the translator, since the last step.
    changes: Vec<foregate_translate::Input>,
    /// Gateways to be shaped anew.
    reshape: BTreeSet<ProxyRef>,
    /// Gateways whose statuses are to be looked at.
    restate: BTreeSet<ProxyRef>,
    /// Routes and backends whose statuses are to be looked at.
    reconsider: BTreeSet<Target>,
    /// Gateways that lack an address.
    unmet: BTreeSet<ProxyRef>,
    /// Who is under suspicion: nothing is said of them before the search is over.
    suspects: HashSet<Arc<str>>,
    /// Gateways whose searches have let somebody go in this step.
    on_trial: BTreeSet<ProxyRef>,
    /// Gateways that aren't held at a revision any more.
    unpinned: BTreeSet<ProxyRef>,
    /// Gateways of which it is to be found out what the revision was that they are pinned at.
    asking: BTreeSet<ProxyRef>,
    /// The answers.
    rebuilt: Vec<Rebuilt>,
    /// Answers that can't be served yet: backends that only they need are being derived.
    waiting: BTreeMap<ProxyRef, Waiting>,
    /// When held gateways' endpoints are over whose backends went.
    fading: BTreeSet<(Instant, ProxyRef)>,
    /// Tenants whose endpoints or secrets have changed.
    stirred: BTreeSet<String>,
    /// Slices on their way to translation.
    pace: Pace,
    /// Secrets that nobody needs any more.
    copies: Copies,
    /// When certificates expire.
    expiries: Expiries,
    /// Gateways of which nothing is left.
    gone: Vec<ProxyRef>,
    /// What this step has published, for ConfigRevisions.
    steps: BTreeMap<ProxyRef, Step>,
    records: Vec<Record>,
}

#[derive(Default)]
pub(crate) struct Stores {
    claims: Store<GatewayClaim>,
    proxies: Store<GatewayProxy>,
    addresses: Store<Address>,
    pools: Store<AddressPool>,
    templates: Store<GatewayTemplate>,
    instances: Store<GatewayInstance>,
    nodes: Store<GatewayNode>,
    routes: Store<GatewayRoute>,
    backends: Store<GatewayBackend>,
    slices: Store<GatewayEndpointSlice>,
    secrets: Store<Secret>,
}

/// What a step wants done outside.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub writes: Vec<(Target, Write)>,
    pub records: Vec<Record>,
    /// All that was there at the start serves from now on; said once.
    pub serving: bool,
}

impl Pipeline {
    pub(crate) fn new(options: PlatformOptions, cache: Cache, now: Instant) -> Self {
        let translator = Translator::new(foregate_translate::Options { port_offset: options.port_offset });
        let presences = Presences::new(now, options.settle, options.reconnect_grace);
        Self {
            options,
            cache,
            translator,
            stores: Stores::default(),
            listed: 0,
            started: false,
            readiness: Readiness::default(),
            gateways: HashMap::new(),
            pools: Pools::default(),
            presences,
            outbox: Outbox::default(),
            patience: Patience::default(),
            failures: HashMap::new(),
            problems: HashMap::new(),
            changes: Vec::new(),
            reshape: BTreeSet::new(),
            restate: BTreeSet::new(),
            reconsider: BTreeSet::new(),
            unmet: BTreeSet::new(),
            suspects: HashSet::new(),
            on_trial: BTreeSet::new(),
            unpinned: BTreeSet::new(),
            asking: BTreeSet::new(),
            rebuilt: Vec::new(),
            waiting: BTreeMap::new(),
            fading: BTreeSet::new(),
            stirred: BTreeSet::new(),
            pace: Pace::default(),
            copies: Copies::default(),
            expiries: Expiries::default(),
            gone: Vec::new(),
            steps: BTreeMap::new(),
            records: Vec::new(),
        }
    }

    /// Takes in what has happened, without acting on it.
    pub(crate) fn take(&mut self, input: Input, now: Instant, clock: Timestamp) {
        match input {
            Input::Observed(observation) => self.observe(observation),
            Input::Xds(event) => self.heard(event, now, clock),
            Input::Done(target, write, outcome) => self.done(&target, &write, outcome, now),
            Input::Rebuilt(answer) => self.rebuilt.push(answer),
            Input::Resync => {
                self.reshape.extend(self.gateways.keys().cloned());
                self.pools.rebuild(&self.stores.pools, &self.stores.addresses);
            }
        }
    }

    /// Draws the consequences of all that was taken in: publishes at once, and returns what is to be written now.
    pub(crate) fn step(&mut self, now: Instant, clock: Timestamp) -> Effects {
        if self.listed < KINDS {
            return Effects::default();
        }
        let first = !self.started;
        if first {
            self.begin();
        }
        let expired = self.presences.expire(now);
        self.restate.extend(expired);
        self.restate.extend(self.patience.expire(now));
        for namespace in self.expiries.expire(now, clock) {
            self.restate.extend(self.gateways.keys().filter(|it| it.namespace == namespace).cloned());
        }
        self.slices_changed(now);
        self.shape_all(now);
        self.publish(now);
        if first {
            // From here on streams are answered: everything that there is, is published.
            self.cache.start();
            self.started = true;
        }
        self.remove_copies(now);
        self.report(now, clock);
        let serving = self.begins_to_serve();
        Effects { writes: self.outbox.take_due(now), records: std::mem::take(&mut self.records), serving }
    }

    /// When [`Pipeline::step`] has something to do even if nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if !self.started {
            return None;
        }
        let (presences, patience) = (self.presences.next_deadline(), self.patience.next_deadline());
        let pace = self.pace.next_deadline();
        let others = [presences, patience, self.expiries.next_deadline(), self.copies.next_deadline(), pace];
        let fading = self.fading.first().map(|(at, _)| *at);
        let waiting = self.waiting.values().map(Waiting::until).chain(fading);
        self.outbox.next_due().into_iter().chain(waiting).chain(others.into_iter().flatten()).min()
    }

    /// What only a start has to do: instances that were there are expected back, and objects that an engine refused
    /// stay refused until their next generation.
    fn begin(&mut self) {
        self.pools.rebuild(&self.stores.pools, &self.stores.addresses);
        for (_, instance) in self.stores.instances.iter() {
            let proxy = self.stores.proxies.get(&Key::from(&instance.spec.proxy));
            let served =
                proxy.and_then(|proxy| proxy.status.as_ref()).is_some_and(|status| status.instances.connected > 0);
            if served || instance.status.as_ref().is_some_and(|status| status.connected || status.ready) {
                self.presences.recall(&instance.spec.proxy, &instance.spec.node);
            }
        }
        let refused = self.stores.routes.iter().filter_map(|(_, route)| refusal::remembered(route));
        self.changes.extend(refused);
        tracing::info!(
            claims = self.stores.claims.len(),
            gateways = self.stores.proxies.len(),
            routes = self.stores.routes.len(),
            "caught up with the API"
        );
    }

    fn done(&mut self, target: &Target, write: &Write, outcome: Outcome, now: Instant) {
        let failed = matches!(outcome, Outcome::Failed(_) | Outcome::Conflict);
        self.outbox.done(target, failed, now);
        self.failures.remove(target);
        match outcome {
            Outcome::Written(object) => self.written(*object),
            Outcome::Missing => self.missing(target, write),
            Outcome::Conflict => self.conflict(target, write),
            Outcome::Failed(error) => {
                tracing::warn!(kind = ?target.kind, object = %target.key, error, "a write failed; it is tried again");
                let creates =
                    matches!(write, Write::CreateProxy(_) | Write::CreateAddress(_) | Write::CreateInstance(_));
                if creates {
                    self.failures.insert(target.clone(), error);
                }
            }
        }
        self.touch(target, write);
    }

    /// Looks again at whatever decides on this object.
    fn touch(&mut self, target: &Target, write: &Write) {
        match target.kind {
            Kind::Route | Kind::Backend => drop(self.reconsider.insert(target.clone())),
            Kind::Pool => self.pools.touch(&target.key.name),
            Kind::Secret => {}
            Kind::Claim => {
                let claim = self.stores.claims.get(&target.key);
                self.restate.extend(claim.map(|claim| crate::bind::proxy_of(claim)));
            }
            Kind::Proxy => drop(self.reshape.insert(proxy_ref(&target.key))),
            Kind::Instance | Kind::Address => self.reshape.extend(self.decider(target, write)),
        }
    }

    /// The gateway that an Address or GatewayInstance belongs or is to belong to.
    fn decider(&self, target: &Target, write: &Write) -> Option<ProxyRef> {
        match write {
            Write::CreateAddress(address) => address.spec.proxy.clone(),
            Write::CreateInstance(instance) => Some(instance.spec.proxy.clone()),
            _ if target.kind == Kind::Address => self.stores.addresses.get(&target.key)?.spec.proxy.clone(),
            _ => self.stores.instances.get(&target.key).map(|instance| instance.spec.proxy.clone()),
        }
    }
}

fn proxy_ref(key: &Key) -> ProxyRef {
    ProxyRef { namespace: key.namespace.clone(), name: key.name.clone() }
}

#[cfg(test)]
mod tests;
