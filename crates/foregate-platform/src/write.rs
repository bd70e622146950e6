//! Carries out writes.

use std::fmt::Debug;
use std::sync::Arc;

use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::outbox::{Kind, Target, Write};
use crate::pipeline::{Object, Outcome};

/// Our name in managedFields.
const MANAGER: &str = "foregate-platform";

/// Carries out one write.
pub(crate) async fn perform(client: Client, target: &Target, write: &Write) -> Outcome {
    let namespace = &target.key.namespace;
    match target.kind {
        Kind::Claim => on(spaced(client, namespace), target, write, Object::Claim).await,
        Kind::Proxy => on(spaced(client, namespace), target, write, Object::Proxy).await,
        Kind::Route => on(spaced(client, namespace), target, write, Object::Route).await,
        Kind::Backend => on(spaced(client, namespace), target, write, Object::Backend).await,
        Kind::Secret => on(spaced(client, namespace), target, write, Object::Secret).await,
        Kind::Address => on(global(client), target, write, Object::Address).await,
        Kind::Pool => on(global(client), target, write, Object::Pool).await,
        Kind::Instance => on(global(client), target, write, Object::Instance).await,
    }
}

fn spaced<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(client: Client, namespace: &str) -> Api<K> {
    Api::namespaced(client, namespace)
}

fn global<K: Resource<Scope = ClusterResourceScope, DynamicType = ()>>(client: Client) -> Api<K> {
    Api::all(client)
}

async fn on<K>(api: Api<K>, target: &Target, write: &Write, object: fn(Arc<K>) -> Object) -> Outcome
where
    K: Resource + Serialize + DeserializeOwned + Clone + Debug,
{
    let result = match write {
        Write::Delete { uid } => delete(&api, &target.key.name, uid).await,
        Write::Engine { uid, engine } => {
            let change = serde_json::json!({ "metadata": { "uid": uid }, "spec": { "engine": engine } });
            let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
            api.patch(&target.key.name, &parameters, &Patch::Merge(&change)).await.map(Some)
        }
        Write::Metadata { change, .. } => {
            let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
            api.patch(&target.key.name, &parameters, &Patch::Merge(change)).await.map(Some)
        }
        Write::Status { status, .. } => patch(&api, &target.key.name, status).await.map(Some),
        Write::CreateProxy(proxy) => create(&api, &**proxy).await,
        Write::CreateAddress(address) => create(&api, &**address).await,
        Write::CreateInstance(instance) => create(&api, &**instance).await,
    };
    match result {
        Ok(Some(written)) => Outcome::Written(Box::new(object(Arc::new(written)))),
        Ok(None) => Outcome::Missing,
        Err(kube::Error::Api(status)) if status.code == 404 => Outcome::Missing,
        Err(kube::Error::Api(status)) if status.code == 409 => Outcome::Conflict,
        Err(kube::Error::Api(status)) => Outcome::Failed(status.message.clone()),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

async fn patch<K: Resource + DeserializeOwned + Clone + Debug>(
    api: &Api<K>,
    name: &str,
    status: &Value,
) -> kube::Result<K> {
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
    api.patch_status(name, &parameters, &Patch::Merge(status)).await
}

/// None: it is gone.
async fn delete<K: Resource + DeserializeOwned + Clone + Debug>(
    api: &Api<K>,
    name: &str,
    uid: &str,
) -> kube::Result<Option<K>> {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..Default::default() };
    // Somebody's finalizer may hold it.
    let held = |object: &K| object.meta().finalizers.as_ref().is_some_and(|list| !list.is_empty());
    Ok(api.delete(name, &parameters).await?.left().filter(held))
}

/// The object's kind is that of the target, whose Api this is.
async fn create<K, O>(api: &Api<K>, object: &O) -> kube::Result<Option<K>>
where
    K: Resource + Serialize + DeserializeOwned + Clone + Debug,
    O: Serialize,
{
    let value = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
    let object: K = serde_json::from_value(value).map_err(kube::Error::SerdeError)?;
    let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
    api.create(&parameters, &object).await.map(Some)
}
