//! Conditions: what is to be said, turned into Kubernetes' form without touching what hasn't changed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// A condition before it has a time and a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// `type`.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// `reason`, of the Gateway API where it has one.
    pub reason: &'static str,
    /// What to do, or what is.
    pub message: String,
}

impl Finding {
    pub(crate) fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, holds: true, reason, message: message.into() }
    }

    pub(crate) fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, holds: false, reason, message: message.into() }
    }
}

/// Conditions for findings, in their order. The time of a condition whose status hasn't changed is kept, so that equal
/// findings give equal conditions and nothing is written.
pub(crate) fn settle(
    previous: &[Condition],
    findings: impl IntoIterator<Item = Finding>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let one = |finding: Finding| {
        let status = if finding.holds { "True" } else { "False" };
        let since = find(previous, finding.kind)
            .filter(|condition| condition.status == status)
            .map_or_else(|| whole_seconds(now), |condition| condition.last_transition_time.clone());
        Condition {
            type_: finding.kind.to_owned(),
            status: status.to_owned(),
            reason: finding.reason.to_owned(),
            message: finding.message,
            observed_generation: generation,
            last_transition_time: since,
        }
    };
    findings.into_iter().map(one).collect()
}

/// The condition of a type.
pub(crate) fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// `metav1.Time` has whole seconds: a finer time would differ from what the server gives back.
fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[test]
    fn keeps_the_time_until_the_status_changes() {
        let first = Timestamp::from_second(1_000).unwrap();
        let later = Timestamp::from_second(2_000).unwrap();
        let old = settle(&[], [Finding::no("Programmed", "Pending", "a")], Some(1), first);
        let same = settle(&old, [Finding::no("Programmed", "Invalid", "b")], Some(2), later);
        assert_eq!(same[0].last_transition_time.0, first);
        assert_eq!((same[0].reason.as_str(), same[0].observed_generation), ("Invalid", Some(2)));
        let turned = settle(&old, [Finding::yes("Programmed", "Programmed", "")], Some(2), later);
        assert_eq!(turned[0].last_transition_time.0, later);
    }

    #[test]
    fn times_have_whole_seconds() {
        let now: Timestamp = "2026-01-01T00:00:00.75Z".parse().unwrap();
        let made = settle(&[], [Finding::yes("Bound", "Bound", "")], None, now);
        assert_eq!(made[0].last_transition_time.0.to_string(), "2026-01-01T00:00:00Z");
    }
}
