//! One request for objects of one kind.

use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Response, StatusCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::body::{self, Body};
use super::negotiate::{Accept, View};
use super::path::Target;
use super::query::Query;
use super::table;
use crate::auth::Caller;
use crate::core::{Core, Live, parse};
use crate::error::ApiError;
use crate::registry::Kind;
use crate::schema::FieldValidation;
use crate::store::{Key, Object};

/// One request for objects of one kind.
pub(crate) struct Op {
    pub core: Arc<Core>,
    pub caller: Caller,
    pub kind: Arc<Kind>,
    pub target: Target,
    pub query: Query,
    pub accept: Accept,
    /// Who writes (`fieldManager`).
    pub manager: String,
    pub dry_run: bool,
    /// Whether it is a server-side apply.
    pub apply: bool,
    /// Whether it is any patch: what it gives follows from what is there, and is computed again after a change.
    pub patching: bool,
    pub validation: FieldValidation,
    /// Whether the caller may write Secrets but not read them: answers leave out what is in them.
    pub blind: bool,
    /// Ends watches.
    pub stop: CancellationToken,
    /// Cancelled when the caller's credential isn't good any more, which ends watches, too.
    pub revoked: Option<CancellationToken>,
}

impl Op {
    /// The namespace part of keys: empty for cluster-scoped kinds.
    pub fn namespace(&self) -> &str {
        self.target.namespace.as_deref().unwrap_or_default()
    }

    /// The name in the path; list paths have none.
    pub fn name(&self) -> &str {
        self.target.name.as_deref().unwrap_or_default()
    }

    /// The key of the object in the path.
    pub fn key(&self) -> Key {
        Key::new(&self.kind.storage, self.namespace(), self.name())
    }

    /// Whether it is about the status alone.
    pub fn on_status(&self) -> bool {
        self.target.subresource.as_deref() == Some("status")
    }

    /// Whether it is a server-side apply, which keeps managed fields itself.
    pub fn on_apply(&self) -> bool {
        self.apply
    }

    /// 404 for the object in the path.
    pub fn missing(&self) -> ApiError {
        ApiError::not_found(&self.kind.group, &self.kind.plural, self.name())
    }

    /// The object in the path.
    pub fn live(&self) -> Result<Live, ApiError> {
        self.core.read(&self.key())?.ok_or_else(|| self.missing())
    }

    /// Answers with one object.
    pub fn answer(&self, code: StatusCode, object: &Object, warnings: &[String]) -> Result<Response<Body>, ApiError> {
        let bytes = match self.accept.view {
            View::Object if self.blind => Bytes::from(veil(parse(object)?).to_string()),
            View::Object => show(&self.kind, object)?,
            View::Partial if !self.blind => table::partial_json(object)?,
            _ => Bytes::from(self.view_of(parse(object)?).to_string()),
        };
        self.finish(code, bytes, warnings)
    }

    /// Answers with an object that isn't stored.
    pub fn answer_value(
        &self,
        code: StatusCode,
        value: Value,
        warnings: &[String],
    ) -> Result<Response<Body>, ApiError> {
        let value = match self.accept.view {
            View::Object if self.blind => veil(value),
            View::Object => value,
            _ => self.view_of(value),
        };
        self.finish(code, Bytes::from(value.to_string()), warnings)
    }

    fn view_of(&self, mut value: Value) -> Value {
        if self.blind {
            value = veil(value);
        }
        set_version(&self.kind, &mut value);
        match self.accept.view {
            View::Object => value,
            View::Table => {
                let revision = value["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
                table::table(&self.kind, &self.query, [value].into_iter(), &revision, None, true)
            }
            View::Partial => table::partial(&value),
        }
    }

    /// Answers with JSON, or the YAML of it.
    pub fn finish(&self, code: StatusCode, bytes: Bytes, warnings: &[String]) -> Result<Response<Body>, ApiError> {
        let mut response = if self.accept.yaml {
            let value: Value = serde_json::from_slice(&bytes).map_err(|e| ApiError::internal(e.to_string()))?;
            let yaml = serde_saphyr::to_string(&value).map_err(|e| ApiError::internal(e.to_string()))?;
            let mut response = body::json(code, yaml);
            response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
            response
        } else {
            body::json(code, bytes)
        };
        for warning in self.kind.warning.iter().chain(warnings) {
            warn(&mut response, warning);
        }
        Ok(response)
    }
}

/// What a caller sees of a Secret that it may write but not read: who it is, not what is in it. Annotations are left out
/// as well, since data may have been put into them.
pub(crate) fn veil(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut() {
        map.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "type"));
    }
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("annotations");
        meta.remove("managedFields");
    }
    value
}

/// Adds a `Warning` header, as kubectl shows them.
fn warn(response: &mut Response<Body>, text: &str) {
    let clean: String = text
        .chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c if c.is_control() || !c.is_ascii() => vec!['?'],
            c => vec![c],
        })
        .take(512)
        .collect();
    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{clean}\"")) {
        response.headers_mut().append(http::header::WARNING, value);
    }
}

/// An object's JSON in the version of `kind`.
pub(crate) fn show(kind: &Kind, object: &Object) -> Result<Bytes, ApiError> {
    if !kind.mixed {
        return Ok(object.bytes.clone());
    }
    let mut value = parse(object)?;
    if set_version(kind, &mut value) { Ok(Bytes::from(value.to_string())) } else { Ok(object.bytes.clone()) }
}

/// Puts an object into the version of `kind`; whether that changed it.
pub(crate) fn set_version(kind: &Kind, value: &mut Value) -> bool {
    let version = kind.api_version();
    if value["apiVersion"] == version.as_str() {
        return false;
    }
    value["apiVersion"] = Value::String(version);
    true
}
