//! Gateways: their listeners, their claim, their status.

mod address;
mod certificate;
mod claim;
mod conflict;
mod listener;
mod parent;
mod protocol;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{Gateway, GatewayStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::problem::Problem;
use crate::refs::Dependent;
use crate::route::RouteKind;
use crate::status::Pending;
use crate::world::{slim, uid};
use crate::{Attach, Change, Key};

pub(crate) use listener::ListenerVerdict;
pub(crate) use parent::{ParentId, ParentKind};

/// A Gateway, of any class.
#[derive(Debug)]
pub(crate) struct GatewayState {
    pub object: Arc<Gateway>,
    named: Named,
    /// What routes see; none: it isn't ours.
    pub view: Option<Arc<GatewayView>>,
    verdict: Option<Verdict>,
    /// Secrets that its accepted listeners use.
    used: Vec<Key>,
    pending: Pending<GatewayStatus>,
}

/// What a Gateway's spec names.
#[derive(Debug, Default, PartialEq)]
struct Named {
    class: Arc<str>,
    secrets: Vec<Key>,
    grants: Vec<(Arc<str>, Arc<str>)>,
    selects: bool,
}

/// What is known of a Gateway of ours without the platform.
#[derive(Debug)]
struct Verdict {
    accepted: Result<(), Problem>,
    listeners: Vec<ListenerVerdict>,
}

/// What routes depend on. As long as it stays equal, no route is looked at.
#[derive(Debug, PartialEq)]
pub(crate) struct GatewayView {
    pub controller: Arc<str>,
    /// Name of its claim; none while the Gateway isn't accepted.
    pub claim: Option<Arc<str>>,
    pub listeners: Vec<ListenerView>,
}

/// What routes depend on in a listener.
#[derive(Debug, PartialEq)]
pub(crate) struct ListenerView {
    pub name: Arc<str>,
    pub port: u16,
    /// Kinds of routes that it takes.
    pub kinds: Vec<RouteKind>,
    pub hostname: Option<String>,
    /// Whether TLS ends at the backends.
    pub passes_through: bool,
    pub namespaces: Namespaces,
}

/// Namespaces that a listener takes routes from.
#[derive(Debug, PartialEq)]
pub(crate) enum Namespaces {
    All,
    Own,
    Selected(LabelSelector),
    None,
}

impl Attach {
    pub(crate) fn take_gateway(&mut self, change: Change<Gateway>) {
        let object = match change {
            Change::Set(object) => slim(object),
            Change::Gone(key) => return self.remove_gateway(&key),
        };
        let key = Key::of(&object.metadata);
        let mut state = match self.gateways.remove(&key) {
            Some(old) if uid(&old.object.metadata) == uid(&object.metadata) => old,
            Some(old) => {
                self.gateways.insert(key.clone(), old);
                self.remove_gateway(&key);
                GatewayState::new(object.clone())
            }
            None => GatewayState::new(object.clone()),
        };
        let named = Named::of(&object);
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
        self.index_gateway(key, &state.named, &Named::default());
        self.use_secrets(key, &state.used, &[]);
        self.want_claim(key, &state.object, None);
        self.dirty.routes.extend(self.index.gateway_routes.of(key).cloned());
    }

    fn index_gateway(&mut self, key: &Key, old: &Named, new: &Named) {
        let class = |named: &Named| (!named.class.is_empty()).then(|| named.class.clone());
        self.index.class_gateways.replace(key, &class(old), &class(new));
        // The first to come and the last to go matter to the class.
        self.dirty.class_statuses.extend(class(old).into_iter().chain(class(new)));
        self.index.secret_gateways.replace(key, &old.secrets, &new.secrets);
        self.index.grants.replace(&Dependent::Gateway(key.clone()), &old.grants, &new.grants);
        if new.selects {
            self.index.selectors.insert(key.clone());
        } else {
            self.index.selectors.remove(key);
        }
    }

    pub(crate) fn evaluate_gateway(&mut self, key: &Key) {
        let Some(mut state) = self.gateways.remove(key) else { return };
        let object = state.object.clone();
        let class = self.class(&object.spec.gateway_class_name).cloned();
        let verdict = class.as_ref().map(|class| self.judge(key, &object, class));
        let view = class.zip(verdict.as_ref()).map(|(class, verdict)| {
            let claim = verdict.accepted.is_ok().then(|| self.claim_name(&object));
            Arc::new(GatewayView {
                controller: class.controller,
                claim,
                listeners: listener::views(&object.spec.listeners, &verdict.listeners),
            })
        });
        let used: Vec<Key> = verdict.as_ref().map(Verdict::used_secrets).unwrap_or_default();
        self.use_secrets(key, &state.used, &used);
        self.want_claim(key, &object, verdict.as_ref());
        if state.view != view {
            self.dirty.routes.extend(self.index.gateway_routes.of(key).cloned());
            state.view = view;
        }
        state.verdict = verdict;
        state.used = used;
        self.dirty.gateway_statuses.insert(key.clone());
        self.gateways.insert(key.clone(), state);
    }

    fn judge(&self, key: &Key, object: &Gateway, class: &crate::class::Verdict) -> Verdict {
        let id = ParentId::gateway(key.clone());
        let mut listeners: Vec<ListenerVerdict> =
            object.spec.listeners.iter().map(|l| listener::judge(&self.world, &id, &object.spec, l)).collect();
        conflict::Taken::default().place(&mut listeners);
        let accepted = class
            .accepted
            .clone()
            .map_err(|p| Problem::new(p.reason, format!("its GatewayClass isn't accepted: {}", p.message)))
            .and_then(|()| unsupported(object))
            .and_then(|()| address::check(&object.spec.addresses))
            .and_then(|()| any_valid(&listeners));
        Verdict { accepted, listeners }
    }

    fn use_secrets(&mut self, key: &Key, old: &[Key], new: &[Key]) {
        self.index.secret_users.replace(key, old, new);
        self.dirty.secrets.extend(old.iter().chain(new).cloned());
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
            pending: Pending::default(),
        }
    }
}

impl Verdict {
    /// The Secrets whose copies the platform needs.
    fn used_secrets(&self) -> Vec<Key> {
        if self.accepted.is_err() {
            return Vec::new();
        }
        let served = self.listeners.iter().filter(|l| l.is_served());
        served.flat_map(|l| &l.certificates).map(|c| c.secret.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Named {
    fn of(object: &Gateway) -> Self {
        let own: Arc<str> = object.metadata.namespace.as_deref().unwrap_or_default().into();
        let secrets: Vec<Key> = object.spec.listeners.iter().flat_map(|l| certificate::secrets(l, &own)).collect();
        let others: BTreeSet<Arc<str>> = secrets.iter().map(|s| s.namespace.clone()).filter(|n| *n != own).collect();
        Self {
            class: object.spec.gateway_class_name.as_str().into(),
            secrets,
            grants: others.into_iter().map(|other| (other, own.clone())).collect(),
            selects: object.spec.listeners.iter().any(listener::selects),
        }
    }
}

fn generation(object: &Gateway) -> i64 {
    object.metadata.generation.unwrap_or_default()
}

/// Fields of a Gateway that change what it does and that aren't supported: they are never ignored.
fn unsupported(object: &Gateway) -> Result<(), Problem> {
    let spec = &object.spec;
    if spec.infrastructure.as_ref().is_some_and(|i| i.parameters_ref.is_some()) {
        return Err(Problem::new(
            reason::INVALID_PARAMETERS,
            "spec.infrastructure.parametersRef: no kind of parameters is known to Foregate; remove the reference",
        ));
    }
    if spec.tls.as_ref().and_then(|tls| tls.backend.as_ref()).is_some_and(|b| b.client_certificate_ref.is_some()) {
        return Err(Problem::new(
            reason::UNSUPPORTED_VALUE,
            "spec.tls.backend.clientCertificateRef: client certificates to backends aren't supported; remove it",
        ));
    }
    Ok(())
}

fn any_valid(listeners: &[ListenerVerdict]) -> Result<(), Problem> {
    if listeners.iter().any(ListenerVerdict::is_valid) {
        return Ok(());
    }
    Err(Problem::new(reason::LISTENERS_NOT_VALID, "none of its listeners is valid; see their conditions"))
}
