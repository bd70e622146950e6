//! Conditions of listeners, and of what has them.

use foregate_api::claim::GatewayClaimStatus;
use foregate_api::condition::{condition, find, is_true, merge, unknown};
use foregate_api::gateway::conditions::{
    ACCEPTED, CONFLICTED, OVERLAPPING_TLS_CONFIG, PROGRAMMED, RESOLVED_REFS, reason,
};
use foregate_api::gateway::{GATEWAY_GROUP, ListenerStatus, RouteGroupKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};

use super::listener::Verdict;
use super::{ListenerVerdict, ParentId};
use crate::Attach;
use crate::output::DerivedKind;
use crate::problem::Problem;
use crate::route::RouteKind;
use crate::target::ClaimFeedback;

const CONDITIONS: &[&str] = &[ACCEPTED, PROGRAMMED, RESOLVED_REFS, CONFLICTED, OVERLAPPING_TLS_CONFIG];

/// What the condition of a Gateway or ListenerSet says is repeated by its listeners' up to so many bytes.
const LONGEST_REPEATED: usize = 100;

/// What all conditions of one status have in common.
pub(super) struct Stamp<'a> {
    pub generation: i64,
    pub now: &'a Time,
}

impl Stamp<'_> {
    pub fn of(&self, kind: &str, result: Result<(&str, &str), &Problem>) -> Condition {
        match result {
            Ok((reason, message)) => condition(kind, true, reason, message, self.generation, self.now),
            Err(problem) => condition(kind, false, problem.reason, &problem.message, self.generation, self.now),
        }
    }

    /// A condition of the platform's, as one of this object.
    pub fn copy(&self, theirs: &Condition) -> Condition {
        Condition {
            observed_generation: Some(self.generation),
            last_transition_time: self.now.clone(),
            ..theirs.clone()
        }
    }
}

impl Attach {
    /// What the platform says of the claim of an object: at all, and of this generation.
    pub(super) fn claim_feedback(
        &self,
        parent: &ParentId,
        object: &ObjectMeta,
    ) -> (Option<&ClaimFeedback>, Option<&GatewayClaimStatus>) {
        let id = self.target_of(parent);
        let (target, name) = (self.targets.get(id), self.claim_name(id, object));
        let feedback = target.feedback.claims.get(&name);
        let current = feedback.filter(|f| {
            f.status.origin_generation == object.generation.unwrap_or_default()
                && f.generation.is_none_or(|g| g == f.status.observed_generation)
                && target.book.is_settled(&(DerivedKind::Claim, name))
        });
        (feedback, current.map(|f| &f.status))
    }

    /// The statuses of the listeners of an object.
    pub(super) fn listener_statuses(
        &self,
        parent: &ParentId,
        stamp: &Stamp<'_>,
        verdict: &Verdict,
        current: Option<&GatewayClaimStatus>,
        programmed: &Condition,
        before: &[ListenerStatus],
    ) -> Vec<ListenerStatus> {
        let attached = self.attached.get(parent);
        let statuses = verdict.listeners.iter().map(|listener| {
            let before = before.iter().find(|l| l.name == *listener.name);
            let before = before.map(|l| l.conditions.as_slice()).unwrap_or_default();
            let mut ours = conditions(stamp, verdict, listener, current, programmed);
            for one in &mut ours {
                if one.type_ == PROGRAMMED && one.message == programmed.message && one.message.len() > LONGEST_REPEATED
                {
                    one.message = format!("see the condition Programmed of the {}", parent.kind.as_str());
                }
            }
            ListenerStatus {
                name: listener.name.to_string(),
                supported_kinds: listener.kinds.iter().copied().map(group_kind).collect(),
                attached_routes: attached.and_then(|a| a.get(&listener.name)).copied().unwrap_or_default(),
                conditions: merge(before, ours, CONDITIONS),
            }
        });
        statuses.collect()
    }
}

fn group_kind(kind: RouteKind) -> RouteGroupKind {
    RouteGroupKind { group: Some(GATEWAY_GROUP.to_owned()), kind: kind.as_str().to_owned() }
}

/// Accepted, for what isn't refused: with the listeners that aren't valid, if there are any.
pub(super) fn accepted(stamp: &Stamp<'_>, verdict: &Verdict) -> Condition {
    let names = |valid: bool| {
        let those = verdict.listeners.iter().filter(|l| l.is_valid() == valid);
        those.map(|l| &*l.name).collect::<Vec<_>>().join(", ")
    };
    match &verdict.accepted {
        Err(problem) => stamp.of(ACCEPTED, Err(problem)),
        Ok(()) if verdict.listeners.iter().all(ListenerVerdict::is_valid) => stamp.of(ACCEPTED, Ok((ACCEPTED, ""))),
        Ok(()) => {
            let message = format!(
                "accepted with the listeners {}; not valid: {} (see their conditions)",
                names(true),
                names(false)
            );
            stamp.of(ACCEPTED, Ok((reason::LISTENERS_NOT_VALID, &message)))
        }
    }
}

/// Whether the data plane has what is accepted: what the platform says of this generation, or that it hasn't spoken
/// yet.
pub(super) fn programmed(stamp: &Stamp<'_>, verdict: &Verdict, current: Option<&GatewayClaimStatus>) -> Condition {
    if !verdict.listeners.iter().any(ListenerVerdict::is_served) {
        let message = "none of its listeners can be served; see their conditions";
        return stamp.of(PROGRAMMED, Err(&Problem::new(reason::INVALID, message)));
    }
    let message = "the platform hasn't taken this generation yet";
    let pending = || unknown(PROGRAMMED, reason::PENDING, message, stamp.generation, stamp.now);
    let Some(status) = current else { return pending() };
    if let Some(theirs) = find(&status.conditions, PROGRAMMED) {
        return stamp.copy(theirs);
    }
    match find(&status.conditions, "Bound") {
        Some(bound) if bound.status == "False" => Condition { type_: PROGRAMMED.to_owned(), ..stamp.copy(bound) },
        _ => pending(),
    }
}

fn conditions(
    stamp: &Stamp<'_>,
    verdict: &Verdict,
    listener: &ListenerVerdict,
    current: Option<&GatewayClaimStatus>,
    whole: &Condition,
) -> Vec<Condition> {
    let theirs = current.and_then(|s| s.listeners.iter().find(|l| l.name == *listener.name));
    let theirs = theirs.map(|l| l.conditions.as_slice()).unwrap_or_default();
    let conflicted = match (&listener.conflict, find(theirs, CONFLICTED)) {
        (Some(problem), _) => {
            condition(CONFLICTED, true, problem.reason, &problem.message, stamp.generation, stamp.now)
        }
        (None, Some(shared)) if shared.status == "True" => stamp.copy(shared),
        _ => condition(CONFLICTED, false, reason::NO_CONFLICTS, "", stamp.generation, stamp.now),
    };
    let is_conflicted = conflicted.status == "True";
    let lost = |kind: &str| Condition { type_: kind.to_owned(), status: "False".to_owned(), ..conflicted.clone() };
    let accepted = match &listener.accepted {
        Err(problem) => stamp.of(ACCEPTED, Err(problem)),
        Ok(()) if is_conflicted => lost(ACCEPTED),
        Ok(()) => stamp.of(ACCEPTED, Ok((ACCEPTED, ""))),
    };
    let resolved = stamp.of(RESOLVED_REFS, listener.resolved.as_ref().map(|()| (RESOLVED_REFS, "")));
    let programmed = if listener.accepted.is_ok() && is_conflicted {
        lost(PROGRAMMED)
    } else if !listener.is_served() {
        stamp.of(PROGRAMMED, Err(&Problem::new(reason::INVALID, "the listener can't be served")))
    } else if verdict.accepted.is_err() {
        whole.clone()
    } else {
        match find(theirs, PROGRAMMED) {
            // One listener can't be ready in a gateway of which nothing is known.
            Some(theirs) if is_true(std::slice::from_ref(whole), PROGRAMMED) || theirs.status != "True" => {
                stamp.copy(theirs)
            }
            _ => whole.clone(),
        }
    };
    let mut all = vec![accepted, programmed, resolved, conflicted];
    if listener.overlaps {
        let message = format!(
            "other TLS listeners of port {} have hosts in common with this one; a request on a connection that was made \
             for another listener's host is answered 421",
            listener.port
        );
        all.push(stamp.of(OVERLAPPING_TLS_CONFIG, Ok((reason::OVERLAPPING_HOSTNAMES, &message))));
    }
    all
}
