//! Why a verb failed, and what to do next.

use crate::{EXIT_FAILURE, EXIT_USAGE};

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// What is wrong.
    message: String,
    /// What to do.
    pub next: Option<String>,
    /// The process's exit code.
    pub code: u8,
    /// What caused it.
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl CliError {
    /// Something failed, or isn't there.
    pub fn failed(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { message: message.into(), next: Some(next.into()), code: EXIT_FAILURE, source: None }
    }

    /// What was asked makes no sense.
    pub fn usage(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code: EXIT_USAGE, ..Self::failed(message, next) }
    }

    /// The same, because of something.
    pub fn because(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }
}

/// What a verb ends with.
pub type Ended = Result<std::process::ExitCode, CliError>;
