//! Fields that an apply wants to change and other managers own.

use std::fmt;

/// One field and the manager that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The holder, as it is shown: `"kubectl-edit" using v1`.
    pub manager: String,
    /// The field, for instance `.spec.listeners[name="http"].port`.
    pub field: String,
}

impl Conflict {
    /// The message of its `StatusCause` (reason `FieldManagerConflict`).
    pub fn message(&self) -> String {
        format!("conflict with {}", self.manager)
    }
}

/// All conflicts of one apply. `Display` is the message of the 409 answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(
    /// Sorted by manager and field; never empty.
    pub Vec<Conflict>,
);

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(f, "Apply failed with 1 conflict: conflict with {}: {}", only.manager, only.field);
        }
        write!(f, "Apply failed with {} conflicts:", self.0.len())?;
        let mut current = None;
        for conflict in &self.0 {
            if current != Some(&conflict.manager) {
                let start = if current.is_some() { "\n" } else { " " };
                write!(f, "{start}conflicts with {}:", conflict.manager)?;
                current = Some(&conflict.manager);
            }
            write!(f, "\n- {}", conflict.field)?;
        }
        Ok(())
    }
}

impl std::error::Error for Conflicts {}
