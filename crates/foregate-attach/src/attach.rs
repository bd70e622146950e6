//! The whole: takes changes, finds what depends on them, says what follows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::backend::{DirectState, PolicyState, Source, TrafficState, Wanted, XBackendState};
use crate::class::ClassState;
use crate::dirty::Dirty;
use crate::gateway::{GatewayState, Infrastructure, ListenerSetState, ParentId};
use crate::glimpse::Glimpses;
use crate::need::{Needs, take_free};
use crate::refs::Index;
use crate::route::{Contention, RouteId, RouteKind, RouteState};
use crate::target::{TargetId, Targets};
use crate::telemetry::TelemetryState;
use crate::world::World;
use crate::{Input, Key, Output, Settings};

/// What one controller knows of its workload cluster, and what follows from it.
#[derive(Debug)]
pub struct Attach {
    pub(crate) settings: Settings,
    pub(crate) world: World,
    pub(crate) classes: HashMap<Arc<str>, ClassState>,
    pub(crate) gateways: HashMap<Key, GatewayState>,
    pub(crate) listener_sets: HashMap<Key, ListenerSetState>,
    pub(crate) infrastructure: Infrastructure,
    pub(crate) directs: HashMap<Key, DirectState>,
    pub(crate) policies: HashMap<Key, PolicyState>,
    pub(crate) traffic: HashMap<Key, TrafficState>,
    pub(crate) xbackends: HashMap<Key, XBackendState>,
    pub(crate) telemetry: HashMap<Key, TelemetryState>,
    pub(crate) routes: HashMap<RouteId, RouteState>,
    pub(crate) contention: Contention,
    pub(crate) index: Index,
    /// Backends that claims want, whatever routes name.
    pub(crate) wanted: Wanted,
    /// How many accepted routes are attached, by parent and listener.
    pub(crate) attached: HashMap<ParentId, BTreeMap<Arc<str>, i32>>,
    /// Names of what is derived from backends, EndpointSlices and Secrets.
    pub(crate) derived_names: HashMap<Source, Arc<str>>,
    /// The parts that the Pods of XBackends are in.
    pub(crate) pod_parts: HashMap<(TargetId, Key), Vec<Arc<str>>>,
    pub(crate) targets: Targets,
    /// Where claims are.
    pub(crate) claim_targets: HashMap<ParentId, TargetId>,
    pub(crate) dirty: Dirty,
    /// Classes that have a finalizer only because of what is on their platforms.
    pub(crate) leaving: BTreeSet<Arc<str>>,
    /// None: all that there is is fed.
    pub(crate) needs: Option<Needs>,
    pub(crate) glimpses: Glimpses,
    leads: bool,
}

impl Attach {
    /// An empty one.
    pub fn new(settings: Settings) -> Self {
        let targets = Targets::new(settings.default_target.as_ref());
        Self {
            settings,
            world: World::default(),
            classes: HashMap::new(),
            gateways: HashMap::new(),
            listener_sets: HashMap::new(),
            infrastructure: Infrastructure::default(),
            directs: HashMap::new(),
            policies: HashMap::new(),
            traffic: HashMap::new(),
            xbackends: HashMap::new(),
            telemetry: HashMap::new(),
            routes: HashMap::new(),
            contention: Contention::default(),
            index: Index::default(),
            wanted: Wanted::default(),
            attached: HashMap::new(),
            derived_names: HashMap::new(),
            pod_parts: HashMap::new(),
            targets,
            claim_targets: HashMap::new(),
            dirty: Dirty::default(),
            leaving: BTreeSet::new(),
            needs: None,
            glimpses: Glimpses::default(),
            leads: true,
        }
    }

    /// One that only watches until it [`Self::lead`]s: it keeps up, connects to targets, and says nothing to write.
    pub fn standby(settings: Settings) -> Self {
        Self { leads: false, ..Self::new(settings) }
    }

    /// From the next call of [`Self::apply`] on, says all that differs from what there is.
    pub fn lead(&mut self) {
        self.leads = true;
    }

    /// Takes changes, and says what follows from all of them together. `now` dates conditions whose status changes.
    ///
    /// The first call must be given all that exists, derived objects included. Later calls may hold any number of
    /// changes; taking many at once saves intermediate steps.
    pub fn apply(&mut self, inputs: impl IntoIterator<Item = Input>, now: &Time) -> Output {
        for input in inputs {
            self.take(input);
        }
        self.settle_needs();
        self.work();
        self.settle_needs();
        let needs = self.take_need_changes();
        if !self.leads {
            return Output { targets: self.targets.settle_connections(), needs, ..Output::default() };
        }
        let services = self.settle_infrastructure();
        let derived = self.targets.settle_books();
        // A target is dropped once its book is empty.
        let targets = self.targets.settle_connections();
        let finalizers = self.settle_finalizers();
        Output { derived, services, statuses: self.statuses(now), finalizers, targets, needs }
    }

    /// Whether a Gateway or ListenerSet names this Secret. Others needn't be fed.
    pub fn wants_secret(&self, key: &Key) -> bool {
        self.index.secret_parents.has(key)
    }

    pub(crate) fn take(&mut self, input: Input) {
        match input {
            Input::Known(need, number) => self.take_known(&need, number),
            Input::Fetched(fetched) => self.take_fetched(fetched),
            Input::GatewayClass(change) => self.take_class(change),
            Input::Release(release) => self.take_release(release),
            Input::Parameters(change) => self.take_parameters(change),
            Input::EnvoyProxy(change) => self.take_envoy_proxy(change),
            Input::Target(target, event) => self.take_target(target, event),
            Input::Gateway(change) => self.take_gateway(change),
            Input::ListenerSet(change) => self.take_listener_set(change),
            Input::HttpRoute(change) => self.take_route(RouteKind::Http, change),
            Input::GrpcRoute(change) => self.take_route(RouteKind::Grpc, change),
            Input::TlsRoute(change) => self.take_route(RouteKind::Tls, change),
            Input::TcpRoute(change) => self.take_route(RouteKind::Tcp, change),
            Input::UdpRoute(change) => self.take_route(RouteKind::Udp, change),
            Input::DirectBackend(change) => self.take_direct(change),
            Input::BackendTlsPolicy(change) => self.take_policy(change),
            Input::XBackend(change) => self.take_xbackend(change),
            Input::XBackendTrafficPolicy(change) => self.take_traffic(change),
            Input::XTelemetryPolicy(change) => self.take_telemetry(change),
            Input::Pod(change) => self.take_pod(change),
            Input::ClusterTrustBundle(change) => self.take_trust_bundle(change),
            Input::ConfigMap(change) => self.take_config_map(change),
            Input::Service(change) => {
                self.see_infrastructure(&change);
                self.take_service(change);
            }
            Input::EndpointSlice(change) => self.take_slice(change),
            Input::Secret(change) => self.take_secret(change),
            Input::ReferenceGrant(change) => self.take_grant(change),
            Input::Namespace(change) => self.take_namespace(change),
            Input::Claim(target, change) => self.take_claim_back(target, change),
            Input::Route(target, change) => self.take_route_back(target, change),
            Input::Backend(target, change) => self.take_backend_back(target, change),
            Input::Slice(target, change) => self.take_slice_back(target, change),
        }
    }

    /// Each stage may only make work for later ones; but a route, as well, for younger routes.
    fn work(&mut self) {
        for class in std::mem::take(&mut self.dirty.classes) {
            self.evaluate_class(&class);
        }
        let held = self.held();
        for backend in take_free(&mut self.dirty.directs, &held.directs) {
            self.evaluate_direct(&backend);
        }
        for policy in take_free(&mut self.dirty.policies, &held.policies) {
            self.evaluate_policy(&policy);
        }
        for backend in take_free(&mut self.dirty.xbackends, &held.xbackends) {
            self.evaluate_xbackend(&backend);
        }
        // They come after the backends that their filters name.
        for gateway in take_free(&mut self.dirty.gateways, &held.gateways) {
            self.evaluate_gateway(&gateway);
        }
        let mut waiting = Vec::new();
        while let Some(route) = self.dirty.routes.pop_first() {
            if held.routes.contains(&route) {
                waiting.push(route);
            } else {
                self.resolve_route(&route);
            }
        }
        self.dirty.routes.extend(waiting);
        for name in std::mem::take(&mut self.dirty.wanted) {
            self.resolve_wanted(&name);
        }
        for backend in std::mem::take(&mut self.dirty.pod_slices) {
            self.derive_pods(&backend);
        }
        for backend in std::mem::take(&mut self.dirty.backends) {
            if self.waits_for_service_of(&backend) {
                self.dirty.backends.insert(backend);
            } else {
                self.derive_backend(&backend);
            }
        }
        for slice in std::mem::take(&mut self.dirty.slices) {
            self.derive_slice(&slice);
        }
        for secret in std::mem::take(&mut self.dirty.secrets) {
            self.derive_secret(&secret);
        }
    }

    fn statuses(&mut self, now: &Time) -> Vec<crate::StatusChange> {
        let mut changes = Vec::new();
        for class in std::mem::take(&mut self.dirty.class_statuses) {
            changes.extend(self.class_status(&class, now));
        }
        for gateway in std::mem::take(&mut self.dirty.gateway_statuses) {
            changes.extend(self.gateway_status(&gateway, now));
        }
        for set in std::mem::take(&mut self.dirty.listener_set_statuses) {
            changes.extend(self.listener_set_status(&set, now));
        }
        for route in std::mem::take(&mut self.dirty.route_statuses) {
            changes.extend(self.route_status(&route, now));
        }
        for backend in std::mem::take(&mut self.dirty.direct_statuses) {
            changes.extend(self.direct_status(&backend, now));
        }
        for policy in std::mem::take(&mut self.dirty.policy_statuses) {
            changes.extend(self.policy_status(&policy, now));
        }
        for policy in std::mem::take(&mut self.dirty.traffic_statuses) {
            changes.extend(self.traffic_status(&policy, now));
        }
        for backend in std::mem::take(&mut self.dirty.xbackend_statuses) {
            changes.extend(self.xbackend_status(&backend, now));
        }
        for policy in std::mem::take(&mut self.dirty.telemetry_statuses) {
            changes.extend(self.telemetry_status(&policy, now));
        }
        changes
    }
}
