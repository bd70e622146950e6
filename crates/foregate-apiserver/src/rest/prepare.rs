//! What every object goes through before it is stored.

use serde_json::{Map, Value, json};

use super::names;
use super::op::Op;
use crate::core::now;
use crate::error::{ApiError, Cause};
use crate::registry::crd;
use crate::schema::FieldValidation;

/// Checks that the body is an object of the path's kind and has metadata; puts it into the stored version.
pub(crate) fn envelope(op: &Op, object: &mut Value) -> Result<(), ApiError> {
    let Some(map) = object.as_object_mut() else {
        return Err(ApiError::bad_request("the body must be one object"));
    };
    let (version, kind) = (op.kind.api_version(), &op.kind.kind);
    for (field, expected) in [("apiVersion", version.as_str()), ("kind", kind.as_str())] {
        match map.get(field).and_then(Value::as_str) {
            None | Some("") => {
                map.insert(field.into(), json!(expected));
            }
            Some(found) if found == expected => {}
            Some(found) => {
                return Err(ApiError::bad_request(format!(
                    "{field}: the body says {found:?}, but the request is for {expected:?} ({} {version})",
                    op.kind.plural
                )));
            }
        }
    }
    let meta = map.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if meta.is_null() {
        *meta = json!({});
    }
    let Some(meta) = meta.as_object_mut() else {
        return Err(ApiError::bad_request("metadata must be an object"));
    };
    place(op, meta)
}

/// Holds the body's name and namespace against the path's.
fn place(op: &Op, meta: &mut Map<String, Value>) -> Result<(), ApiError> {
    let path = op.namespace();
    match meta.get("namespace").and_then(Value::as_str) {
        None | Some("") if op.kind.namespaced => {
            meta.insert("namespace".into(), json!(path));
        }
        None | Some("") => {
            meta.remove("namespace");
        }
        Some(_) if !op.kind.namespaced => {
            meta.remove("namespace");
        }
        Some(found) if found == path => {}
        Some(found) => {
            return Err(ApiError::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request: {found:?}, {path:?}"
            )));
        }
    }
    if let Some(name) = &op.target.name {
        match meta.get("name").and_then(Value::as_str) {
            None | Some("") => {
                meta.insert("name".into(), json!(name));
            }
            Some(found) if found == name => {}
            Some(found) => {
                return Err(ApiError::bad_request(format!(
                    "the name of the object ({found}) does not match the name on the URL ({name})"
                )));
            }
        }
    }
    Ok(())
}

/// Metadata of a new object.
pub(crate) fn birth(op: &Op, object: &mut Value) -> Result<String, ApiError> {
    let Some(meta) = object["metadata"].as_object_mut() else {
        return Err(ApiError::bad_request("metadata must be an object"));
    };
    if meta.get("resourceVersion").and_then(Value::as_str).is_some_and(|v| !v.is_empty()) {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let text = |meta: &Map<String, Value>, key: &str| {
        meta.get(key).and_then(Value::as_str).filter(|s| !s.is_empty()).map(str::to_owned)
    };
    let name = match (text(meta, "name"), text(meta, "generateName")) {
        (Some(name), _) => name,
        (None, Some(prefix)) => names::generate(&prefix),
        (None, None) => {
            let cause =
                Cause::new("FieldValueRequired", "metadata.name", "Required value: name or generateName is required");
            return Err(ApiError::invalid(&op.kind.group, &op.kind.kind, "", vec![cause]));
        }
    };
    meta.insert("name".into(), json!(name));
    meta.insert("uid".into(), json!(uuid::Uuid::new_v4().to_string()));
    meta.insert("creationTimestamp".into(), json!(now()));
    for key in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        meta.remove(key);
    }
    if op.kind.generation {
        meta.insert("generation".into(), json!(1));
    }
    Ok(name)
}

/// Prunes, defaults and, where the kind has them, completes fields. Returns warnings.
pub(crate) fn shape(op: &Op, object: &mut Value, mode: FieldValidation) -> Result<Vec<String>, ApiError> {
    let schema = op.kind.rules.schema()?;
    let warnings = schema.prepare(object, mode).map_err(|error| strict(op, &error))?;
    op.kind.rules.complete(object);
    Ok(warnings)
}

/// 400 for what strict decoding refuses.
pub(crate) fn strict(op: &Op, error: &impl std::fmt::Display) -> ApiError {
    let (kind, version) = (&op.kind.kind, &op.kind.version);
    ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
}

/// Everything that is wrong with an object.
pub(crate) fn validate(op: &Op, name: &str, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let mut causes = op.kind.rules.validate(new, old, op.kind.namespaced)?;
    if op.kind.is_definition() && causes.is_empty() && old.is_none_or(|o| o["spec"] != new["spec"]) {
        causes.extend(crd::validate(new, old));
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(&op.kind.group, &op.kind.kind, name, causes))
}

/// Conditions of a definition follow from it at once: names are never contested here.
pub(crate) fn settle(op: &Op, object: &mut Value) {
    if op.kind.is_definition() {
        crd::establish(object, &now());
    }
}

/// The namespace that a new object goes to must be there, and must not be going away.
pub(crate) fn namespace(op: &Op, name: &str) -> Result<(), ApiError> {
    if !op.kind.namespaced {
        return Ok(());
    }
    let namespace = op.namespace();
    let Some(is_ending) = op.core.namespaces.is_ending(namespace) else {
        return Err(ApiError::not_found("", "namespaces", namespace));
    };
    if is_ending {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut error = ApiError::forbidden(&op.kind.group, &op.kind.plural, name, why);
        let message = format!("namespace {namespace} is being terminated");
        error.details.causes.push(Cause::new("NamespaceTerminating", "metadata.namespace", message));
        return Err(error);
    }
    Ok(())
}
