//! What a kind's schema does to a request.

use serde_json::Value;

use crate::error::Cause;

/// What to do about unknown and duplicate fields (`fieldValidation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and warn.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// Schema and everything that follows from it.
#[derive(Debug, Default)]
pub struct Rules {}

impl Rules {
    /// Prunes or refuses unknown fields, and sets defaults. Returns warnings.
    ///
    /// # Errors
    /// The unknown fields, when they are refused.
    pub fn prepare(&self, _object: &mut Value, _mode: FieldValidation) -> Result<Vec<String>, Vec<String>> {
        Ok(Vec::new())
    }

    /// Everything that is wrong with `new`.
    pub fn validate(&self, _new: &Value, _old: Option<&Value>) -> Vec<Cause> {
        Vec::new()
    }
}
