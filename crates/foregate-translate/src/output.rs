//! What the translator answers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use foregate_api::Origin;
use foregate_api::address::ProxyRef;
use foregate_envoy::{Delta, Owner, ResourceId};

use crate::Key;

/// What a batch of inputs changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Per gateway, in the order of its name: resources that are new, changed or gone, ordered by kind and name. A
    /// gateway that nothing changed for isn't here. A resource whose version stays the same is here when what it
    /// needs or whose it is changed.
    pub deltas: BTreeMap<ProxyRef, Delta>,
    /// Objects whose problem is new, another, or over.
    pub reports: Vec<Report>,
    /// Per gateway of `deltas`: the users' objects whose change this is, for its ConfigRevision. Endpoints and
    /// secrets are not among them.
    pub causes: BTreeMap<ProxyRef, Vec<Origin>>,
    /// Per gateway of `deltas`: what changed, with what was before, for its ConfigRevision; endpoints, secrets and
    /// resources with an equal version aren't among them.
    pub changes: BTreeMap<ProxyRef, Vec<ResourceChange>>,
}

/// An object of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Its kind, e.g. `GatewayRoute`.
    pub kind: &'static str,
    /// Namespace and name.
    pub key: Key,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// A problem of an object, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The object.
    pub object: ObjectRef,
    /// UID and generation as in the resources made from it: of the user's object, or of the GatewayProxy.
    pub owner: Owner,
    /// What is wrong, where, and what to do; none: nothing any more.
    pub problem: Option<String>,
}

/// One changed resource and what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceChange {
    /// Kind and name.
    pub id: ResourceId,
    /// The encoded message before; none: it is new.
    pub old: Option<Bytes>,
    /// Version before.
    pub old_version: Option<Arc<str>>,
    /// What it named before.
    pub old_needs: Arc<[ResourceId]>,
    /// Version after; none: it is gone.
    pub new_version: Option<Arc<str>>,
}
