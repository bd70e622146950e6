//! `cargo xtask codegen`: makes the committed generated files again.
//!
//! Tests compare them with what they are made from, so that a stale one is a failed test.

use crate::process::{self, TaskError, cargo, step};

/// Runs every generator.
///
/// # Errors
/// When one fails.
pub fn run() -> Result<(), TaskError> {
    step("CRDs and golden files", || {
        process::run(
            cargo(&["test", "-p", "foregate-api", "-p", "foregate-attach", "-p", "foregate-translate"])
                .env("UPDATE_GOLDEN", "1"),
        )
    })
}
