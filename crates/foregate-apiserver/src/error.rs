//! `metav1.Status` answers, in the form that kubectl and client libraries expect.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::schema::FieldError;

/// One reason among several for a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Why: a `metav1.CauseType`, e.g. `FieldValueInvalid`.
    pub reason: &'static str,
    /// Path of the field, e.g. `spec.listeners[0].port`; may be empty.
    pub field: String,
    /// What is wrong, for a person.
    pub message: String,
}

impl Cause {
    /// A cause.
    pub fn new(reason: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason, field: field.into(), message: message.into() }
    }

    /// A value that breaks a rule.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new("FieldValueInvalid", field, message)
    }
}

impl From<FieldError> for Cause {
    fn from(error: FieldError) -> Self {
        let message = error.body();
        Self::new(error.kind.reason(), error.field, message)
    }
}

/// An answer other than success: HTTP status and `metav1.Status`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status.
    pub code: StatusCode,
    /// Reason, as `metav1.StatusReason`.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
    /// What it is about, and why in detail.
    pub details: Box<Details>,
}

/// `metav1.StatusDetails`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Name of the object.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its resource or kind.
    pub kind: String,
    /// What is wrong, per field.
    pub causes: Vec<Cause>,
    /// When to try again, in seconds.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// An error with a message and no details.
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Box::default() }
    }

    /// The same, about an object of a resource.
    pub fn about(mut self, group: &str, resource: &str, name: &str) -> Self {
        self.details.group = group.into();
        self.details.kind = resource.into();
        self.details.name = name.into();
        self
    }

    /// 400
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403
    pub fn forbidden(group: &str, resource: &str, name: &str, why: impl std::fmt::Display) -> Self {
        let shown = qualified(group, resource);
        Self::new(StatusCode::FORBIDDEN, "Forbidden", format!("{shown} {name:?} is forbidden: {why}"))
            .about(group, resource, name)
    }

    /// 404 for an object.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let shown = qualified(group, resource);
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{shown} {name:?} not found")).about(group, resource, name)
    }

    /// 404 for a path.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    /// 405
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    /// 409 on create.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let shown = qualified(group, resource);
        Self::new(StatusCode::CONFLICT, "AlreadyExists", format!("{shown} {name:?} already exists"))
            .about(group, resource, name)
    }

    /// 409 on update.
    pub fn conflict(group: &str, resource: &str, name: &str, why: impl std::fmt::Display) -> Self {
        let shown = qualified(group, resource);
        Self::new(StatusCode::CONFLICT, "Conflict", format!("Operation cannot be fulfilled on {shown} {name:?}: {why}"))
            .about(group, resource, name)
    }

    /// 409 because the object was changed since it was read.
    pub fn modified(group: &str, resource: &str, name: &str) -> Self {
        Self::conflict(
            group,
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 422 with its causes.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let shown = qualified(group, kind);
        let texts: Vec<String> = causes
            .iter()
            .map(|c| if c.field.is_empty() { c.message.clone() } else { format!("{}: {}", c.field, c.message) })
            .collect();
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut error =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", format!("{shown} {name:?} is invalid: {text}"))
                .about(group, kind, name);
        error.details.causes = causes;
        error
    }

    /// 410: the revision asked for is no longer known.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 413
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit} bytes"),
        )
    }

    /// 406
    pub fn not_acceptable() -> Self {
        Self::new(
            StatusCode::NOT_ACCEPTABLE,
            "NotAcceptable",
            "only the following media types are accepted: application/json, application/yaml",
        )
    }

    /// 415
    pub fn unsupported_media(accepted: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}"),
        )
    }

    /// 500
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// 504: a revision that this server has not reached.
    pub fn future_revision(asked: u64, have: u64) -> Self {
        let mut error = Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            format!("Too large resource version: {asked}, current: {have}"),
        );
        error.details.retry_after = Some(1);
        error
    }

    /// The `metav1.Status` object.
    pub fn status(&self) -> Value {
        let about = &self.details;
        let mut details = Map::new();
        for (key, value) in [("name", &about.name), ("group", &about.group), ("kind", &about.kind)] {
            if !value.is_empty() {
                details.insert(key.into(), json!(value));
            }
        }
        if !about.causes.is_empty() {
            let causes: Vec<Value> = about.causes.iter().map(cause_json).collect();
            details.insert("causes".into(), Value::Array(causes));
        }
        if let Some(seconds) = about.retry_after {
            details.insert("retryAfterSeconds".into(), json!(seconds));
        }
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "details": details, "code": self.code.as_u16(),
        })
    }
}

fn cause_json(cause: &Cause) -> Value {
    let mut out = Map::new();
    out.insert("reason".into(), json!(cause.reason));
    out.insert("message".into(), json!(cause.message));
    if !cause.field.is_empty() {
        out.insert("field".into(), json!(cause.field));
    }
    Value::Object(out)
}

/// `httproutes.gateway.networking.k8s.io`, or the bare name in the core group.
fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_lists_every_cause() {
        let causes = vec![
            Cause::new("FieldValueRequired", "spec.a", "Required value"),
            Cause::invalid("spec.b", "Invalid value: 3: too big"),
        ];
        let error = ApiError::invalid("x.dev", "Thing", "one", causes);
        assert_eq!(
            error.message,
            "Thing.x.dev \"one\" is invalid: [spec.a: Required value, spec.b: Invalid value: 3: too big]"
        );
        let status = error.status();
        assert_eq!(status["details"]["causes"][1]["field"], "spec.b");
        assert_eq!(status["code"], 422);
    }
}
