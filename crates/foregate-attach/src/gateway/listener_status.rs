//! Conditions of listeners, and of what has them.

use foregate_api::condition::{condition, find, is_true, merge};
use foregate_api::gateway::conditions::{
    ACCEPTED, CONFLICTED, OVERLAPPING_TLS_CONFIG, PROGRAMMED, RESOLVED_REFS, reason,
};
use foregate_api::gateway::{GATEWAY_GROUP, ListenerStatus, RouteGroupKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::heard::Heard;
use super::listener::Verdict;
use super::{ListenerVerdict, ParentId};
use crate::Attach;
use crate::problem::Problem;
use crate::route::RouteKind;

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
    /// The statuses of the listeners of an object.
    pub(super) fn listener_statuses(
        &self,
        parent: &ParentId,
        stamp: &Stamp<'_>,
        verdict: &Verdict,
        heard: &Heard<'_>,
        programmed: &Condition,
        before: &[ListenerStatus],
    ) -> Vec<ListenerStatus> {
        let attached = self.attached.get(parent);
        let statuses = verdict.listeners.iter().map(|listener| {
            let before = before.iter().find(|l| l.name == *listener.name);
            let before = before.map(|l| l.conditions.as_slice()).unwrap_or_default();
            let theirs = heard.current.and_then(|s| s.listeners.iter().find(|l| l.name == *listener.name));
            let theirs = theirs.map(|l| l.conditions.as_slice());
            let theirs = theirs.or_else(|| heard.kept(stamp, before).map(std::slice::from_ref));
            let mut ours = conditions(stamp, verdict, listener, theirs.unwrap_or_default(), programmed);
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

/// Whether the data plane has what is accepted: what the platform says of this generation, or said `before` as far as
/// it hasn't been heard again, or that it hasn't spoken yet.
pub(super) fn programmed(stamp: &Stamp<'_>, verdict: &Verdict, heard: &Heard<'_>, before: &[Condition]) -> Condition {
    if !verdict.listeners.iter().any(ListenerVerdict::is_served) {
        let message = "none of its listeners can be served; see their conditions";
        return stamp.of(PROGRAMMED, Err(&Problem::new(reason::INVALID, message)));
    }
    if let Some(kept) = heard.kept(stamp, before) {
        return heard.doubted(stamp.copy(kept));
    }
    let Some(status) = heard.current else { return heard.pending(stamp) };
    if let Some(theirs) = find(&status.conditions, PROGRAMMED) {
        return heard.doubted(stamp.copy(theirs));
    }
    match find(&status.conditions, "Bound") {
        Some(bound) if bound.status == "False" => {
            heard.doubted(Condition { type_: PROGRAMMED.to_owned(), ..stamp.copy(bound) })
        }
        _ => heard.pending(stamp),
    }
}

fn conditions(
    stamp: &Stamp<'_>,
    verdict: &Verdict,
    listener: &ListenerVerdict,
    theirs: &[Condition],
    whole: &Condition,
) -> Vec<Condition> {
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
    let resolved = stamp.of(RESOLVED_REFS, listener.references().map(|()| (RESOLVED_REFS, "")));
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
