//! JSON patch and JSON merge patch, with bounds.

use serde_json::Value;

/// Why a patch can't be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The body is not a patch of its type: 400.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object: 422.
    #[error("{0}")]
    Unprocessable(String),
}

/// Operations of one JSON patch, as upstream.
const OPERATIONS: usize = 10_000;
/// Nesting of an object: JSON parsers stop at 128.
const DEPTH: usize = 100;
/// What copies may make of an object: copies of copies double it each time.
const COPIED_BYTES: usize = 3 << 20;

/// Applies a JSON patch (RFC 6902).
///
/// # Errors
/// A malformed patch; a failed `test`; a path that isn't there.
pub fn json(live: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations: Vec<json_patch::PatchOperation> = serde_json::from_value(patch.clone())
        .map_err(|error| PatchError::Malformed(format!("the body is not a JSON patch: {error}")))?;
    if operations.len() > OPERATIONS {
        let message = format!("the JSON patch has {} operations; at most {OPERATIONS} are allowed", operations.len());
        return Err(PatchError::Unprocessable(message));
    }
    let mut new = live.clone();
    let mut copied = 0;
    for (index, operation) in operations.into_iter().enumerate() {
        if let json_patch::PatchOperation::Copy(copy) = &operation {
            copied += new.pointer(copy.from.as_str()).map_or(0, |value| value.to_string().len());
            if copied > COPIED_BYTES {
                let message = format!("the JSON patch copies more than {COPIED_BYTES} bytes");
                return Err(PatchError::Unprocessable(message));
            }
        }
        json_patch::patch(&mut new, &[operation]).map_err(|error| {
            PatchError::Unprocessable(format!("operation {index} of the JSON patch can't be applied: {error}"))
        })?;
    }
    if too_deep(&new, 0) {
        // Deeper objects could be stored, but never read again.
        return Err(PatchError::Unprocessable(format!(
            "the patched object would be nested more than {DEPTH} levels deep"
        )));
    }
    Ok(new)
}

fn too_deep(value: &Value, depth: usize) -> bool {
    let below = |value| too_deep(value, depth + 1);
    depth > DEPTH
        || match value {
            Value::Object(map) => map.values().any(below),
            Value::Array(items) => items.iter().any(below),
            _ => false,
        }
}

/// Applies a JSON merge patch (RFC 7386).
///
/// # Errors
/// A patch that isn't an object.
pub fn merge(live: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed("the body is not a JSON merge patch: it must be an object".into()));
    }
    let mut new = live.clone();
    json_patch::merge(&mut new, patch);
    Ok(new)
}
