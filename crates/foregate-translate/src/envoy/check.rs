//! Envoy's own rules.

use crate::Problem;

/// Checks an encoded message by Envoy's rules; the first violation is the problem.
pub(crate) fn check(type_name: &str, body: &[u8], field: &str) -> Result<(), Problem> {
    match foregate_envoy::validate(type_name, body).into_iter().next() {
        None => Ok(()),
        Some(violation) => {
            Err(Problem::Rule { field: field.to_owned(), reason: format!("{}: {}", violation.path, violation.message) })
        }
    }
}
