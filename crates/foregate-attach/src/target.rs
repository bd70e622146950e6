//! Targets: where gateways run. A target is a tenant of a platform, and who this workload cluster is there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use foregate_api::claim::GatewayClaimStatus;
use foregate_api::route::GatewayRouteStatus;

use crate::DerivedChange;
use crate::backend::Upstream;
use crate::book::Book;
use crate::gateway::ParentId;
use crate::route::RouteId;
use crate::settings::DefaultTarget;
use crate::{Key, certificate};

/// A target. One that is no longer there isn't given to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(u32);

impl TargetId {
    /// That of classes without parameters.
    pub const DEFAULT: Self = Self(0);
}

/// How a target is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    /// The platform's API, `https://host:port`.
    pub url: String,
    /// Certificates that the platform's is verified by, as PEM.
    pub ca_certificates: String,
    /// The cluster's certificate chain, as PEM.
    pub certificate: Vec<u8>,
    /// Its key, as PEM.
    pub key: Vec<u8>,
    /// The Secret that both are in.
    pub secret: Key,
    /// Its `resourceVersion`.
    pub secret_version: String,
    /// Namespace of the derived objects.
    pub namespace: String,
    /// Name of this workload cluster there.
    pub cluster: String,
    /// The GatewayTemplates that must be there.
    pub templates: BTreeSet<String>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("url", &self.url)
            .field("namespace", &self.namespace)
            .field("cluster", &self.cluster)
            .field("templates", &self.templates)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// From when until when the certificate is good, in seconds since 1970; none: it can't be read.
    pub fn validity(&self) -> Option<std::ops::Range<i64>> {
        certificate::validity(&self.certificate)
    }
}

/// What is to be done about a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetChange {
    /// To be connected to, checked, and followed; or, if it is already, with what changed.
    Connect(TargetId, Arc<Connection>),
    /// Nothing is wanted of it, and nothing is there any more.
    Drop(TargetId),
}

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetEvent {
    /// Every derived object that it has was said. Nothing is written to it before.
    Listed,
    /// What a check of it found, whenever that is something else than before.
    Checked(Health),
    /// Why its credential isn't renewed though it is time; none: it is, or was.
    Renewal(Option<String>),
}

/// What a check of a target found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It takes what is written.
    Good {
        /// Templates that were asked for and aren't there.
        missing_templates: BTreeSet<String>,
    },
    /// It answers, and won't do until somebody changes something: credentials, certificates, tenant.
    Refused(String),
    /// It answers, and says that the cluster was removed there, with all that it had written.
    Disowned(String),
    /// It doesn't answer.
    Away(String),
}

/// One target.
#[derive(Debug, Default)]
pub(crate) struct TargetState {
    /// Name of this workload cluster there: a part of every derived name.
    pub cluster: String,
    /// Namespace of the derived objects.
    pub namespace: String,
    pub book: Book,
    pub feedback: Feedback,
    /// What the last check found.
    pub health: Option<Health>,
    /// Why the credential isn't renewed.
    pub stale: Option<String>,
    /// Whether all derived objects are known that are there.
    is_open: bool,
    /// Classes that have their gateways there, and how each says that it is reached.
    users: BTreeMap<Arc<str>, Connection>,
    /// What the shell was told last.
    told: Option<Arc<Connection>>,
}

/// What the platform says of derived objects, by their names, and whom it concerns.
#[derive(Debug, Default)]
pub(crate) struct Feedback {
    pub claims: HashMap<Arc<str>, ClaimFeedback>,
    pub claim_parents: HashMap<Arc<str>, ParentId>,
    pub routes: HashMap<Arc<str>, GatewayRouteStatus>,
    pub route_ids: HashMap<Arc<str>, RouteId>,
    /// Backends that an engine refused.
    pub backends: HashMap<Arc<str>, BackendFeedback>,
}

/// What an engine has against a backend.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BackendFeedback {
    pub upstream: Upstream,
    pub message: String,
}

/// A claim's status, and the generation of the claim that has it.
#[derive(Debug)]
pub(crate) struct ClaimFeedback {
    pub generation: Option<i64>,
    pub status: GatewayClaimStatus,
}

/// What tells targets apart: URL, namespace, and the cluster's name.
type Identity = (String, String, String);

/// All targets.
#[derive(Debug)]
pub(crate) struct Targets {
    default: TargetState,
    others: Vec<TargetState>,
    ids: HashMap<Identity, TargetId>,
}

impl TargetState {
    /// Name of what is derived from the object with a UID.
    pub fn name(&self, uid: &str) -> Arc<str> {
        format!("{}-{uid}", self.cluster).into()
    }

    /// Whether all that it has was said.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// What there is to tell the shell.
    fn settle(&mut self, id: TargetId) -> Option<TargetChange> {
        let Some(first) = self.users.values().next() else {
            let told = self.told.take_if(|_| !self.is_open || self.book.is_empty())?;
            *self = Self { cluster: told.cluster.clone(), namespace: told.namespace.clone(), ..Self::default() };
            return Some(TargetChange::Drop(id));
        };
        let templates = self.users.values().flat_map(|user| &user.templates).cloned().collect();
        let wanted = Connection { templates, ..first.clone() };
        if self.told.as_deref() == Some(&wanted) {
            return None;
        }
        let wanted = Arc::new(wanted);
        self.told = Some(wanted.clone());
        Some(TargetChange::Connect(id, wanted))
    }
}

impl Targets {
    pub fn new(default: Option<&DefaultTarget>) -> Self {
        let default = default.map(|given| TargetState {
            cluster: given.cluster.clone(),
            namespace: given.tenant_namespace.clone(),
            book: Book::new(given.shares_api),
            health: given.shares_api.then(|| Health::Good { missing_templates: BTreeSet::new() }),
            is_open: given.shares_api,
            ..TargetState::default()
        });
        Self { default: default.unwrap_or_default(), others: Vec::new(), ids: HashMap::new() }
    }

    pub fn get(&self, id: TargetId) -> &TargetState {
        let other = id.0.checked_sub(1).and_then(|at| self.others.get(at as usize));
        other.unwrap_or(&self.default)
    }

    pub fn get_mut(&mut self, id: TargetId) -> &mut TargetState {
        let other = id.0.checked_sub(1).and_then(|at| self.others.get_mut(at as usize));
        other.unwrap_or(&mut self.default)
    }

    /// All that there have been.
    pub fn ids(&self) -> impl Iterator<Item = TargetId> + use<> {
        let count = u32::try_from(self.others.len()).unwrap_or(u32::MAX);
        (0..=count).map(TargetId)
    }

    /// A class has its gateways at the target that a connection leads to.
    pub fn take_in(&mut self, class: &Arc<str>, connection: Connection) -> TargetId {
        let identity = (connection.url.clone(), connection.namespace.clone(), connection.cluster.clone());
        let next = TargetId(u32::try_from(self.others.len() + 1).unwrap_or(u32::MAX));
        let id = *self.ids.entry(identity).or_insert(next);
        if id == next {
            let (cluster, namespace) = (connection.cluster.clone(), connection.namespace.clone());
            self.others.push(TargetState { cluster, namespace, ..TargetState::default() });
        }
        for (at, other) in (1..).map(TargetId).zip(&mut self.others) {
            if at != id {
                other.users.remove(class);
            }
        }
        self.get_mut(id).users.insert(class.clone(), connection);
        id
    }

    /// A class has its gateways at none of the targets that were made for classes.
    pub fn leave(&mut self, class: &Arc<str>) {
        for other in &mut self.others {
            other.users.remove(class);
        }
    }

    /// All that a target has was said.
    pub fn open(&mut self, id: TargetId) {
        self.get_mut(id).is_open = true;
    }

    /// What there is to write, by target.
    pub fn settle_books(&mut self) -> BTreeMap<TargetId, Vec<DerivedChange>> {
        let mut derived = BTreeMap::new();
        for id in self.ids() {
            let state = self.get_mut(id);
            let writes = if state.is_open { state.book.settle() } else { Vec::new() };
            if !writes.is_empty() {
                derived.insert(id, writes);
            }
        }
        derived
    }

    /// What is to be done about targets.
    pub fn settle_connections(&mut self) -> Vec<TargetChange> {
        let others = self.ids().filter(|id| *id != TargetId::DEFAULT);
        others.filter_map(|id| self.get_mut(id).settle(id)).collect()
    }
}
