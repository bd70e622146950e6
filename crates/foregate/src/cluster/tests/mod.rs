//! What a cluster's credential opens, and what it doesn't, on an embedded API.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod credentials;
mod removal;
mod rights;

use std::time::Duration;

use foregate_api::cluster::{CLUSTERS_GROUP, user};
use foregate_api::{CLUSTER_LABEL, WorkloadCluster, credential};
use foregate_apiserver::{Caller, Server, ServerOptions};
use http::{Method, Request};
use http_body_util::BodyExt;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const TENANT: &str = "tenant-default";
const PATIENCE: Duration = Duration::from_secs(60);
/// UIDs of users' objects.
const UID: &str = "11111111-2222-3333-4444-555555555555";
const OTHER_UID: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

struct Platform {
    server: Server,
    admin: Client,
    _dir: TempDir,
    _stop: tokio_util::sync::DropGuard,
}

/// An API with the kinds, two tenants, the policy and the keeper.
async fn platform() -> Platform {
    let dir = tempfile::tempdir().unwrap();
    let mut options = ServerOptions::new(dir.path());
    options.namespaces = vec![TENANT.to_owned(), "tenant-other".to_owned()];
    let server = Server::open(options).unwrap();
    let admin = server.client();
    crate::up::seed::kinds(&admin).await.unwrap();
    super::write_policy(&admin, false).await.unwrap();
    super::mount(&server);
    let stop = CancellationToken::new();
    tokio::spawn(super::keep(admin.clone(), stop.clone()));
    Platform { server, admin, _dir: dir, _stop: stop.drop_guard() }
}

impl Platform {
    fn clusters(&self) -> Api<WorkloadCluster> {
        Api::namespaced(self.admin.clone(), TENANT)
    }

    /// Adds a cluster and waits until it has its rights.
    async fn add(&self, name: &str) -> WorkloadCluster {
        let object = WorkloadCluster::new(name, Default::default());
        let made = self.clusters().create(&PostParams::default(), &object).await.unwrap();
        let bindings: Api<RoleBinding> = Api::namespaced(self.admin.clone(), TENANT);
        let role = format!("foregate:cluster:{name}");
        until(async || bindings.get_opt(&role).await.unwrap().is_some_and(|it| owned_by(&it, &made))).await;
        // It is stored a moment before it counts.
        let (client, own) = (self.as_cluster(&made), format!("{}/{name}", path("workloadclusters", TENANT)));
        until(async || get(&client, &own).await == 200).await;
        made
    }

    /// Removes a cluster and waits until it is gone.
    async fn remove(&self, name: &str) {
        self.clusters().delete(name, &DeleteParams::default()).await.unwrap();
        until(async || self.clusters().get_opt(name).await.unwrap().is_none()).await;
    }

    /// Whoever has a cluster's credential.
    fn as_cluster(&self, object: &WorkloadCluster) -> Client {
        let caller = Caller {
            uid: credential::uid(&object.uid().unwrap(), object.spec.credential_generation),
            ..Caller::new(user("default", &object.name_any()), vec![CLUSTERS_GROUP.to_owned()])
        };
        self.server.client_as(caller)
    }
}

fn owned_by(binding: &RoleBinding, cluster: &WorkloadCluster) -> bool {
    binding.owner_references().iter().any(|owner| Some(&owner.uid) == cluster.metadata.uid.as_ref())
}

async fn until(fine: impl AsyncFn() -> bool) {
    tokio::time::timeout(PATIENCE, async {
        while !fine().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it never became so");
}

/// A derived object as the cluster's controller writes it.
fn derived(plural: &str, cluster: &str, uid: &str) -> Value {
    let origin = json!({ "cluster": cluster, "kind": "Some", "namespace": "n", "name": "o", "uid": uid });
    let metadata = json!({ "name": format!("{cluster}-{uid}"), "labels": { CLUSTER_LABEL: cluster } });
    let mut object = json!({ "metadata": metadata, "spec": { "origin": origin } });
    match plural {
        "gatewayclaims" => object["spec"]["template"] = json!("default"),
        "gatewayroutes" => {
            object["spec"]["attachments"] = json!([]);
            object["spec"]["rules"] = json!([]);
        }
        "gatewayendpointslices" => object["spec"]["serviceUid"] = json!("u"),
        "secrets" => {
            object.as_object_mut().unwrap().remove("spec");
            object["data"] = json!({ "tls.key": "c2VjcmV0" });
        }
        _ => {}
    }
    object
}

fn path(plural: &str, namespace: &str) -> String {
    match plural {
        "secrets" | "pods" | "configmaps" => format!("/api/v1/namespaces/{namespace}/{plural}"),
        _ => format!("/apis/foregate.dev/v1alpha1/namespaces/{namespace}/{plural}"),
    }
}

/// The answer's code and body.
async fn send(client: &Client, method: Method, path: &str, media: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", media);
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let response = client.send(request.body(body.into()).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn get(client: &Client, path: &str) -> u16 {
    send(client, Method::GET, path, "", &Value::Null).await.0
}

async fn post(client: &Client, plural: &str, object: &Value) -> u16 {
    send(client, Method::POST, &path(plural, TENANT), "application/json", object).await.0
}

#[test]
fn a_cluster_is_named_with_its_tenant() {
    let name: Result<super::ClusterName, _> = "default/edge-1".parse();
    assert_eq!(name.as_ref().map(ToString::to_string).as_deref(), Ok("default/edge-1"));
    assert_eq!(name.map(|name| name.namespace()).as_deref(), Ok(TENANT));
    for bad in ["edge", "default/", "/edge", "a/b/c", "A/b", "default/local", "default/a.b"] {
        assert!(bad.parse::<super::ClusterName>().is_err(), "{bad}");
    }
}
