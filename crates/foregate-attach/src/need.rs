//! Secrets, ConfigMaps and Services that something names. Only they are read: of the many others nobody here wants to
//! know.
//!
//! What names an object that isn't known yet is looked at once it is: until then it is as it was before.

use std::collections::{BTreeSet, HashMap};

use crate::backend::{BackendId, CaSource, TlsUser, Upstream};
use crate::route::RouteId;
use crate::{Attach, Input, Key};

/// An object that something names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Need {
    /// A Secret.
    Secret(Key),
    /// A ConfigMap.
    ConfigMap(Key),
    /// A Service, with its EndpointSlices.
    Service(Key),
}

/// A change of what is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeedChange {
    /// To be followed from now on. Once all that there is of it has been said, `Input::Known` with the same number is
    /// due; for a Service, `Input::Fetched`: what is said of it afterwards is said by whoever shows glimpses.
    Follow(Need, u64),
    /// Needs to be followed no more.
    Forget(Need),
}

/// What is needed, and whether it is known.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// With their numbers.
    needed: HashMap<Need, u64>,
    /// Those that aren't known yet.
    unknown: BTreeSet<Need>,
    /// How many of these are Services.
    unknown_services: usize,
    last: u64,
    /// What nobody has been told of yet.
    changes: Vec<NeedChange>,
}

impl Needs {
    fn await_one(&mut self, need: Need) {
        let is_service = matches!(need, Need::Service(_));
        if self.unknown.insert(need) && is_service {
            self.unknown_services += 1;
        }
    }

    fn know(&mut self, need: &Need) {
        if self.unknown.remove(need) && matches!(need, Need::Service(_)) {
            self.unknown_services -= 1;
        }
    }
}

/// What isn't looked at before something that it names is known.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub routes: BTreeSet<RouteId>,
    pub gateways: BTreeSet<Key>,
    pub directs: BTreeSet<Key>,
    pub policies: BTreeSet<Key>,
    pub xbackends: BTreeSet<Key>,
}

/// Takes what isn't held.
pub(crate) fn take_free<T: Ord>(dirty: &mut BTreeSet<T>, held: &BTreeSet<T>) -> BTreeSet<T> {
    let all = std::mem::take(dirty);
    if held.is_empty() {
        return all;
    }
    let (kept, free) = all.into_iter().partition(|one| held.contains(one));
    *dirty = kept;
    free
}

impl Attach {
    /// From now on says which Secrets, ConfigMaps and Services it needs, and is told of no others. To be called before
    /// all else.
    pub fn ask_for_needs(&mut self) {
        self.needs = Some(Needs::default());
        self.index.secret_parents.record();
        self.index.secret_classes.record();
        self.index.ca_users.record();
        self.index.secret_users.record();
        self.index.upstream_routes.record();
        self.index.upstream_parents.record();
        self.index.upstream_telemetry.record();
        self.index.upstream_backends.record();
    }

    /// Whether all that is needed is known.
    pub fn knows_its_needs(&self) -> bool {
        self.needs.as_ref().is_none_or(|needs| needs.unknown.is_empty())
    }

    /// Finds out what has come to be needed, or isn't any more.
    pub(crate) fn settle_needs(&mut self) {
        if self.needs.is_none() {
            return;
        }
        let index = &mut self.index;
        let secrets = index.secret_parents.recorded().into_iter().chain(index.secret_classes.recorded());
        let secrets = secrets.chain(index.secret_users.recorded());
        let mut touched: BTreeSet<Need> = secrets.map(Need::Secret).collect();
        touched.extend(self.index.ca_users.recorded().into_iter().filter_map(|source| match source {
            CaSource::Secret(key) => Some(Need::Secret(key)),
            CaSource::ConfigMap(key) => Some(Need::ConfigMap(key)),
            CaSource::TrustBundle(_) => None,
        }));
        let index = &mut self.index;
        let upstreams = index.upstream_routes.recorded().into_iter().chain(index.upstream_parents.recorded());
        let upstreams = upstreams.chain(index.upstream_backends.recorded()).chain(index.upstream_telemetry.recorded());
        touched.extend(upstreams.filter_map(|upstream| match upstream {
            Upstream::Service(key) => Some(Need::Service(key)),
            Upstream::Backend(_) | Upstream::XBackend(_) => None,
        }));
        touched.into_iter().for_each(|need| self.settle_need(need));
    }

    fn settle_need(&mut self, need: Need) {
        let is_needed = match &need {
            Need::Secret(key) => {
                self.index.secret_parents.has(key)
                    || self.index.secret_classes.has(key)
                    // As long as the platform has a copy that something uses.
                    || self.index.secret_users.has(key)
                    || self.index.ca_users.has(&CaSource::Secret(key.clone()))
            }
            Need::ConfigMap(key) => self.index.ca_users.has(&CaSource::ConfigMap(key.clone())),
            Need::Service(key) => {
                let upstream = Upstream::Service(key.clone());
                self.index.upstream_routes.has(&upstream)
                    || self.index.upstream_parents.has(&upstream)
                    || self.index.upstream_backends.has(&upstream)
                    || self.index.upstream_telemetry.has(&upstream)
            }
        };
        let Some(needs) = &mut self.needs else { return };
        if is_needed == needs.needed.contains_key(&need) {
            return;
        }
        if is_needed {
            needs.last += 1;
            needs.needed.insert(need.clone(), needs.last);
            needs.await_one(need.clone());
            needs.changes.push(NeedChange::Follow(need, needs.last));
            return;
        }
        needs.needed.remove(&need);
        needs.know(&need);
        match &need {
            Need::Secret(key) => {
                self.world.secrets.remove(key);
                self.dirty.secrets.insert(key.clone());
            }
            Need::ConfigMap(key) => {
                self.world.config_maps.remove(key);
            }
            Need::Service(key) => {
                self.unread(key);
                self.forget_said();
            }
        }
        if let Some(needs) = &mut self.needs {
            needs.changes.push(NeedChange::Forget(need));
        }
    }

    /// What is to be told.
    pub(crate) fn take_need_changes(&mut self) -> Vec<NeedChange> {
        self.needs.as_mut().map(|needs| std::mem::take(&mut needs.changes)).unwrap_or_default()
    }

    /// Takes changes without deciding anything, and says what is needed to decide.
    pub fn prepare(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<NeedChange> {
        for input in inputs {
            self.take(input);
        }
        for class in self.dirty.classes.clone() {
            self.index_class(&class);
        }
        for name in std::mem::take(&mut self.dirty.wanted) {
            self.resolve_wanted(&name);
        }
        self.settle_needs();
        self.take_need_changes()
    }

    /// Whether a Secret isn't known that will be.
    pub(crate) fn waits_for(&self, secret: &Key) -> bool {
        self.needs.as_ref().is_some_and(|needs| needs.unknown.contains(&Need::Secret(secret.clone())))
    }

    /// All that there is of an object was said.
    pub(crate) fn take_known(&mut self, need: &Need, number: u64) {
        let Some(needs) = &mut self.needs else { return };
        if needs.needed.get(need).is_some_and(|last| *last == number) {
            needs.know(need);
        }
        self.forget_said();
    }

    /// Whether what is said of an object is due, by the number that it was asked for by.
    pub(crate) fn is_awaited(&self, need: &Need, number: u64) -> bool {
        let needs = self.needs.as_ref();
        needs.is_some_and(|needs| needs.unknown.contains(need) && needs.needed.get(need) == Some(&number))
    }

    /// The number of the last need that has come up.
    pub(crate) fn last_need(&self) -> u64 {
        self.needs.as_ref().map_or(0, |needs| needs.last)
    }

    /// Whether a Service isn't known that will be.
    pub(crate) fn waits_for_services(&self) -> bool {
        self.needs.as_ref().is_some_and(|needs| needs.unknown_services > 0)
    }

    /// Whether a backend is used whose Service isn't known yet.
    pub(crate) fn waits_for_service_of(&self, id: &BackendId) -> bool {
        let (Some(needs), Upstream::Service(key)) = (&self.needs, &id.upstream) else { return false };
        let need = Need::Service(key.clone());
        (needs.unknown.contains(&need) || !needs.needed.contains_key(&need)) && self.is_used(id)
    }

    /// Whether an object is to be taken notice of: news of one that isn't needed any more come late.
    pub(crate) fn needs(&self, need: &Need) -> bool {
        self.needs.as_ref().is_none_or(|needs| needs.needed.contains_key(need))
    }

    /// What has to wait.
    pub(crate) fn held(&self) -> Held {
        let mut held = Held::default();
        for need in self.needs.iter().flat_map(|needs| &needs.unknown) {
            let source = match need {
                Need::Secret(key) => {
                    let parents = self.index.secret_parents.of(key);
                    held.gateways.extend(parents.filter_map(|parent| self.gateway_of(parent)));
                    CaSource::Secret(key.clone())
                }
                Need::ConfigMap(key) => CaSource::ConfigMap(key.clone()),
                Need::Service(key) => {
                    let upstream = Upstream::Service(key.clone());
                    held.routes.extend(self.index.upstream_routes.of(&upstream).cloned());
                    let parents = self.index.upstream_parents.of(&upstream);
                    held.gateways.extend(parents.filter_map(|parent| self.gateway_of(parent)));
                    held.gateways.extend(self.traced_to(&upstream).cloned());
                    continue;
                }
            };
            for user in self.index.ca_users.of(&source) {
                match user {
                    TlsUser::Backend(key) => held.directs.insert(key.clone()),
                    TlsUser::Gateway(key) => held.gateways.insert(key.clone()),
                    TlsUser::Policy(key) => held.policies.insert(key.clone()),
                    TlsUser::XBackend(key) => held.xbackends.insert(key.clone()),
                };
            }
        }
        held
    }
}
