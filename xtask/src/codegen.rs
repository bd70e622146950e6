//! `cargo xtask codegen`: makes the committed generated files again.
//!
//! Tests compare them with what they are made from, so that a stale one is a failed test.

use crate::process::{self, TaskError, cargo, command, step};
use crate::tools;

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
    })?;
    step("Envoy's descriptors", || {
        tools::apt_install(&[("protoc", "protobuf-compiler")])?;
        process::run(&mut command("sh", &["crates/foregate-envoy/codegen/descriptors.sh"]))
    })?;
    step("Kubernetes' schemas", || {
        tools::download_kubernetes_sources()?;
        process::run(&mut cargo(&["run", "-p", "foregate-apiserver", "--example", "codegen"]))
    })
}
