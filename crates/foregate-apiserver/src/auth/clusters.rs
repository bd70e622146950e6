//! Credentials of workload clusters: good as long as the WorkloadCluster that they were made for is there.
//!
//! A certificate can't be taken back, so it names what it is bound to: its subject has the WorkloadCluster's UID and the
//! credential's generation ([`foregate_api::cluster::credential_uid`]). Each request of such a user is held against the
//! objects that there are; watches that are open end when their credential does.

use std::collections::HashMap;

use foregate_api::cluster::{CLUSTERS_GROUP, of_credential_uid, of_user, tenant_namespace};
use http::StatusCode;
use parking_lot::RwLock;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Caller;
use crate::error::ApiError;
use crate::follow::Follow;
use crate::store::Key;

/// The resource that WorkloadClusters are stored under.
pub(crate) const CLUSTERS: &str = "foregate.dev/workloadclusters";

/// The clusters that there are, by namespace and name.
#[derive(Default)]
pub(crate) struct Clusters(RwLock<HashMap<(String, String), Cluster>>);

#[derive(Clone)]
struct Cluster {
    uid: String,
    /// The first generation of credentials that is good.
    generation: i64,
    /// Cancelled when a credential that was good isn't any more.
    revoked: CancellationToken,
}

impl Follow for Clusters {
    fn set(&self, key: &Key, object: Option<&Value>) {
        let id = (key.namespace.to_string(), key.name.to_string());
        // One that is being deleted writes nothing any more: what it wrote is being removed.
        let live = object.filter(|object| !object["metadata"]["deletionTimestamp"].is_string());
        let new = live.map(|object| {
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            (uid, object["spec"]["credentialGeneration"].as_i64().unwrap_or(0))
        });
        let mut all = self.0.write();
        let unchanged = |old: &Cluster| new.as_ref().is_some_and(|(uid, at)| *uid == old.uid && *at == old.generation);
        if all.get(&id).is_some_and(unchanged) {
            return;
        }
        if let Some(old) = all.remove(&id) {
            old.revoked.cancel();
        }
        if let Some((uid, generation)) = new {
            all.insert(id, Cluster { uid, generation, revoked: CancellationToken::new() });
        }
    }
}

impl Clusters {
    /// Whether `caller` is still who it says it is. For a cluster: what is cancelled when it isn't any more.
    ///
    /// # Errors
    /// 401 for a credential whose cluster is gone, or was made anew, or whose generation is over.
    pub fn confirm(&self, caller: &Caller) -> Result<Option<CancellationToken>, ApiError> {
        let named = of_user(&caller.user);
        if named.is_none() && !caller.groups.iter().any(|group| group == CLUSTERS_GROUP) {
            return Ok(None);
        }
        let (tenant, name) = named.unwrap_or_default();
        let known = self.0.read().get(&(tenant_namespace(tenant), name.to_owned())).cloned();
        let bound = of_credential_uid(&caller.uid);
        let good = |known: &Cluster| bound.is_some_and(|(uid, at)| uid == known.uid && at >= known.generation);
        match known.filter(good) {
            Some(known) => Ok(Some(known.revoked)),
            None => {
                let message = format!(
                    "the credential of the workload cluster {tenant}/{name} is revoked: the cluster was removed, or has \
                     been given another"
                );
                Err(ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    fn set(clusters: &Clusters, name: &str, object: Option<(&str, i64, bool)>) {
        let object = object.map(|(uid, generation, deleting)| {
            let mut object = json!({"metadata": {"uid": uid}, "spec": {"credentialGeneration": generation}});
            if deleting {
                object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            object
        });
        clusters.set(&Key::new(&CLUSTERS.into(), "tenant-shop", name), object.as_ref());
    }

    fn caller(user: &str, uid: &str) -> Caller {
        Caller { uid: uid.to_owned(), ..Caller::new(user, vec![CLUSTERS_GROUP.to_owned()]) }
    }

    #[test]
    fn a_credential_is_good_for_its_own_cluster_only() {
        let clusters = Clusters::default();
        set(&clusters, "a", Some(("u1", 2, false)));
        for (user, uid, good) in [
            ("foregate:cluster:shop:a", "u1/2", true),
            ("foregate:cluster:shop:a", "u1/3", true),
            ("foregate:cluster:shop:a", "u1/1", false),
            ("foregate:cluster:shop:a", "u0/2", false),
            ("foregate:cluster:shop:a", "u1", false),
            ("foregate:cluster:shop:a", "", false),
            ("foregate:cluster:shop:b", "u1/2", false),
            ("foregate:cluster:other:a", "u1/2", false),
            ("somebody", "u1/2", false),
        ] {
            let confirmed = clusters.confirm(&caller(user, uid));
            assert_eq!(confirmed.is_ok(), good, "{user} {uid}");
            assert!(confirmed.is_ok_and(|it| it.is_some()) || !good);
        }
        assert!(clusters.confirm(&Caller::new("ann", vec![])).unwrap().is_none(), "others aren't concerned");
        assert!(clusters.confirm(&Caller::new("foregate:cluster:shop:a", vec![])).is_err(), "whatever the groups");
    }

    #[test]
    fn what_is_open_ends_with_the_credential() {
        let ends: [Option<(&str, i64, bool)>; 4] =
            [None, Some(("u2", 0, false)), Some(("u1", 1, false)), Some(("u1", 0, true))];
        for end in ends {
            let clusters = Clusters::default();
            set(&clusters, "a", Some(("u1", 0, false)));
            let revoked = clusters.confirm(&caller("foregate:cluster:shop:a", "u1/0")).unwrap().unwrap();
            set(&clusters, "a", Some(("u1", 0, false)));
            assert!(!revoked.is_cancelled(), "a change of its status is none");
            set(&clusters, "a", end);
            assert!(revoked.is_cancelled(), "{end:?}");
            assert!(clusters.confirm(&caller("foregate:cluster:shop:a", "u1/0")).is_err(), "{end:?}");
        }
    }
}
