//! The status of a Gateway.

use foregate_api::claim::GatewayClaimStatus;
use foregate_api::condition::{condition, find, is_true, merge};
use foregate_api::gateway::conditions::{ACCEPTED, CONFLICTED, PROGRAMMED, RESOLVED_REFS, reason};
use foregate_api::gateway::{GATEWAY_GROUP, GatewayStatus, GatewayStatusAddress, ListenerStatus, RouteGroupKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{GatewayState, ListenerVerdict, Verdict};
use crate::output::{DerivedKind, StatusChange, StatusKind};
use crate::problem::Problem;
use crate::route::RouteKind;
use crate::{Attach, Key};

/// The platform holds the gateway at an older configuration.
const PINNED: &str = "foregate.dev/Pinned";
const GATEWAY_CONDITIONS: &[&str] = &[ACCEPTED, PROGRAMMED, RESOLVED_REFS, PINNED];
const LISTENER_CONDITIONS: &[&str] = &[ACCEPTED, PROGRAMMED, RESOLVED_REFS, CONFLICTED];

/// What a Gateway's condition says is repeated by its listeners' up to so many bytes.
const LONGEST_REPEATED: usize = 100;
const SEE_GATEWAY: &str = "see the condition Programmed of the Gateway";

/// What all conditions of one status have in common.
struct Stamp<'a> {
    generation: i64,
    now: &'a Time,
}

impl Stamp<'_> {
    fn of(&self, kind: &str, result: Result<(&'static str, &str), &Problem>) -> Condition {
        match result {
            Ok((reason, message)) => condition(kind, true, reason, message, self.generation, self.now),
            Err(problem) => condition(kind, false, problem.reason, &problem.message, self.generation, self.now),
        }
    }

    /// A condition of the platform's, as one of this object.
    fn copy(&self, theirs: &Condition) -> Condition {
        Condition {
            observed_generation: Some(self.generation),
            last_transition_time: self.now.clone(),
            ..theirs.clone()
        }
    }
}

impl Attach {
    pub(crate) fn gateway_status(&mut self, key: &Key, now: &Time) -> Option<StatusChange> {
        let mut state = self.gateways.remove(key)?;
        let mut pending = std::mem::take(&mut state.pending);
        let change = state.verdict.as_ref().and_then(|verdict| {
            let object = &state.object;
            pending.update(StatusKind::Gateway, key, &object.metadata, object.status.as_ref(), |base| {
                self.build_gateway_status(key, &state, verdict, base, now)
            })
        });
        state.pending = pending;
        self.gateways.insert(key.clone(), state);
        change
    }

    fn build_gateway_status(
        &self,
        key: &Key,
        state: &GatewayState,
        verdict: &Verdict,
        base: &GatewayStatus,
        now: &Time,
    ) -> GatewayStatus {
        let stamp = Stamp { generation: super::generation(&state.object), now };
        let name = self.claim_name(&state.object);
        let feedback = self.feedback.claims.get(&name);
        let current = feedback.filter(|f| {
            f.status.origin_generation == stamp.generation
                && f.generation.is_none_or(|g| g == f.status.observed_generation)
                && self.book.is_settled(&(DerivedKind::Claim, name.clone()))
        });
        let current = current.map(|f| &f.status);
        let programmed = programmed(&stamp, verdict, current);
        let attached = self.attached.get(key);
        let listeners = verdict.listeners.iter().map(|listener| {
            let before = base.listeners.iter().find(|l| l.name == *listener.name);
            let before = before.map(|l| l.conditions.as_slice()).unwrap_or_default();
            let ours = listener_conditions(&stamp, verdict, listener, current, &programmed);
            ListenerStatus {
                name: listener.name.to_string(),
                supported_kinds: listener.kinds.iter().copied().map(group_kind).collect(),
                attached_routes: attached.and_then(|a| a.get(&listener.name)).copied().unwrap_or_default(),
                conditions: merge(before, ours, LISTENER_CONDITIONS),
            }
        });
        let listeners: Vec<ListenerStatus> = listeners.collect();
        let addresses = feedback.filter(|_| verdict.accepted.is_ok()).map(|f| f.status.addresses.as_slice());
        let mut ours = vec![accepted(&stamp, verdict), programmed, resolved(&stamp, verdict)];
        let pinned = feedback.and_then(|f| find(&f.status.conditions, "Pinned")).filter(|c| c.status == "True");
        ours.extend(pinned.map(|theirs| Condition { type_: PINNED.to_owned(), ..stamp.copy(theirs) }));
        GatewayStatus {
            addresses: addresses.unwrap_or_default().iter().map(|a| address(a)).collect(),
            conditions: merge(&base.conditions, ours, GATEWAY_CONDITIONS),
            listeners,
            attached_listener_sets: base.attached_listener_sets,
        }
    }
}

fn group_kind(kind: RouteKind) -> RouteGroupKind {
    RouteGroupKind { group: Some(GATEWAY_GROUP.to_owned()), kind: kind.as_str().to_owned() }
}

fn address(value: &str) -> GatewayStatusAddress {
    GatewayStatusAddress { kind: Some("IPAddress".to_owned()), value: value.to_owned() }
}

fn accepted(stamp: &Stamp<'_>, verdict: &Verdict) -> Condition {
    let invalid: Vec<&str> = verdict.listeners.iter().filter(|l| !l.is_valid()).map(|l| &*l.name).collect();
    match &verdict.accepted {
        Err(problem) => stamp.of(ACCEPTED, Err(problem)),
        Ok(()) if invalid.is_empty() => stamp.of(ACCEPTED, Ok((ACCEPTED, ""))),
        Ok(()) => {
            let valid: Vec<&str> = verdict.listeners.iter().filter(|l| l.is_valid()).map(|l| &*l.name).collect();
            let message = format!(
                "accepted with the listeners {}; not valid: {} (see their conditions)",
                valid.join(", "),
                invalid.join(", ")
            );
            stamp.of(ACCEPTED, Ok((reason::LISTENERS_NOT_VALID, &message)))
        }
    }
}

fn resolved(stamp: &Stamp<'_>, verdict: &Verdict) -> Condition {
    let unresolved: Vec<&str> = verdict.listeners.iter().filter(|l| l.resolved.is_err()).map(|l| &*l.name).collect();
    if unresolved.is_empty() {
        return stamp.of(RESOLVED_REFS, Ok((RESOLVED_REFS, "")));
    }
    let message = format!("listeners with references that don't resolve: {}", unresolved.join(", "));
    stamp.of(RESOLVED_REFS, Err(&Problem::new(reason::LISTENERS_NOT_RESOLVED, message)))
}

/// Whether the data plane has the Gateway: what the platform says of this generation, or that it hasn't spoken yet.
fn programmed(stamp: &Stamp<'_>, verdict: &Verdict, current: Option<&GatewayClaimStatus>) -> Condition {
    if verdict.accepted.is_err() {
        return stamp.of(PROGRAMMED, Err(&Problem::new(reason::INVALID, "the Gateway isn't accepted")));
    }
    if !verdict.listeners.iter().any(ListenerVerdict::is_served) {
        let message = "none of its listeners can be served; see their conditions";
        return stamp.of(PROGRAMMED, Err(&Problem::new(reason::INVALID, message)));
    }
    let pending = || Condition {
        status: "Unknown".to_owned(),
        ..stamp.of(PROGRAMMED, Err(&Problem::new(reason::PENDING, "the platform hasn't taken this generation yet")))
    };
    let Some(status) = current else { return pending() };
    if let Some(theirs) = find(&status.conditions, PROGRAMMED) {
        return stamp.copy(theirs);
    }
    match find(&status.conditions, "Bound") {
        Some(bound) if bound.status == "False" => Condition { type_: PROGRAMMED.to_owned(), ..stamp.copy(bound) },
        _ => pending(),
    }
}

fn listener_conditions(
    stamp: &Stamp<'_>,
    verdict: &Verdict,
    listener: &ListenerVerdict,
    current: Option<&GatewayClaimStatus>,
    gateway_programmed: &Condition,
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
    let accepted = match &listener.accepted {
        Err(problem) => stamp.of(ACCEPTED, Err(problem)),
        Ok(()) if is_conflicted => {
            Condition { type_: ACCEPTED.to_owned(), status: "False".to_owned(), ..conflicted.clone() }
        }
        Ok(()) => stamp.of(ACCEPTED, Ok((ACCEPTED, ""))),
    };
    let resolved = stamp.of(RESOLVED_REFS, listener.resolved.as_ref().map(|()| (RESOLVED_REFS, "")));
    let mut programmed = if is_conflicted || !listener.is_served() {
        stamp.of(PROGRAMMED, Err(&Problem::new(reason::INVALID, "the listener can't be served")))
    } else if verdict.accepted.is_err() {
        stamp.of(PROGRAMMED, Err(&Problem::new(reason::INVALID, "the Gateway isn't accepted")))
    } else {
        match find(theirs, PROGRAMMED) {
            // One listener can't be ready in a gateway of which nothing is known.
            Some(theirs)
                if is_true(std::slice::from_ref(gateway_programmed), PROGRAMMED) || theirs.status != "True" =>
            {
                stamp.copy(theirs)
            }
            _ => gateway_programmed.clone(),
        }
    };
    if programmed.message == gateway_programmed.message && programmed.message.len() > LONGEST_REPEATED {
        SEE_GATEWAY.clone_into(&mut programmed.message);
    }
    vec![accepted, programmed, resolved, conflicted]
}
