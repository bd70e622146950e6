//! Credentials of workload clusters and gateway nodes: good as long as the object that they were made for is there.
//!
//! A certificate can't be taken back, so it names what it is bound to: its subject has the object's UID and the
//! credential's generation ([`foregate_api::credential::uid`]). Each request of such a user is held against the objects
//! that there are; watches that are open end when their credential does.

use std::collections::HashMap;

use foregate_api::cluster::{CLUSTERS_GROUP, TENANT_NAMESPACE_PREFIX, of_user, tenant_namespace};
use foregate_api::credential::{REMOVED, REVOKED, of_uid};
use foregate_api::node::{NODE_USER, NODES_GROUP};
use http::StatusCode;
use parking_lot::RwLock;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Caller;
use crate::error::{ApiError, Cause};
use crate::follow::Follow;
use crate::store::Key;

/// The resources that credentials are bound to objects of, as they are stored.
const CLUSTERS: &str = "foregate.dev/workloadclusters";
const NODES: &str = "foregate.dev/gatewaynodes";

/// Whether credentials are bound to objects that are stored like that.
pub(crate) fn is_owner(resource: &str) -> bool {
    resource == CLUSTERS || resource == NODES
}

/// An object that credentials are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Id {
    /// Namespace and name of a WorkloadCluster.
    Cluster(String, String),
    /// A GatewayNode.
    Node(String),
}

impl Id {
    /// Whom a caller's credential must be bound to; none: it needn't.
    fn of(caller: &Caller) -> Option<Self> {
        let is_in = |group: &str| caller.groups.iter().any(|it| it == group);
        if let Some((tenant, name)) = of_user(&caller.user) {
            return Some(Self::Cluster(tenant_namespace(tenant), name.to_owned()));
        }
        if let Some(name) = caller.user.strip_prefix(NODE_USER) {
            return Some(Self::Node(name.to_owned()));
        }
        // Of the group and nobody: there is no such object.
        let nobody = String::new;
        is_in(CLUSTERS_GROUP)
            .then(|| Self::Cluster(nobody(), nobody()))
            .or_else(|| is_in(NODES_GROUP).then(|| Self::Node(nobody())))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cluster(namespace, name) => {
                let tenant = namespace.strip_prefix(TENANT_NAMESPACE_PREFIX).unwrap_or(namespace);
                write!(f, "workload cluster {tenant}/{name}")
            }
            Self::Node(name) => write!(f, "gateway node {name}"),
        }
    }
}

/// The objects that there are.
#[derive(Default)]
pub(crate) struct Owners(RwLock<HashMap<Id, Owner>>);

#[derive(Clone)]
struct Owner {
    uid: String,
    /// The first generation of credentials that is good.
    generation: i64,
    /// Cancelled when a credential that was good isn't any more.
    revoked: CancellationToken,
}

impl Follow for Owners {
    fn set(&self, key: &Key, object: Option<&Value>) {
        let id = match &*key.resource {
            CLUSTERS => Id::Cluster(key.namespace.to_string(), key.name.to_string()),
            NODES => Id::Node(key.name.to_string()),
            _ => return,
        };
        // One that is being deleted writes nothing any more: what it wrote is being removed.
        let live = object.filter(|object| !object["metadata"]["deletionTimestamp"].is_string());
        let new = live.map(|object| {
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            (uid, object["spec"]["credentialGeneration"].as_i64().unwrap_or(0))
        });
        let mut all = self.0.write();
        let unchanged = |old: &Owner| new.as_ref().is_some_and(|(uid, at)| *uid == old.uid && *at == old.generation);
        if all.get(&id).is_some_and(unchanged) {
            return;
        }
        if let Some(old) = all.remove(&id) {
            old.revoked.cancel();
        }
        if let Some((uid, generation)) = new {
            all.insert(id, Owner { uid, generation, revoked: CancellationToken::new() });
        }
    }
}

impl Owners {
    /// Whether `caller` is still who it says it is. For whoever is bound to an object: what is cancelled when it isn't
    /// any more.
    ///
    /// # Errors
    /// 401 for a credential whose object is gone, or was made anew ([`REMOVED`]), or whose generation is over
    /// ([`REVOKED`]). Only who shows a certificate that this server has signed comes here, and is told of its own
    /// object alone.
    pub fn confirm(&self, caller: &Caller) -> Result<Option<CancellationToken>, ApiError> {
        let Some(id) = Id::of(caller) else { return Ok(None) };
        let Some((uid, generation)) = of_uid(&caller.uid) else { return Err(ApiError::unauthorized()) };
        let known = self.0.read().get(&id).filter(|known| known.uid == uid).cloned();
        let (reason, why) = match known {
            Some(known) if generation >= known.generation => return Ok(Some(known.revoked)),
            Some(_) => (REVOKED, format!("the credential of the {id} is revoked: it has been given another")),
            None => (REMOVED, format!("the credential is of a {id} that was removed")),
        };
        let mut error = ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", why.clone());
        error.details.causes.push(Cause::new(reason, "", why));
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    fn set(owners: &Owners, name: &str, object: Option<(&str, i64, bool)>) {
        let object = object.map(|(uid, generation, deleting)| {
            let mut object = json!({"metadata": {"uid": uid}, "spec": {"credentialGeneration": generation}});
            if deleting {
                object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            object
        });
        owners.set(&Key::new(&CLUSTERS.into(), "tenant-shop", name), object.as_ref());
        owners.set(&Key::new(&NODES.into(), "", name), object.as_ref());
    }

    fn caller(user: &str, uid: &str) -> Caller {
        let group = if user.starts_with(NODE_USER) { NODES_GROUP } else { CLUSTERS_GROUP };
        Caller { uid: uid.to_owned(), ..Caller::new(user, vec![group.to_owned()]) }
    }

    #[test]
    fn a_credential_is_good_for_its_own_object_only() {
        let owners = Owners::default();
        set(&owners, "a", Some(("u1", 2, false)));
        for (user, uid, answer) in [
            ("foregate:cluster:shop:a", "u1/2", None),
            ("foregate:cluster:shop:a", "u1/3", None),
            ("foregate:cluster:shop:a", "u1/1", Some(REVOKED)),
            ("foregate:cluster:shop:a", "u0/2", Some(REMOVED)),
            ("foregate:cluster:shop:a", "u1", Some("")),
            ("foregate:cluster:shop:a", "", Some("")),
            ("foregate:cluster:shop:b", "u1/2", Some(REMOVED)),
            ("foregate:cluster:other:a", "u1/2", Some(REMOVED)),
            ("somebody", "u1/2", Some(REMOVED)),
            ("system:foregate:node:a", "u1/2", None),
            ("system:foregate:node:a", "u1/1", Some(REVOKED)),
            ("system:foregate:node:a", "u0/2", Some(REMOVED)),
            ("system:foregate:node:a", "", Some("")),
            ("system:foregate:node:b", "u1/2", Some(REMOVED)),
            ("system:foregate:node:", "u1/2", Some(REMOVED)),
        ] {
            let reason = match owners.confirm(&caller(user, uid)) {
                Ok(revoked) => revoked.map(|_| None).unwrap(),
                Err(error) => Some(error.details.causes.first().map_or("", |cause| cause.reason)),
            };
            assert_eq!(reason, answer, "{user} {uid}");
        }
        assert!(owners.confirm(&Caller::new("ann", vec![])).unwrap().is_none(), "others aren't concerned");
        for user in ["foregate:cluster:shop:a", "system:foregate:node:a"] {
            assert!(owners.confirm(&Caller::new(user, vec![])).is_err(), "whatever the groups");
        }
    }

    #[test]
    fn what_is_open_ends_with_the_credential() {
        let ends: [Option<(&str, i64, bool)>; 4] =
            [None, Some(("u2", 0, false)), Some(("u1", 1, false)), Some(("u1", 0, true))];
        for end in ends {
            for user in ["foregate:cluster:shop:a", "system:foregate:node:a"] {
                let owners = Owners::default();
                set(&owners, "a", Some(("u1", 0, false)));
                let revoked = owners.confirm(&caller(user, "u1/0")).unwrap().unwrap();
                set(&owners, "a", Some(("u1", 0, false)));
                assert!(!revoked.is_cancelled(), "a change of its status is none");
                set(&owners, "a", end);
                assert!(revoked.is_cancelled(), "{user} {end:?}");
                assert!(owners.confirm(&caller(user, "u1/0")).is_err(), "{user} {end:?}");
            }
        }
    }
}
