//! Gateways and their ListenerSets: listeners, claims, statuses.

mod address;
mod certificate;
mod claim;
mod conflict;
mod filters;
mod frontend;
mod heard;
mod infrastructure;
mod listener;
mod listener_set;
mod listener_status;
mod parameters;
mod parent;
mod protocol;
mod set_status;
mod status;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use foregate_api::claim::ClaimInfrastructure;
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{FromNamespaces, Gateway, GatewaySpec, GatewayStatus};

use crate::backend::{BackendId, CaSource, TlsUser, Upstream};
use crate::parameters::ParametersId;
use crate::problem::Problem;
use crate::refs::Dependent;
use crate::route::DEFAULT_SCOPE;
use crate::status::Pending;
use crate::world::{slim, uid};
use crate::{Attach, Change, Key};

use certificate::Certificate;
use conflict::Taken;
use frontend::Frontend;
use listener::Verdict;
use listener_set::{Basis, Parent};

pub(crate) use infrastructure::Infrastructure;
pub(crate) use listener::ListenerVerdict;
pub(crate) use listener_set::ListenerSetState;
pub(crate) use parent::{ParentId, ParentKind};
pub(crate) use view::{ListenerView, Namespaces, ParentView};

/// A Gateway, of any class.
#[derive(Debug)]
pub(crate) struct GatewayState {
    pub object: Arc<Gateway>,
    named: Named,
    /// What routes see; none: it isn't ours.
    pub view: Option<Arc<ParentView>>,
    verdict: Option<GatewayVerdict>,
    /// Secrets that it and its accepted listeners use.
    used: Vec<Key>,
    /// Backends that its claim names.
    backends: Vec<BackendId>,
    /// What its parameters have led to.
    led: Option<parameters::Led>,
    pending: Pending<GatewayStatus>,
}

/// What a Gateway's spec names.
#[derive(Debug, Default, PartialEq)]
struct Named {
    class: Arc<str>,
    parameters: Option<ParametersId>,
    secrets: Vec<Key>,
    cas: Vec<CaSource>,
    upstreams: Vec<Upstream>,
    grants: Vec<(Arc<str>, Arc<str>)>,
    selects: bool,
    selects_sets: bool,
    /// Whether routes attach to it that ask for default Gateways.
    is_default: bool,
}

/// What is known of a Gateway of ours without the platform.
#[derive(Debug)]
struct GatewayVerdict {
    common: Verdict,
    /// What it shows to backends, if it names something.
    client_certificate: Option<Result<Certificate, Problem>>,
    /// Clients are let in without a valid certificate though they are asked for one.
    is_insecure: bool,
    /// How many ListenerSets are attached.
    attached_sets: i32,
    /// What is wrong with its parameters though it is served.
    parameters_problem: Option<Problem>,
    /// What is to be told of its parameters though all is well.
    note: Option<&'static str>,
}

impl Attach {
    pub(crate) fn take_gateway(&mut self, change: Change<Gateway>) {
        let object = match change {
            Change::Set(object) => slim(object),
            Change::Gone(key) => return self.remove_gateway(&key),
        };
        let key = Key::of(&object.metadata);
        if self.gateways.get(&key).is_some_and(|old| uid(&old.object.metadata) != uid(&object.metadata)) {
            self.remove_gateway(&key);
        }
        let mut state = self.gateways.remove(&key).unwrap_or_else(|| GatewayState::new(object.clone()));
        let named = Named::of(&ParentId::gateway(key.clone()), &object.spec);
        if named != state.named {
            self.index_gateway(&key, &state.named, &named);
            state.named = named;
        }
        // A change of the status or of labels leads to nothing but a look at the status.
        if state.verdict.is_none()
            || state.object.spec != object.spec
            || generation(&state.object) != generation(&object)
        {
            self.dirty.gateways.insert(key.clone());
        }
        self.dirty.gateway_statuses.insert(key.clone());
        state.object = object;
        self.gateways.insert(key, state);
    }

    fn remove_gateway(&mut self, key: &Key) {
        let Some(state) = self.gateways.remove(key) else { return };
        let id = ParentId::gateway(key.clone());
        self.index_gateway(key, &state.named, &Named::default());
        self.use_secrets(&id, &state.used, &[]);
        self.use_claim_backends(&id, &state.backends, &[]);
        self.want_infrastructure(&state.object, None);
        self.want_claim(&id, &state.object.metadata, None);
        self.mark_routes_of(&id);
        // Its ListenerSets lose their parent.
        self.dirty.gateways.insert(key.clone());
    }

    fn index_gateway(&mut self, key: &Key, old: &Named, new: &Named) {
        let id = ParentId::gateway(key.clone());
        let class = |named: &Named| (!named.class.is_empty()).then(|| named.class.clone());
        self.index.class_gateways.replace(key, &class(old), &class(new));
        // The first to come and the last to go matter to the class.
        self.dirty.class_statuses.extend(class(old).into_iter().chain(class(new)));
        self.index.parameters_gateways.replace(key, &old.parameters, &new.parameters);
        self.index.secret_parents.replace(&id, &old.secrets, &new.secrets);
        self.index.ca_users.replace(&TlsUser::Gateway(key.clone()), &old.cas, &new.cas);
        self.index.upstream_parents.replace(&id, &old.upstreams, &new.upstreams);
        old.upstreams.iter().chain(&new.upstreams).for_each(|upstream| self.mark_policies(upstream));
        self.index.grants.replace(&Dependent::Parent(id.clone()), &old.grants, &new.grants);
        if new.selects {
            self.index.selectors.insert(id);
        } else {
            self.index.selectors.remove(&id);
        }
        if old.is_default != new.is_default {
            let defaults = &mut self.index.default_gateways;
            let _ = if new.is_default { defaults.insert(key.clone()) } else { defaults.remove(key) };
            self.dirty.routes.extend(self.index.default_routes.iter().cloned());
        }
        if new.selects_sets {
            self.index.set_selectors.insert(key.clone());
        } else {
            self.index.set_selectors.remove(key);
        }
    }

    /// Looks at a Gateway and its ListenerSets.
    pub(crate) fn evaluate_gateway(&mut self, key: &Key) {
        self.dirty.telemetry_statuses.extend(self.index.gateway_telemetry.of(key).cloned());
        let Some(mut state) = self.gateways.remove(key) else {
            self.evaluate_sets(key, Parent::Missing, &mut Taken::default());
            return;
        };
        let (id, object, mut taken) = (ParentId::gateway(key.clone()), state.object.clone(), Taken::default());
        let class = self.class(&object.spec.gateway_class_name).cloned();
        let mut found = parameters::find(&self.world, &object.spec, &key.namespace, state.led.as_ref());
        state.led = found.led.take();
        let judged = class.map(|class| self.judge(&id, &object, class, found, &mut taken));
        let (mut verdict, basis) = judged.unzip();
        let view = basis.as_ref().zip(verdict.as_ref()).map(|(basis, verdict): (&Arc<Basis>, &GatewayVerdict)| {
            Arc::new(basis.view(&basis.claim, &object.spec.listeners, &verdict.common))
        });
        let used: Vec<Key> = verdict.as_ref().map(GatewayVerdict::used_secrets).unwrap_or_default();
        let mut backends = verdict.as_ref().map(|verdict| verdict.common.used_backends()).unwrap_or_default();
        let accepted = basis.as_ref().filter(|basis| basis.accepted.is_ok());
        backends.extend(accepted.and_then(|basis| basis.telemetry.backend.clone()));
        let wanted = verdict.as_ref().map(|verdict| &verdict.common).zip(basis.as_deref());
        self.want_infrastructure(&object, accepted.map(|basis| &basis.controller));
        self.want_claim(&id, &object.metadata, wanted.filter(|(verdict, _)| verdict.accepted.is_ok()));
        self.use_secrets(&id, &state.used, &used);
        self.use_claim_backends(&id, &state.backends, &backends);
        if state.view != view {
            state.named.upstreams.iter().for_each(|upstream| self.mark_policies(upstream));
            self.mark_routes_of(&id);
            state.view = view;
        }
        let attached = self.evaluate_sets(key, basis.as_ref().map_or(Parent::Foreign, Parent::Ours), &mut taken);
        if let Some(verdict) = &mut verdict {
            verdict.attached_sets = attached;
            let overlaps = taken.overlaps();
            overlaps.mark(&mut verdict.common.listeners);
            self.mark_overlaps_of_sets(key, &overlaps);
        }
        (state.verdict, state.used, state.backends) = (verdict, used, backends);
        self.dirty.gateway_statuses.insert(key.clone());
        self.gateways.insert(key.clone(), state);
    }

    /// Looks at the ListenerSets of a Gateway. Returns how many are attached.
    fn evaluate_sets(&mut self, gateway: &Key, parent: Parent<'_>, taken: &mut Taken) -> i32 {
        let mut attached = 0;
        for set in self.sets_of(gateway) {
            attached += i32::from(self.evaluate_listener_set(&set, parent, taken));
        }
        attached
    }

    fn judge(
        &self,
        id: &ParentId,
        object: &Gateway,
        class: crate::class::Verdict,
        found: parameters::Found,
        taken: &mut Taken,
    ) -> (GatewayVerdict, Arc<Basis>) {
        let spec = &object.spec;
        let frontend = Frontend::resolve(&self.world, id, spec);
        let judged = spec.listeners.iter().map(|l| listener::judge(&self.world, id, &frontend, l));
        let mut listeners: Vec<ListenerVerdict> = judged.collect();
        taken.place(&mut listeners);
        let placement = class.accepted.clone().unwrap_or_default();
        let (placement, note) = match &found.parameters {
            Ok(parameters) => (parameters.apply(placement), parameters.note),
            Err(_) => (placement, None),
        };
        self.resolve_listeners_filters(id, placement.target, &mut listeners);
        let accepted = class
            .accepted
            .map_err(|p| Problem::new(p.reason, format!("its GatewayClass isn't accepted: {}", p.message)))
            .and_then(|_| found.parameters.map(|_| ()))
            .and_then(|()| address::check(&spec.addresses))
            .and_then(|()| any_valid(&listeners));
        let client_certificate = certificate::of_client(&self.world, id, spec);
        let claim = self.claim_name(placement.target, &object.metadata);
        let telemetry = self.resolve_telemetry(&id.key, placement.target);
        let basis = Basis {
            gateway: id.key.clone(),
            controller: class.controller,
            accepted: accepted.clone(),
            allowed: spec.allowed_listeners.clone(),
            sharing_key: placement.shared.clone().unwrap_or_else(|| claim.clone()),
            claim,
            placement,
            addresses: address::requested(&spec.addresses),
            client_certificate: client_certificate.as_ref().and_then(|c| c.as_ref().ok()).cloned(),
            infrastructure: infrastructure(spec),
            telemetry,
            frontend,
        };
        let is_insecure = basis.frontend.is_insecure();
        let common = Verdict { accepted, listeners };
        let verdict = GatewayVerdict {
            common,
            client_certificate,
            is_insecure,
            attached_sets: 0,
            parameters_problem: found.problem,
            note,
        };
        (verdict, Arc::new(basis))
    }
}

impl GatewayState {
    fn new(object: Arc<Gateway>) -> Self {
        Self {
            object,
            named: Named::default(),
            view: None,
            verdict: None,
            used: Vec::new(),
            backends: Vec::new(),
            led: None,
            pending: Pending::default(),
        }
    }
}

impl GatewayVerdict {
    /// The Secrets whose copies the platform needs.
    fn used_secrets(&self) -> Vec<Key> {
        let mut used = self.common.used_secrets();
        let shown = self.client_certificate.as_ref().and_then(|c| c.as_ref().ok());
        used.extend(shown.filter(|_| self.common.accepted.is_ok()).map(|c| c.secret.clone()));
        used.into_iter().collect()
    }
}

impl Named {
    fn of(id: &ParentId, spec: &GatewaySpec) -> Self {
        let own = &id.key.namespace;
        let mut secrets: Vec<Key> = spec.listeners.iter().flat_map(|l| certificate::secrets(l, own)).collect();
        secrets.extend(certificate::client_secret(spec, own));
        let cas = frontend::sources(id, spec);
        secrets.extend(cas.iter().filter_map(|source| match source {
            CaSource::Secret(key) => Some(key.clone()),
            _ => None,
        }));
        let upstreams = filters::upstreams(&spec.listeners, own);
        let trusted = cas.iter().filter_map(frontend::named);
        let named = secrets.iter().chain(trusted).chain(upstreams.iter().map(Upstream::key)).map(|key| &key.namespace);
        let others: BTreeSet<Arc<str>> = named.filter(|n| *n != own).cloned().collect();
        let from = spec.allowed_listeners.as_ref().and_then(|a| a.namespaces.as_ref()).and_then(|n| n.from);
        Self {
            class: spec.gateway_class_name.as_str().into(),
            parameters: parameters::named(spec, own),
            grants: others.into_iter().map(|other| (other, own.clone())).collect(),
            selects: spec.listeners.iter().any(view::selects),
            selects_sets: from == Some(FromNamespaces::Selector),
            is_default: spec.default_scope.as_deref() == Some(DEFAULT_SCOPE),
            cas,
            upstreams,
            secrets,
        }
    }
}

fn generation(object: &Gateway) -> i64 {
    object.metadata.generation.unwrap_or_default()
}

fn infrastructure(spec: &GatewaySpec) -> Option<ClaimInfrastructure> {
    let given = spec.infrastructure.as_ref()?;
    let handed_on = ClaimInfrastructure { labels: given.labels.clone(), annotations: given.annotations.clone() };
    (handed_on != ClaimInfrastructure::default()).then_some(handed_on)
}

fn any_valid(listeners: &[ListenerVerdict]) -> Result<(), Problem> {
    if listeners.iter().any(ListenerVerdict::is_valid) {
        return Ok(());
    }
    Err(Problem::new(reason::LISTENERS_NOT_VALID, "none of its listeners is valid; see their conditions"))
}
