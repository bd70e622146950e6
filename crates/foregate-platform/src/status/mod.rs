//! Conditions back: what is known of an object, turned into its status. Pure functions, one file per kind.

pub(crate) mod claim;
pub(crate) mod complaint;
pub(crate) mod instance;
pub(crate) mod problem;
pub(crate) mod proxy;

use serde::Serialize;
use serde_json::Value;

/// The merge patch that makes an object's status exactly this: fields that it doesn't have are set to null. What others
/// write in it ([`instance::OTHERS`]) is left out.
pub(crate) fn patch(uid: &str, status: &impl Serialize, optional: &[&str]) -> Option<Value> {
    let mut status = serde_json::to_value(status).ok()?;
    let fields = status.as_object_mut()?;
    fields.remove(instance::OTHERS);
    for field in optional {
        fields.entry(*field).or_insert(Value::Null);
    }
    Some(serde_json::json!({ "metadata": { "uid": uid }, "status": status }))
}

/// Why a gateway has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unmet {
    /// The Gateway API's reason for `Programmed`.
    pub reason: &'static str,
    /// Why, and what to do.
    pub message: String,
}
