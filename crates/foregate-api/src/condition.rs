//! Conditions: making, finding and merging them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The longest message that CRD schemas admit, in bytes.
pub const MAX_MESSAGE: usize = 32_768;

/// A condition that is true or false.
///
/// `now` becomes its `lastTransitionTime`, unless [`set`] finds that its status hasn't changed. A message that is too
/// long is cut.
pub fn condition(
    kind: &str,
    status: bool,
    reason: &str,
    message: impl Into<String>,
    generation: i64,
    now: &Time,
) -> Condition {
    let mut message = message.into();
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|&i| message.is_char_boundary(i)).unwrap_or(0);
        message.truncate(end);
    }
    Condition {
        type_: kind.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: Some(generation),
        last_transition_time: now.clone(),
    }
}

/// The same condition, of status `Unknown`.
pub fn unknown(kind: &str, reason: &str, message: impl Into<String>, generation: i64, now: &Time) -> Condition {
    Condition { status: "Unknown".to_owned(), ..condition(kind, false, reason, message, generation, now) }
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}

/// Whether the condition of a type is there and `True`.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|c| c.status == "True")
}

/// Puts a condition in the place of the one of its type, or at the end. `lastTransitionTime` stays when the status
/// does. Returns whether anything changed.
pub fn set(conditions: &mut Vec<Condition>, mut new: Condition) -> bool {
    match conditions.iter_mut().find(|c| c.type_ == new.type_) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            let changed = *old != new;
            *old = new;
            changed
        }
        None => {
            conditions.push(new);
            true
        }
    }
}

/// Removes the condition of a type. Returns whether there was one.
pub fn remove(conditions: &mut Vec<Condition>, kind: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|c| c.type_ != kind);
    conditions.len() != before
}

/// The conditions to write, given those that the object has: each of `new` as by [`set`], those of `owned` types that
/// aren't in `new` dropped, others' kept where they are.
pub fn merge(existing: &[Condition], new: Vec<Condition>, owned: &[&str]) -> Vec<Condition> {
    let mut merged: Vec<Condition> = existing
        .iter()
        .filter(|c| !owned.contains(&c.type_.as_str()) || new.iter().any(|n| n.type_ == c.type_))
        .cloned()
        .collect();
    for condition in new {
        set(&mut merged, condition);
    }
    merged
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn at(seconds: i64) -> Time {
        Time(jiff::Timestamp::from_second(seconds).unwrap())
    }

    #[test]
    fn transition_time_moves_with_the_status_only() {
        let mut conditions = vec![];
        assert!(set(&mut conditions, condition("Accepted", true, "Accepted", "", 1, &at(1))));
        assert!(!set(&mut conditions, condition("Accepted", true, "Accepted", "", 1, &at(2))));
        assert!(set(&mut conditions, condition("Accepted", true, "Accepted", "", 2, &at(3))));
        assert_eq!(conditions[0].last_transition_time, at(1));
        assert!(set(&mut conditions, condition("Accepted", false, "Invalid", "", 2, &at(4))));
        assert_eq!(conditions[0].last_transition_time, at(4));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn merge_keeps_what_others_wrote_and_drops_what_is_ours_and_over() {
        let others = condition("example.com/Audited", true, "Yes", "", 1, &at(1));
        let ours = condition("PartiallyInvalid", true, "UnsupportedValue", "", 1, &at(1));
        let merged = merge(
            &[others.clone(), ours],
            vec![condition("Accepted", true, "Accepted", "", 2, &at(2))],
            &["Accepted", "PartiallyInvalid"],
        );
        assert_eq!(merged.iter().map(|c| c.type_.as_str()).collect::<Vec<_>>(), ["example.com/Audited", "Accepted"]);
        assert_eq!(merged[0], others);
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let long = "ä".repeat(MAX_MESSAGE);
        let cut = condition("Accepted", false, "Invalid", format!("x{long}"), 1, &at(1)).message;
        assert_eq!(cut.len(), MAX_MESSAGE - 1);
        assert!(cut.ends_with('ä'));
    }
}
