//! Why an object can't be translated.

/// Why an object can't be translated. The text names the field and what to do; it ends up in a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A regular expression that doesn't compile.
    #[error("{field}: {pattern:?} isn't a valid RE2 regular expression: {reason}")]
    Regex {
        /// Where.
        field: String,
        /// The expression.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// A combination that no engine can serve.
    #[error("{field}: {reason}")]
    Unsupported {
        /// Where.
        field: String,
        /// Why, and what to do instead.
        reason: String,
    },
    /// A value that makes no sense.
    #[error("{field}: {reason}")]
    Invalid {
        /// Where.
        field: String,
        /// Why.
        reason: String,
    },
    /// What was made from it breaks one of Envoy's rules.
    #[error("{field}: Envoy refuses this: {reason}")]
    Rule {
        /// Where.
        field: String,
        /// Envoy's field, its rule and what it says.
        reason: String,
    },
    /// The gateway's template can't be used.
    #[error("{field}: {reason}")]
    Template {
        /// Which part of the template, e.g. `spec.template.envoy.listener`.
        field: String,
        /// Where in it and why.
        reason: String,
    },
    /// An engine refused it.
    #[error("the engine refused it: {message}")]
    Refused {
        /// The engine's words.
        message: String,
    },
}

impl Problem {
    pub(crate) fn unsupported(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported { field: field.into(), reason: reason.into() }
    }

    pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }

    /// The same, said of the gateway's template.
    pub(crate) fn into_template(self) -> Self {
        match self {
            Self::Rule { field, reason } => Self::Template { field, reason: format!("Envoy refuses this: {reason}") },
            other => other,
        }
    }

    pub(crate) fn template(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Template { field: field.into(), reason: reason.into() }
    }
}
