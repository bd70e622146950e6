//! Keeps what belongs to WorkloadClusters: their rights, the condition `Connected`, and the removal of all that a
//! cluster has written when it is removed itself.
//!
//! A cluster gets its rights once its object has Foregate's finalizer, so nothing that it writes is ever left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use foregate_api::cluster::{CONNECTED, LOST_SECONDS, TENANT_NAMESPACE_PREFIX, WorkloadClusterStatus};
use foregate_api::{
    CLUSTER_LABEL, FINALIZER, GatewayBackend, GatewayClaim, GatewayEndpointSlice, GatewayRoute, WorkloadCluster,
    condition,
};
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{ClusterName, rights};

/// Field manager of all that is written here.
const MANAGER: &str = "foregate-platform";
/// Before what the API refused is tried again, and before what is being removed is looked at again.
const RETRY: Duration = Duration::from_millis(500);

/// The watch has ended by itself.
#[derive(Debug, thiserror::Error)]
#[error("the watch of workload clusters has ended")]
pub struct Ended;

/// What is known of the clusters, by namespace and name.
#[derive(Default)]
struct Clusters {
    known: BTreeMap<(String, String), WorkloadCluster>,
    /// The UID of the cluster that has its rights.
    written: BTreeMap<(String, String), String>,
    listed: bool,
}

/// Keeps everything right until the shutdown.
///
/// # Errors
/// When the watch ends by itself.
pub async fn keep(client: Client, shutdown: CancellationToken) -> Result<(), Ended> {
    let watch = watcher(Api::<WorkloadCluster>::all(client.clone()), watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(watch);
    let mut clusters = Clusters::default();
    let mut wake: Option<Duration> = None;
    loop {
        tokio::select! {
            event = events.next() => match event.ok_or(Ended)? {
                Ok(event) => clusters.take(event),
                Err(error) => {
                    tracing::warn!(%error, "the watch of workload clusters failed; trying again");
                    continue;
                }
            },
            () = pause(wake) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        if clusters.listed {
            wake = clusters.settle(&client).await;
        }
    }
}

async fn pause(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

impl Clusters {
    fn take(&mut self, event: watcher::Event<WorkloadCluster>) {
        let key = |object: &WorkloadCluster| (object.namespace().unwrap_or_default(), object.name_any());
        match event {
            watcher::Event::Init => {
                self.listed = false;
                self.known.clear();
            }
            watcher::Event::InitDone => self.listed = true,
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                self.known.insert(key(&object), object);
            }
            watcher::Event::Delete(object) => {
                self.known.remove(&key(&object));
                self.written.remove(&key(&object));
            }
        }
    }

    /// Does what is to be done. Returns when to look again though nothing has happened.
    async fn settle(&mut self, client: &Client) -> Option<Duration> {
        let mut wake: Option<Duration> = None;
        for (key, object) in &self.known {
            let settled = settle(client, object, self.written.get(key)).await;
            let next = match settled {
                Ok(Settled::Removing) => Some(RETRY),
                Ok(Settled::Kept { rights, next }) => {
                    if let Some(uid) = rights {
                        self.written.insert(key.clone(), uid);
                    }
                    next
                }
                // Somebody was faster, and the watch tells of it.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Some(RETRY),
                Err(error) => {
                    tracing::warn!(cluster = %key.1, namespace = %key.0, %error, "a workload cluster can't be kept; trying again");
                    Some(RETRY)
                }
            };
            wake = wake.into_iter().chain(next).min();
        }
        wake
    }
}

/// How far a cluster is.
enum Settled {
    /// What it wrote isn't gone yet.
    Removing,
    /// It is as it should be; its rights have been written for this UID; its condition changes after `next`.
    Kept { rights: Option<String>, next: Option<Duration> },
}

async fn settle(client: &Client, object: &WorkloadCluster, written: Option<&String>) -> kube::Result<Settled> {
    let namespace = object.namespace().unwrap_or_default();
    let Some(tenant) = namespace.strip_prefix(TENANT_NAMESPACE_PREFIX) else {
        return Ok(Settled::Kept { rights: None, next: None });
    };
    let cluster = ClusterName { tenant: tenant.to_owned(), name: object.name_any() };
    let api: Api<WorkloadCluster> = Api::namespaced(client.clone(), &namespace);
    let finalizers = object.finalizers();
    if object.metadata.deletion_timestamp.is_some() {
        if !finalizers.iter().any(|it| it == FINALIZER) {
            return Ok(Settled::Kept { rights: None, next: None });
        }
        if !purge(client, &cluster).await? {
            return Ok(Settled::Removing);
        }
        let left: Vec<&String> = finalizers.iter().filter(|it| *it != FINALIZER).collect();
        set_finalizers(&api, object, json!(left)).await?;
        return Ok(Settled::Kept { rights: None, next: None });
    }
    if !finalizers.iter().any(|it| it == FINALIZER) {
        let with: Vec<&str> = finalizers.iter().map(String::as_str).chain([FINALIZER]).collect();
        // The watch says when it is there; the rights come after it.
        set_finalizers(&api, object, json!(with)).await?;
        return Ok(Settled::Kept { rights: None, next: None });
    }
    let uid = object.uid().unwrap_or_default();
    let rights = if written == Some(&uid) {
        None
    } else {
        write_rights(client, &cluster, &uid).await?;
        Some(uid)
    };
    let next = write_condition(&api, object, jiff::Timestamp::now()).await?;
    Ok(Settled::Kept { rights, next })
}

async fn set_finalizers(
    api: &Api<WorkloadCluster>,
    object: &WorkloadCluster,
    finalizers: serde_json::Value,
) -> kube::Result<()> {
    let metadata = json!({ "resourceVersion": object.resource_version(), "finalizers": finalizers });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    api.patch_metadata(&object.name_any(), &params, &patch).await.map(drop)
}

async fn write_rights(client: &Client, cluster: &ClusterName, uid: &str) -> kube::Result<()> {
    let (name, params) = (rights::name(cluster), PatchParams::apply(MANAGER).force());
    let roles: Api<Role> = Api::namespaced(client.clone(), &cluster.namespace());
    roles.patch(&name, &params, &Patch::Apply(rights::role(cluster, uid))).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), &cluster.namespace());
    bindings.patch(&name, &params, &Patch::Apply(rights::binding(cluster, uid))).await.map(drop)
}

/// Deletes all that the cluster has written; true once nothing is left of it.
async fn purge(client: &Client, cluster: &ClusterName) -> kube::Result<bool> {
    // What names something goes before what it names.
    Ok(purge_kind::<GatewayRoute>(client, cluster).await?
        & purge_kind::<GatewayClaim>(client, cluster).await?
        & purge_kind::<GatewayBackend>(client, cluster).await?
        & purge_kind::<GatewayEndpointSlice>(client, cluster).await?
        & purge_kind::<Secret>(client, cluster).await?)
}

async fn purge_kind<K>(client: &Client, cluster: &ClusterName) -> kube::Result<bool>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), &cluster.namespace());
    let own = ListParams::default().labels(&format!("{CLUSTER_LABEL}={}", cluster.name));
    if api.list_metadata(&own).await?.items.is_empty() {
        return Ok(true);
    }
    api.delete_collection(&DeleteParams::default(), &own).await?;
    Ok(api.list_metadata(&own).await?.items.is_empty())
}

/// Writes the condition if it changes. Returns when it changes next unless the controller is heard of.
async fn write_condition(
    api: &Api<WorkloadCluster>,
    object: &WorkloadCluster,
    now: jiff::Timestamp,
) -> kube::Result<Option<Duration>> {
    let status = object.status.clone().unwrap_or_default();
    let (wanted, next) = connected(&status, object.metadata.generation.unwrap_or_default(), now);
    let mut conditions = status.conditions;
    if condition::set(&mut conditions, wanted) {
        let patch = Patch::Merge(json!({ "status": { "conditions": conditions } }));
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        api.patch_status(&object.name_any(), &params, &patch).await?;
    }
    Ok(next)
}

/// Whether the controller was last heard of before its newest credential was made.
pub fn has_new_credential(status: &WorkloadClusterStatus) -> bool {
    status.last_seen.as_ref().zip(status.credential_issued.as_ref()).is_some_and(|(seen, made)| seen.0 < made.0)
}

/// Whether the controller is there, and when it counts as lost.
fn connected(status: &WorkloadClusterStatus, generation: i64, now: jiff::Timestamp) -> (Condition, Option<Duration>) {
    let time = Time(now);
    let Some(seen) = &status.last_seen else {
        let message = "no controller has used its credential yet: apply what `foregate cluster add` has printed";
        return (condition::unknown(CONNECTED, "NeverSeen", message, generation, &time), None);
    };
    let lost = i64::try_from(LOST_SECONDS).unwrap_or(i64::MAX);
    // A clock that is ahead must not keep a lost controller for longer.
    let age = now.as_second().saturating_sub(seen.0.as_second()).max(0);
    if age >= lost {
        let hint = match has_new_credential(status) {
            true => ", before its newest credential was made: apply what `foregate cluster renew` has printed",
            false => "",
        };
        let at = jiff::Timestamp::from_second(seen.0.as_second()).unwrap_or(seen.0);
        let message = format!("its controller was last heard of at {at}{hint}; what it has written serves on");
        return (condition::condition(CONNECTED, false, "LeaseLost", message, generation, &time), None);
    }
    let next = u64::try_from(lost - age).ok().map(Duration::from_secs);
    (condition::condition(CONNECTED, true, "Seen", "its controller is there", generation, &time), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_controller_is_lost() {
        let now = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(1_000);
        let lost = i64::try_from(LOST_SECONDS).unwrap_or_default();
        for (seen, status, reason, next) in [
            (None, "Unknown", "NeverSeen", None),
            (Some(0), "True", "Seen", Some(LOST_SECONDS)),
            (Some(-30), "True", "Seen", Some(LOST_SECONDS - 30)),
            (Some(3_600), "True", "Seen", Some(LOST_SECONDS)),
            (Some(-lost), "False", "LeaseLost", None),
            (Some(-900), "False", "LeaseLost", None),
        ] {
            let last_seen = seen.map(|at| Time(now + jiff::SignedDuration::from_secs(at)));
            let (condition, at) = connected(&WorkloadClusterStatus { last_seen, ..Default::default() }, 3, now);
            assert_eq!((condition.status.as_str(), condition.reason.as_str()), (status, reason), "{seen:?}");
            assert_eq!(at, next.map(Duration::from_secs), "{seen:?}");
        }
    }

    #[test]
    fn when_it_was_there_is_said_to_the_second_and_whether_its_credential_is_newer() {
        let ago = |seconds| jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_millis(-1_000 * seconds - 1);
        let said = |made: Option<i64>| {
            let status = WorkloadClusterStatus {
                last_seen: Some(Time(ago(900))),
                credential_issued: made.map(|made| Time(ago(made))),
                ..Default::default()
            };
            connected(&status, 3, jiff::Timestamp::UNIX_EPOCH).0.message
        };
        let plain = "its controller was last heard of at 1969-12-31T23:45:00Z; what it has written serves on";
        assert_eq!((said(None).as_str(), said(Some(1_000)).as_str()), (plain, plain));
        assert!(said(Some(800)).contains("23:45:00Z, before its newest credential was made"), "{}", said(Some(800)));
    }
}
