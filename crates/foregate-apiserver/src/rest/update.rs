//! PUT and PATCH: read, change, check, write; again when someone else was faster.

use std::borrow::Cow;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::Body;
use super::op::{Op, set_version};
use super::{create, manage, prepare};
use crate::admission::{Operation, Write};
use crate::core::{Live, refuse};
use crate::error::ApiError;
use crate::schema::FieldValidation;
use crate::store::WriteError;

/// How often a change without a resourceVersion is tried again when someone else was faster.
const RETRIES: usize = 200;

/// PUT of an object. It creates none: no kind here lets a PUT do that.
pub(crate) async fn replace(op: &Op, object: Value, warnings: Vec<String>) -> Result<Response<Body>, ApiError> {
    change(op, op.validation, |_| Ok((object.clone(), warnings.clone()))).await
}

/// Changes the object in the path to what `make` returns of it.
pub(crate) async fn change(
    op: &Op,
    mode: FieldValidation,
    make: impl Fn(&Value) -> Result<(Value, Vec<String>), ApiError>,
) -> Result<Response<Body>, ApiError> {
    change_from(op, op.live()?, mode, make).await
}

/// The same, with the object as it was read just now.
pub(crate) async fn change_from(
    op: &Op,
    mut live: Live,
    mode: FieldValidation,
    make: impl Fn(&Value) -> Result<(Value, Vec<String>), ApiError>,
) -> Result<Response<Body>, ApiError> {
    let mut attempt = 0;
    loop {
        let shown = shown(op, &live);
        let (mut new, mut warnings) = make(&shown)?;
        prepare::envelope(op, &mut new)?;
        let pinned = pinned(op, &new, &live)? && !op.patching;
        carry_over(op, &mut new, &shown)?;
        warnings.extend(prepare::shape(op, &mut new, mode)?);
        prepare::validate(op, op.name(), &new, Some(&shown))?;
        if !op.on_status() {
            prepare::settle(op, &mut new);
        }
        count_generation(op, &mut new, &shown);
        if !op.on_apply() {
            manage::update(op, Some(&shown), &mut new)?;
        }
        let write = Write { op, operation: Operation::Update, name: op.name(), object: Some(&new), old: Some(&shown) };
        warnings.extend(op.core.admission.review(&write)?);
        if same(&new, &shown) {
            return op.answer(StatusCode::OK, &live.object, &warnings);
        }
        create::store_version(op, &mut new);
        if op.dry_run {
            return op.answer_value(StatusCode::OK, new, &warnings);
        }
        let gone = is_gone(&new);
        let written = if gone {
            op.core.erase(&live, &mut new, op.caller.durability).await
        } else {
            op.core.put(op.key(), Some(&live), &mut new, op.caller.durability).await
        };
        match written {
            Ok(stored) => return op.answer(StatusCode::OK, &stored, &warnings),
            Err(WriteError::Changed { .. }) if !pinned && attempt < RETRIES => attempt += 1,
            Err(error) => return Err(refuse(&op.kind, op.name(), &error)),
        }
        live = op.live()?;
    }
}

/// The stored object in the version that the request speaks.
fn shown<'a>(op: &Op, live: &'a Live) -> Cow<'a, Value> {
    if op.kind.mixed {
        let mut value = live.value.clone();
        if set_version(&op.kind, &mut value) {
            return Cow::Owned(value);
        }
    }
    Cow::Borrowed(&live.value)
}

/// Whether the request names the revision it changes; 409 when that isn't the present one.
fn pinned(op: &Op, new: &Value, live: &Live) -> Result<bool, ApiError> {
    let meta = &new["metadata"];
    if let Some(uid) = meta["uid"].as_str().filter(|u| !u.is_empty())
        && *uid != *live.meta.uid
    {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", live.meta.uid);
        return Err(ApiError::conflict(&op.kind.group, &op.kind.plural, op.name(), why));
    }
    match meta["resourceVersion"].as_str().filter(|v| !v.is_empty()) {
        None => Ok(false),
        Some(revision) if revision == live.object.revision.to_string() => Ok(true),
        Some(_) => Err(ApiError::modified(&op.kind.group, &op.kind.plural, op.name())),
    }
}

/// What a client can't change stays as it was.
fn carry_over(op: &Op, new: &mut Value, old: &Value) -> Result<(), ApiError> {
    let on_status = op.on_status();
    let Some(map) = new.as_object_mut() else { return Err(ApiError::bad_request("the body must be one object")) };
    if on_status {
        // A write of the status leaves everything else alone, managed fields aside.
        let status = map.remove("status");
        let managed = map.get_mut("metadata").map(|m| m["managedFields"].take());
        *map = old.as_object().cloned().unwrap_or_default();
        match status {
            Some(status) => drop(map.insert("status".into(), status)),
            None => drop(map.remove("status")),
        }
        if let (Some(Value::Array(managed)), Some(meta)) = (managed, map.get_mut("metadata")) {
            meta["managedFields"] = Value::Array(managed);
        }
        return Ok(());
    }
    if op.kind.status {
        match old.get("status") {
            Some(status) => drop(map.insert("status".into(), status.clone())),
            None => drop(map.remove("status")),
        }
    }
    let Some(meta) = map.get_mut("metadata").and_then(Value::as_object_mut) else { return Ok(()) };
    for key in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "generateName",
        "selfLink",
    ] {
        match old["metadata"].get(key) {
            Some(value) => drop(meta.insert(key.into(), value.clone())),
            None => drop(meta.remove(key)),
        }
    }
    if op.kind.is_namespace() {
        let spec = old.get("spec").cloned().unwrap_or(json!({}));
        // Only the namespace's own end changes its finalizers, through `finalize`.
        if op.target.subresource.as_deref() != Some("finalize") {
            map.insert("spec".into(), spec);
        }
    }
    Ok(())
}

/// `metadata.generation` counts changes of everything but metadata and status.
fn count_generation(op: &Op, new: &mut Value, old: &Value) {
    if !op.kind.generation {
        return;
    }
    let counted = |key: &String| key != "metadata" && !(op.kind.status && key == "status");
    let (Some(a), Some(b)) = (new.as_object(), old.as_object()) else { return };
    let differs =
        a.iter().any(|(k, v)| counted(k) && b.get(k) != Some(v)) || b.keys().any(|k| counted(k) && !a.contains_key(k));
    if differs {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        new["metadata"]["generation"] = json!(generation);
    }
}

/// Whether nothing changed, the times in managed fields aside.
fn same(new: &Value, old: &Value) -> bool {
    new == old
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(crate) fn is_gone(object: &Value) -> bool {
    let meta = &object["metadata"];
    let waits = |list: &Value| list.as_array().is_some_and(|l| !l.is_empty());
    let namespace = object["kind"] == "Namespace" && object["apiVersion"] == "v1";
    meta["deletionTimestamp"].is_string()
        && !waits(&meta["finalizers"])
        && !(namespace && waits(&object["spec"]["finalizers"]))
}
