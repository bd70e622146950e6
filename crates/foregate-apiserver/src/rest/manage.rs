//! managedFields: who set which fields.

use serde_json::Value;

use super::op::Op;
use crate::core::now;
use crate::error::{ApiError, Cause};
use crate::patch::managed::{self, ApplyError, Writer};
use crate::patch::{Conflict, Conflicts};

/// Notes in `new` who set which fields by a create, update or patch.
pub(crate) fn update(op: &Op, live: Option<&Value>, new: &mut Value) -> Result<(), ApiError> {
    with_writer(op, |writer| {
        managed::update(writer, live, new);
        Ok(())
    })
}

/// Server-side apply: `applied` merged into `live`, with managed fields.
pub(crate) fn apply(op: &Op, live: Option<&Value>, applied: &Value) -> Result<Value, ApiError> {
    let force = op.query.flag("force");
    with_writer(op, |writer| managed::apply(writer, live, applied, force).map_err(|e| refused(op, e)))
}

fn with_writer<T>(op: &Op, act: impl FnOnce(&Writer<'_>) -> Result<T, ApiError>) -> Result<T, ApiError> {
    let (now, api_version) = (now(), op.kind.api_version());
    act(&Writer {
        schema: op.kind.rules.schema()?,
        manager: &op.manager,
        api_version: &api_version,
        subresource: op.target.subresource.as_deref().filter(|s| *s == "status"),
        has_status: op.kind.status,
        now: &now,
    })
}

fn refused(op: &Op, error: ApplyError) -> ApiError {
    match error {
        ApplyError::Conflicts(conflicts) => conflict(op, &conflicts),
        ApplyError::Type(error) => ApiError::new(
            http::StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            format!(
                "failed to create typed patch object ({}/{}; {} {}): {error}",
                op.namespace(),
                op.name(),
                op.kind.api_version(),
                op.kind.kind
            ),
        ),
        other => ApiError::bad_request(other.to_string()),
    }
}

fn conflict(op: &Op, conflicts: &Conflicts) -> ApiError {
    let mut error = ApiError::new(http::StatusCode::CONFLICT, "Conflict", conflicts.to_string());
    error = error.about(&op.kind.group, &op.kind.plural, op.name());
    let cause = |c: &Conflict| Cause::new("FieldManagerConflict", c.field.clone(), c.message());
    error.details.causes = conflicts.0.iter().map(cause).collect();
    error
}
