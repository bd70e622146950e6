//! What is wrong with a text that should be an Envoy message, and where.

use std::fmt;

/// One mistake in a YAML or JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line in the text, from 1; 0 when the input has no lines (JSON values).
    pub line: usize,
    /// Column in the line, in characters from 1; 0 as above.
    pub column: usize,
    /// The field, e.g. `filter_chains[0].filters[1].typed_config.route_config`; empty for the message itself.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}
