//! PATCH in its four forms.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use super::body::{self, Body};
use super::op::Op;
use super::{create, manage, prepare, update};
use crate::auth::Attributes;
use crate::error::{ApiError, Cause};
use crate::patch::{self, PatchError};
use crate::registry::validation::Rules;
use crate::schema::FieldValidation;

const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, \
    application/strategic-merge-patch+json, application/apply-patch+yaml";

/// Applies a patch to the object in the path.
pub(crate) async fn patch(op: &Op, media: &str, bytes: Bytes) -> Result<Response<Body>, ApiError> {
    let builtin = matches!(op.kind.rules, Rules::Builtin(_));
    match media {
        // It can copy a value to where it is seen, and test what a value is.
        "application/json-patch+json" if op.blind => {
            let why = "a JSON patch reads what it changes, and the caller may not read Secrets: use another form";
            Err(ApiError::forbidden(&op.kind.group, &op.kind.plural, op.name(), why))
        }
        "application/json-patch+json" => {
            let patch = body::from_json(&bytes)?;
            by(op, |live| patch::json(live, &patch)).await
        }
        "application/merge-patch+json" => {
            let patch = body::from_json(&bytes)?;
            by(op, |live| patch::merge(live, &patch)).await
        }
        "application/strategic-merge-patch+json" if builtin => {
            let patch = body::from_json(&bytes)?;
            let schema = op.kind.rules.schema()?;
            by(op, |live| patch::strategic(schema, live, &patch)).await
        }
        "application/apply-patch+yaml" => apply(op, body::from_yaml(&bytes)?).await,
        "application/apply-patch+json" => apply(op, body::from_json(&bytes)?).await,
        _ => Err(ApiError::unsupported_media(ACCEPTED)),
    }
}

async fn by(op: &Op, patch: impl Fn(&Value) -> Result<Value, PatchError>) -> Result<Response<Body>, ApiError> {
    update::change(op, op.validation, |live| {
        let new =
            patch(live).map_err(|error| match error {
                PatchError::Malformed(text) => ApiError::bad_request(text),
                PatchError::Unprocessable(text) => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text)
                    .about(&op.kind.group, &op.kind.plural, op.name()),
            })?;
        Ok((new, Vec::new()))
    })
    .await
}

/// Server-side apply: creates what isn't there.
async fn apply(op: &Op, mut applied: Value) -> Result<Response<Body>, ApiError> {
    if op.query.get("fieldManager").is_none() {
        let cause = Cause::new("FieldValueRequired", "fieldManager", "Required value: is required for apply patch");
        return Err(ApiError::invalid("meta.k8s.io", "PatchOptions", "", vec![cause]));
    }
    let said = |field: &str| applied[field].as_str().is_some_and(|s| !s.is_empty());
    if !said("apiVersion") || !said("kind") {
        return Err(ApiError::bad_request("an applied configuration must have apiVersion and kind"));
    }
    prepare::envelope(op, &mut applied)?;
    let schema = op.kind.rules.schema()?;
    let warnings = schema.prune(&mut applied, op.validation).map_err(|error| prepare::strict(op, &error))?;
    loop {
        let live = op.core.read(&op.key())?;
        let there = live.is_some();
        let done = if let Some(live) = live {
            // What is unknown was found above; what is merged here was stored before.
            update::change_from(op, live, FieldValidation::Ignore, |live| {
                Ok((manage::apply(op, Some(live), &applied)?, warnings.clone()))
            })
            .await
        } else if op.target.subresource.is_some() {
            return Err(op.missing());
        } else {
            // Whoever may only change what is there makes nothing.
            op.core.auth.allow(&op.caller, &Attributes::of("create", &op.target))?;
            let managed = manage::apply(op, None, &applied)?;
            create::born(op, applied.clone(), warnings.clone(), FieldValidation::Ignore, Some(&managed)).await
        };
        match done {
            // Someone else created or deleted it in between.
            Err(error) if error.reason == "AlreadyExists" && !there => {}
            Err(error) if error.code == StatusCode::NOT_FOUND && there => {}
            done => return done,
        }
    }
}
