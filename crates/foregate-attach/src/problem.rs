//! Why something isn't accepted or resolved.

/// A reason of the standard and a message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub reason: &'static str,
    pub message: String,
}

impl Problem {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// The same problem, with the field it is about in front.
    pub fn at(self, path: &str) -> Self {
        Self { message: format!("{path}: {}", self.message), ..self }
    }
}

/// How many problems a message spells out.
const SPELLED_OUT: usize = 4;

/// Several problems as one: the first one's reason, the first few messages.
pub(crate) fn join(problems: Vec<Problem>) -> Result<(), Problem> {
    let Some(first) = problems.first() else { return Ok(()) };
    let reason = first.reason;
    let more = problems.len().saturating_sub(SPELLED_OUT);
    let mut message = problems.into_iter().take(SPELLED_OUT).map(|p| p.message).collect::<Vec<_>>().join("; ");
    if more > 0 {
        message.push_str(&format!("; and {more} more"));
    }
    Err(Problem { reason, message })
}
