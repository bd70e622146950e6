//! What the collector does.

use std::sync::Arc;

use serde_json::{Value, json};

use super::graph::{Fate, Task};
use crate::core::{Core, Live, now};
use crate::error::ApiError;
use crate::namespaces::NAMESPACES;
use crate::registry::DEFINITIONS;
use crate::rest::delete::{DEFINITION, FOREGROUND, ORPHAN};
use crate::rest::is_gone;
use crate::store::{Durability, Key, WriteError};

/// How often a change is tried again when someone else was faster.
const RETRIES: usize = 20;

/// Does what is to be done; false when that failed.
pub(super) async fn run(core: &Arc<Core>, task: &Task) -> bool {
    let done = match task {
        Task::Dependent(uid) => dependent(core, uid).await,
        Task::Foreground(uid) => foreground(core, uid).await,
        Task::Orphan(uid) => orphan(core, uid).await,
        Task::Namespace(name) => namespace(core, name).await,
        Task::Definition(name) => definition(core, name).await,
    };
    if let Err(error) = &done {
        tracing::warn!(%error, ?task, "garbage collection failed; it will be tried again");
    }
    done.is_ok()
}

/// Deletes an object none of whose owners is left; otherwise removes references to owners that are gone.
async fn dependent(core: &Arc<Core>, uid: &str) -> Result<(), ApiError> {
    let Some(node) = core.collector.node(uid) else { return Ok(()) };
    let fate = core.collector.graph.lock().fate(&node);
    match fate {
        Fate::Stays => Ok(()),
        // The owner's own foreground deletion goes on to its dependents' dependents.
        Fate::Goes { waits } => {
            let foreground = waits && !core.collector.dependents_of(uid).is_empty();
            remove(core, &node.key, uid, foreground).await
        }
        Fate::Loses(gone) => change(core, &node.key, uid, |object| drop_owners(object, &gone)).await,
    }
}

/// Deletes the dependents; when none is left that the owner waits for, lets the owner go.
async fn foreground(core: &Arc<Core>, uid: &str) -> Result<(), ApiError> {
    let Some(owner) = core.collector.node(uid) else { return Ok(()) };
    let mut waits = false;
    for dependent in &core.collector.dependents_of(uid) {
        let Some(node) = core.collector.node(dependent) else { continue };
        waits |= node.owners.iter().any(|o| *o.uid == *uid && o.blocks);
        self::dependent(core, dependent).await?;
    }
    if waits {
        return Ok(());
    }
    change(core, &owner.key, uid, |object| drop_finalizer(object, FOREGROUND)).await
}

/// Lets the dependents go, then the owner.
async fn orphan(core: &Arc<Core>, uid: &str) -> Result<(), ApiError> {
    let Some(owner) = core.collector.node(uid) else { return Ok(()) };
    for dependent in &core.collector.dependents_of(uid) {
        let Some(node) = core.collector.node(dependent) else { continue };
        change(core, &node.key, dependent, |object| drop_owners(object, &[uid.into()])).await?;
    }
    change(core, &owner.key, uid, |object| drop_finalizer(object, ORPHAN)).await
}

/// Deletes everything in a namespace; when nothing is left, the namespace.
async fn namespace(core: &Arc<Core>, name: &str) -> Result<(), ApiError> {
    let key = Key::new(&NAMESPACES.into(), "", name);
    let Some(live) = core.read(&key)? else { return Ok(()) };
    if !live.meta.deleting {
        return Ok(());
    }
    let kinds = core.registry.kinds_full();
    let storages: std::collections::BTreeSet<Arc<str>> =
        kinds.stored().filter(|k| k.namespaced).map(|k| k.storage.clone()).collect();
    let mut left = 0;
    for storage in storages {
        left += empty(core, &storage, Some(name)).await?;
    }
    if left > 0 {
        return Ok(());
    }
    let uid = live.meta.uid.clone();
    change(core, &key, &uid, |object| {
        object["spec"]["finalizers"] = json!([]);
    })
    .await
}

/// Deletes the objects of a definition; when none is left, the definition.
async fn definition(core: &Arc<Core>, name: &str) -> Result<(), ApiError> {
    let key = Key::new(&DEFINITIONS.into(), "", name);
    let Some(live) = core.read(&key)? else { return Ok(()) };
    let Some((plural, group)) = name.split_once('.').filter(|_| live.meta.deleting) else { return Ok(()) };
    if empty(core, &format!("{group}/{plural}").into(), None).await? > 0 {
        return Ok(());
    }
    let uid = live.meta.uid.clone();
    change(core, &key, &uid, |object| drop_finalizer(object, DEFINITION)).await
}

/// Deletes all objects of a resource; returns how many are left, because of their finalizers.
async fn empty(core: &Arc<Core>, storage: &Arc<str>, namespace: Option<&str>) -> Result<usize, ApiError> {
    let list = core.store.list(storage, namespace, 0)?;
    for object in &list.items {
        remove(core, &object.key, "", false).await?;
    }
    if list.items.is_empty() {
        return Ok(0);
    }
    Ok(core.store.list(storage, namespace, 0)?.items.len())
}

fn drop_owners(object: &mut Value, gone: &[Arc<str>]) {
    let Some(meta) = object["metadata"].as_object_mut() else { return };
    let Some(owners) = meta.get_mut("ownerReferences").and_then(Value::as_array_mut) else { return };
    owners.retain(|o| !o["uid"].as_str().is_some_and(|uid| gone.iter().any(|it| **it == *uid)));
    if owners.is_empty() {
        meta.remove("ownerReferences");
    }
}

fn drop_finalizer(object: &mut Value, finalizer: &str) {
    let Some(meta) = object["metadata"].as_object_mut() else { return };
    let Some(list) = meta.get_mut("finalizers").and_then(Value::as_array_mut) else { return };
    list.retain(|f| f != finalizer);
    if list.is_empty() {
        meta.remove("finalizers");
    }
}

/// Deletes an object, or marks it when it has finalizers. An empty `uid` takes any.
async fn remove(core: &Arc<Core>, key: &Key, uid: &str, foreground: bool) -> Result<(), ApiError> {
    change(core, key, uid, |object| {
        let meta = &mut object["metadata"];
        if !meta["deletionTimestamp"].is_string() {
            meta["deletionTimestamp"] = json!(now());
            meta["deletionGracePeriodSeconds"] = json!(0);
            if foreground {
                let mut finalizers = meta["finalizers"].as_array().cloned().unwrap_or_default();
                finalizers.push(json!(FOREGROUND));
                meta["finalizers"] = json!(finalizers);
            }
        }
        if &*key.resource == NAMESPACES {
            object["status"] = json!({"phase": "Terminating"});
        }
    })
    .await
}

/// Changes an object if it is still the one with this UID; removes it when nothing holds it any more.
async fn change(core: &Arc<Core>, key: &Key, uid: &str, edit: impl Fn(&mut Value)) -> Result<(), ApiError> {
    for _ in 0..RETRIES {
        let Some(live) = core.read(key)? else { return Ok(()) };
        if !uid.is_empty() && *live.meta.uid != *uid {
            return Ok(());
        }
        let mut new = live.value.clone();
        edit(&mut new);
        match store(core, key, &live, &mut new).await {
            Err(WriteError::Changed { .. }) => {}
            Ok(()) | Err(WriteError::Missing | WriteError::Closed) => return Ok(()),
            Err(error) => return Err(ApiError::internal(error.to_string())),
        }
    }
    Err(ApiError::internal(format!("{} keeps changing", key.name)))
}

async fn store(core: &Arc<Core>, key: &Key, live: &Live, new: &mut Value) -> Result<(), WriteError> {
    if is_gone(new) {
        return core.erase(live, new, Durability::Derived).await.map(drop);
    }
    if *new == live.value {
        return Ok(());
    }
    core.put(key.clone(), Some(live), new, Durability::Derived).await.map(drop)
}
