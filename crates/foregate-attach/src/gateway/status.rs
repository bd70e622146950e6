//! The status of a Gateway.

use foregate_api::condition::{find, merge};
use foregate_api::gateway::GatewayStatus;
use foregate_api::gateway::conditions::{
    ACCEPTED, ADDRESSES_ASSIGNED, INSECURE_FRONTEND_VALIDATION_MODE, PROGRAMMED, RESOLVED_REFS, reason,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::listener_status::{self, Stamp};
use super::{GatewayState, GatewayVerdict, ParentId, address};
use crate::output::{StatusChange, StatusKind};
use crate::problem::Problem;
use crate::{Attach, Key};

/// The platform holds the gateway at an older configuration.
const PINNED: &str = "foregate.dev/Pinned";
const CONDITIONS: &[&str] =
    &[ACCEPTED, PROGRAMMED, RESOLVED_REFS, ADDRESSES_ASSIGNED, INSECURE_FRONTEND_VALIDATION_MODE, PINNED];

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
        verdict: &GatewayVerdict,
        base: &GatewayStatus,
        now: &Time,
    ) -> GatewayStatus {
        let (stamp, common) = (Stamp { generation: super::generation(&state.object), now }, &verdict.common);
        let parent = ParentId::gateway(key.clone());
        let heard = self.heard(&parent, &state.object.metadata);
        let programmed = match &common.accepted {
            Err(problem) => stamp.of(PROGRAMMED, Err(&refused(problem))),
            Ok(()) => listener_status::programmed(&stamp, common, &heard, &base.conditions),
        };
        let listeners = self.listener_statuses(&parent, &stamp, common, &heard, &programmed, &base.listeners);
        let has = match heard.feedback {
            _ if common.accepted.is_err() => Vec::new(),
            Some(feedback) => feedback.status.addresses.clone(),
            // Who is sent there by them finds what serves on.
            None if heard.is_unheard => base.addresses.iter().map(|address| address.value.clone()).collect(),
            None => Vec::new(),
        };
        let asked = &state.object.spec.addresses;
        let assigned = address::assigned(asked, &has, programmed.status == "False");
        let mut ours = vec![accepted(&stamp, verdict), programmed, resolved(&stamp, verdict)];
        ours.extend(verdict.is_insecure.then(|| {
            let message = "clients without a valid certificate are let in: spec.tls.frontend has AllowInsecureFallback";
            stamp.of(INSECURE_FRONTEND_VALIDATION_MODE, Ok((reason::CONFIGURATION_CHANGED, message)))
        }));
        ours.extend(
            assigned
                .outcome
                .filter(|_| !asked.is_empty())
                .map(|outcome| stamp.of(ADDRESSES_ASSIGNED, outcome.as_ref().map(|()| (ADDRESSES_ASSIGNED, "")))),
        );
        let pinned = match heard.feedback {
            Some(feedback) => find(&feedback.status.conditions, "Pinned"),
            None => find(&base.conditions, PINNED).filter(|_| heard.is_unheard),
        };
        let pinned = pinned.filter(|c| c.status == "True");
        ours.extend(pinned.map(|theirs| Condition { type_: PINNED.to_owned(), ..stamp.copy(theirs) }));
        // APIs of older versions have no such field.
        let counts = state.object.spec.allowed_listeners.is_some() || base.attached_listener_sets.is_some();
        GatewayStatus {
            addresses: assigned.addresses,
            conditions: merge(&base.conditions, ours, CONDITIONS),
            listeners,
            attached_listener_sets: counts.then_some(verdict.attached_sets),
        }
    }
}

/// Whether it is accepted; with what there is to say of its parameters.
fn accepted(stamp: &Stamp<'_>, verdict: &GatewayVerdict) -> Condition {
    let accepted = listener_status::accepted(stamp, &verdict.common);
    match (&verdict.parameters_problem, verdict.note) {
        (Some(problem), _) if verdict.common.accepted.is_ok() => stamp.of(ACCEPTED, Err(problem)),
        (None, Some(note)) if accepted.status == "True" => {
            let message =
                if accepted.message.is_empty() { note.to_owned() } else { format!("{}; {note}", accepted.message) };
            Condition { message, ..accepted }
        }
        _ => accepted,
    }
}

/// Why nothing of a Gateway that isn't accepted is served.
fn refused(problem: &Problem) -> Problem {
    match problem.reason {
        reason::UNSUPPORTED_ADDRESS => Problem { reason: reason::ADDRESS_NOT_ASSIGNED, ..problem.clone() },
        _ => Problem::new(reason::INVALID, "the Gateway isn't accepted"),
    }
}

fn resolved(stamp: &Stamp<'_>, verdict: &GatewayVerdict) -> Condition {
    if let Some(Err(problem)) = &verdict.client_certificate {
        return stamp.of(RESOLVED_REFS, Err(problem));
    }
    let unresolved = verdict.common.listeners.iter().filter(|l| l.references().is_err());
    let unresolved: Vec<&str> = unresolved.map(|l| &*l.name).collect();
    if unresolved.is_empty() {
        return stamp.of(RESOLVED_REFS, Ok((RESOLVED_REFS, "")));
    }
    let message = format!("listeners with references that don't resolve: {}", unresolved.join(", "));
    stamp.of(RESOLVED_REFS, Err(&Problem::new(reason::LISTENERS_NOT_RESOLVED, message)))
}
