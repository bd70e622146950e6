//! POST to a collection.

use http::{Response, StatusCode};
use serde_json::Value;

use super::body::Body;
use super::op::Op;
use super::{manage, prepare};
use crate::admission::{Operation, Write};
use crate::core::refuse;
use crate::error::ApiError;
use crate::schema::FieldValidation;
use crate::store::{Key, WriteError};

/// Creates the object in a body.
pub(crate) async fn create(op: &Op, object: Value, warnings: Vec<String>) -> Result<Response<Body>, ApiError> {
    if op.target.name.is_some() || op.target.subresource.is_some() {
        return Err(ApiError::method_not_allowed());
    }
    born(op, object, warnings, op.validation, None).await
}

/// Stores a new object. Its managed fields are those of `applied` if it comes from a server-side apply.
pub(crate) async fn born(
    op: &Op,
    mut object: Value,
    mut warnings: Vec<String>,
    mode: FieldValidation,
    applied: Option<&Value>,
) -> Result<Response<Body>, ApiError> {
    if op.kind.definition.as_ref().is_some_and(|d| d.deleting) {
        return Err(ApiError::method_not_allowed());
    }
    prepare::envelope(op, &mut object)?;
    let generated = object["metadata"]["name"].as_str().is_none_or(str::is_empty);
    let name = prepare::birth(op, &mut object)?;
    prepare::namespace(op, &name)?;
    if op.kind.status
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    warnings.extend(prepare::shape(op, &mut object, mode)?);
    prepare::validate(op, &name, &object, None)?;
    prepare::settle(op, &mut object);
    match applied {
        Some(applied) => object["metadata"]["managedFields"] = applied["metadata"]["managedFields"].clone(),
        None => manage::update(op, None, &mut object)?,
    }
    store_version(op, &mut object);
    if op.dry_run {
        let key = Key::new(&op.kind.storage, op.namespace(), &name);
        if op.core.store.get(&key)?.is_some() {
            return Err(ApiError::already_exists(&op.kind.group, &op.kind.plural, &name));
        }
        warnings.extend(review(op, &name, &object)?);
        return op.answer_value(StatusCode::CREATED, object, &warnings);
    }
    loop {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        warnings.extend(review(op, &name, &object)?);
        let key = Key::new(&op.kind.storage, op.namespace(), &name);
        match op.core.put(key, None, &mut object, op.caller.durability).await {
            Ok(stored) => return op.answer(StatusCode::CREATED, &stored, &warnings),
            Err(WriteError::Exists) if generated => {
                let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default().to_owned();
                object["metadata"]["name"] = Value::String(super::names::generate(&prefix));
            }
            Err(error) => return Err(refuse(&op.kind, &name, &error)),
        }
    }
}

/// Asks the admission policies.
fn review(op: &Op, name: &str, object: &Value) -> Result<Vec<String>, ApiError> {
    op.core.admission.review(&Write { op, operation: Operation::Create, name, object: Some(object), old: None })
}

/// Objects are stored in their storage version.
pub(crate) fn store_version(op: &Op, object: &mut Value) {
    object["apiVersion"] = Value::String(op.kind.storage_api_version());
}
