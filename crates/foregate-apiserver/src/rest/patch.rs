//! PATCH in its four forms.

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::body::{self, Body};
use super::op::Op;
use super::update;
use crate::error::ApiError;

const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, \
    application/strategic-merge-patch+json, application/apply-patch+yaml";

/// Applies a patch to the object in the path.
pub(crate) async fn patch(op: &Op, media: &str, bytes: Bytes) -> Result<Response<Body>, ApiError> {
    match media {
        "application/json-patch+json" => {
            let patch: json_patch::Patch = serde_json::from_slice(&bytes)
                .map_err(|e| ApiError::bad_request(format!("the body is not a JSON patch: {e}")))?;
            update::change(op, op.validation, |live| {
                let mut new = live.clone();
                json_patch::patch(&mut new, &patch).map_err(|e| {
                    ApiError::new(http::StatusCode::UNPROCESSABLE_ENTITY, "Invalid", format!("the server rejected our request due to an error in our request: {e}"))
                })?;
                Ok((new, Vec::new()))
            })
            .await
        }
        "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
            let patch = body::from_json(&bytes)?;
            update::change(op, op.validation, |live| {
                let mut new = live.clone();
                json_patch::merge(&mut new, &patch);
                Ok((new, Vec::new()))
            })
            .await
        }
        "application/apply-patch+yaml" | "application/apply-patch+json" => {
            let applied = body::from_yaml(&bytes)?;
            apply(op, applied).await
        }
        _ => Err(ApiError::unsupported_media(ACCEPTED)),
    }
}

async fn apply(op: &Op, applied: Value) -> Result<Response<Body>, ApiError> {
    if op.core.store.get(&op.key())?.is_none() {
        return super::create::born(op, applied, Vec::new(), op.validation, |_| Ok(())).await;
    }
    update::change(op, op.validation, |live| {
        let mut new = live.clone();
        json_patch::merge(&mut new, &applied);
        Ok((new, Vec::new()))
    })
    .await
}
