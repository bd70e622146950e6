//! What can be wrong with a template, and where.

use std::fmt;

/// A template that can't be parsed or rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The template's name.
    pub template: String,
    /// Line and column in its text, from 1; none when the template as a whole is meant.
    pub position: Option<(usize, usize)>,
    /// The start of the action at fault, e.g. `.Values.port`; empty when unknown.
    pub action: String,
    /// What is wrong.
    pub problem: Box<Problem>,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template {:?}", self.template)?;
        if let Some((line, column)) = self.position {
            write!(f, ", line {line}, column {column}")?;
        }
        if !self.action.is_empty() {
            write!(f, ", at `{}`", self.action)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for TemplateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.problem.as_ref())
    }
}

/// The kinds of mistakes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The text isn't a Go template.
    #[error("{0}")]
    Syntax(String),
    /// It calls a function that doesn't exist.
    #[error("there is no function {name:?}{}", suggest(.suggestion))]
    UnknownFunction {
        /// The name that it calls.
        name: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// It calls a template that isn't defined in it.
    #[error("there is no template {0:?}: define it in the same text")]
    UnknownTemplate(String),
    /// It uses a variable that isn't declared there.
    #[error("variable {0} is not declared here")]
    UnknownVariable(String),
    /// It reads a key that the data lacks.
    #[error("the data has no key {0:?}: for an optional value use `get`, `dig` or `hasKey`")]
    MissingKey(String),
    /// It prints null.
    #[error("the value is null, which can't be printed: give it a value, or use `default`")]
    Null,
    /// A function refused its arguments.
    #[error("{function}: {message}")]
    Function {
        /// The function.
        function: String,
        /// Why.
        message: String,
    },
    /// The template itself called `fail` or `required`.
    #[error("{0}")]
    Failed(String),
    /// The template, its data or its output is too large.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// Which of them.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// It nests or calls itself too deeply.
    #[error("blocks, calls of templates or values are nested too deeply")]
    TooDeep,
    /// It does too much.
    #[error("rendering takes more than {0} steps")]
    TooMuchWork(u64),
    /// Anything else that goes wrong while rendering.
    #[error("{0}")]
    Other(String),
}

fn suggest(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}
