//! DELETE of an object and of a collection.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::{self, Body};
use super::op::Op;
use super::read::Selection;
use super::update::is_gone;
use crate::admission::{Operation, Write};
use crate::core::{Live, now, refuse};
use crate::error::ApiError;
use crate::store::{Object, WriteError};

/// Finalizer of an object whose dependents go first.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object whose dependents stay.
pub(crate) const ORPHAN: &str = "orphan";
/// Finalizer of a definition whose objects go first.
pub(crate) const DEFINITION: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Objects of a collection that are deleted at the same time.
const AT_ONCE: usize = 64;
/// Namespaces that can't be deleted.
const PERMANENT: [&str; 2] = ["default", "kube-system"];

/// `DeleteOptions`
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    policy: Option<String>,
    uid: Option<String>,
    revision: Option<String>,
    dry_run: bool,
}

impl Options {
    /// From the body, or the parameters.
    pub fn of(op: &Op, media: &str, bytes: &Bytes) -> Result<Self, ApiError> {
        let value = if bytes.is_empty() { Value::Null } else { body::decode(media, bytes)? };
        let text = |v: &Value| v.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
        let policy = text(&value["propagationPolicy"]).or_else(|| op.query.get("propagationPolicy").map(str::to_owned));
        let orphan = value["orphanDependents"].as_bool() == Some(true) || op.query.flag("orphanDependents");
        let policy = policy.or_else(|| orphan.then(|| "Orphan".to_owned()));
        if let Some(other) = &policy
            && !matches!(other.as_str(), "Orphan" | "Background" | "Foreground")
        {
            return Err(ApiError::bad_request(format!(
                "propagationPolicy: {other:?}: use Orphan, Background or Foreground"
            )));
        }
        let dry_run = value["dryRun"].as_array().is_some_and(|l| l.iter().any(|v| v == "All"));
        Ok(Self {
            policy,
            uid: text(&value["preconditions"]["uid"]),
            revision: text(&value["preconditions"]["resourceVersion"]),
            dry_run: dry_run || op.dry_run,
        })
    }
}

/// Deletes the object in the path.
pub(crate) async fn delete(op: &Op, options: &Options) -> Result<Response<Body>, ApiError> {
    match remove(op, op.key(), options).await? {
        Some(left) => op.answer_value(StatusCode::OK, left, &[]),
        None => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": {"name": op.name(), "group": op.kind.group, "kind": op.kind.plural}});
            op.finish(StatusCode::OK, Bytes::from(status.to_string()), &[])
        }
    }
}

/// Deletes what a list of the same parameters would show.
pub(crate) async fn collection(op: &Op, options: &Options) -> Result<Response<Body>, ApiError> {
    let selection = Selection::of(op)?;
    let namespace = op.target.namespace.as_deref().or((!op.kind.namespaced).then_some(""));
    let list = op.core.store.list(&op.kind.storage, namespace, 0)?;
    let mut selected = Vec::new();
    for object in list.items {
        if selection.takes(&object)? {
            selected.push(object);
        }
    }
    // Several at a time, so that they share fsyncs.
    let mut removals = stream::iter(selected)
        .map(|object| async move { (remove(op, object.key.clone(), options).await, object) })
        .buffered(AT_ONCE);
    let mut removed: Vec<Object> = Vec::new();
    while let Some((outcome, mut object)) = removals.next().await {
        match outcome {
            Ok(_) => {
                if op.blind {
                    object.bytes = Bytes::from(super::op::veil(crate::core::parse(&object)?).to_string());
                }
                removed.push(object);
            }
            Err(error) if error.code == StatusCode::NOT_FOUND => {}
            Err(error) => return Err(error),
        }
    }
    let answer = super::read::objects(op, &removed, &list.revision.to_string(), None)?;
    op.finish(StatusCode::OK, answer, &[])
}

/// Removes an object, or marks it for removal: then what is left is returned.
async fn remove(op: &Op, key: crate::store::Key, options: &Options) -> Result<Option<Value>, ApiError> {
    loop {
        let name = key.name.clone();
        let missing = || ApiError::not_found(&op.kind.group, &op.kind.plural, &name);
        let live = op.core.read(&key)?.ok_or_else(missing)?;
        precondition(op, &live, options)?;
        let write = Write { op, operation: Operation::Delete, name: &name, object: None, old: Some(&live.value) };
        op.core.admission.review(&write)?;
        if op.kind.is_namespace() && PERMANENT.contains(&&*name) {
            return Err(ApiError::forbidden("", "namespaces", &name, "this namespace may not be deleted"));
        }
        let mut new = live.value.clone();
        mark(op, &mut new, options);
        let gone = is_gone(&new);
        if options.dry_run || (!gone && new == live.value) {
            return Ok(Some(new));
        }
        let written = if gone {
            op.core.erase(&live, &mut new, op.caller.durability).await
        } else {
            op.core.put(key.clone(), Some(&live), &mut new, op.caller.durability).await
        };
        match written {
            Ok(_) if gone => return Ok(None),
            Ok(stored) => return crate::core::parse(&stored).map(Some),
            Err(WriteError::Changed { .. }) if options.revision.is_none() => {}
            Err(error) => return Err(refuse(&op.kind, &name, &error)),
        }
    }
}

fn precondition(op: &Op, live: &Live, options: &Options) -> Result<(), ApiError> {
    let conflict = |what: &str, asked: &str, found: &str| {
        let why = format!("Precondition failed: {what} in precondition: {asked}, {what} in object meta: {found}");
        ApiError::conflict(&op.kind.group, &op.kind.plural, &live.object.key.name, why)
    };
    if let Some(uid) = &options.uid
        && **uid != *live.meta.uid
    {
        return Err(conflict("UID", uid, &live.meta.uid));
    }
    let revision = live.object.revision.to_string();
    match &options.revision {
        Some(asked) if *asked != revision => Err(conflict("ResourceVersion", asked, &revision)),
        _ => Ok(()),
    }
}

/// Sets the time of deletion and the finalizers that the way of deletion needs.
fn mark(op: &Op, object: &mut Value, options: &Options) {
    let first = !object["metadata"]["deletionTimestamp"].is_string();
    if first {
        object["metadata"]["deletionTimestamp"] = json!(now());
        object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        if op.kind.generation
            && let Some(generation) = object["metadata"]["generation"].as_i64()
        {
            object["metadata"]["generation"] = json!(generation + 1);
        }
    }
    let wanted = match options.policy.as_deref() {
        Some("Foreground") => Some(FOREGROUND),
        Some("Orphan") => Some(ORPHAN),
        _ => None,
    };
    let mut finalizers: Vec<Value> = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    if options.policy.is_some() {
        finalizers.retain(|f| f != FOREGROUND && f != ORPHAN);
    }
    finalizers.extend(wanted.map(|w| json!(w)));
    if op.kind.is_definition() && first {
        finalizers.push(json!(DEFINITION));
    }
    if finalizers.is_empty() {
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.remove("finalizers");
        }
    } else {
        object["metadata"]["finalizers"] = Value::Array(finalizers);
    }
    if op.kind.is_namespace() && first {
        object["status"]["phase"] = json!("Terminating");
    }
}
