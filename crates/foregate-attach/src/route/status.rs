//! The status of a route: one entry per parent of ours, everybody else's left as they are.

use foregate_api::condition::{condition, merge};
use foregate_api::gateway::conditions::{ACCEPTED, PARTIALLY_INVALID, RESOLVED_REFS, reason};
use foregate_api::gateway::{GATEWAY_GROUP, ParentReference, RouteParentStatus, RouteStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::parent::ParentOutcome;
use super::{RouteId, RouteState};
use crate::Attach;
use crate::output::StatusChange;

const CONDITIONS: &[&str] = &[ACCEPTED, RESOLVED_REFS, PARTIALLY_INVALID];

impl Attach {
    pub(crate) fn route_status(&mut self, id: &RouteId, now: &Time) -> Option<StatusChange> {
        let mut state = self.routes.remove(id)?;
        let mut pending = std::mem::take(&mut state.pending);
        let object = &state.object;
        let change = pending.update(id.kind.status_kind(), &id.key, object.metadata(), object.status(), |base| {
            self.build_route_status(&state, base, now)
        });
        state.pending = pending;
        self.routes.insert(id.clone(), state);
        change
    }

    fn build_route_status(&self, state: &RouteState, base: &RouteStatus, now: &Time) -> RouteStatus {
        let outcomes = &state.outcome.parents;
        let refusal = |outcome: &ParentOutcome| self.refusal(state, self.target_of(&outcome.parent));
        let mut written = vec![false; outcomes.len()];
        let mut parents = Vec::with_capacity(base.parents.len().max(outcomes.len()));
        for entry in &base.parents {
            if !self.settings.controller_names.contains(&entry.controller_name) {
                parents.push(entry.clone());
                continue;
            }
            let found = outcomes.iter().enumerate().find(|(i, outcome)| {
                written.get(*i) == Some(&false) && same_parent(&outcome.reference, &entry.parent_ref)
            });
            if let Some((i, outcome)) = found {
                written[i] = true;
                let conditions =
                    merge(&entry.conditions, conditions(state, outcome, refusal(outcome), now), CONDITIONS);
                let controller_name = outcome.controller.to_string();
                parents.push(RouteParentStatus { parent_ref: entry.parent_ref.clone(), controller_name, conditions });
            }
        }
        for (outcome, _) in outcomes.iter().zip(written).filter(|(_, written)| !written) {
            parents.push(RouteParentStatus {
                parent_ref: outcome.reference.clone(),
                controller_name: outcome.controller.to_string(),
                conditions: conditions(state, outcome, refusal(outcome), now),
            });
        }
        RouteStatus { parents }
    }
}

fn conditions(state: &RouteState, outcome: &ParentOutcome, refusal: Option<&Condition>, now: &Time) -> Vec<Condition> {
    let generation = state.generation();
    let accepted = match (&outcome.accepted, refusal) {
        (Err(problem), _) => condition(ACCEPTED, false, problem.reason, &problem.message, generation, now),
        (Ok(_), Some(refusal)) => condition(ACCEPTED, false, &refusal.reason, &refusal.message, generation, now),
        (Ok(note), None) => condition(ACCEPTED, true, ACCEPTED, note, generation, now),
    };
    let resolved = match &state.outcome.references {
        Some(problem) => condition(RESOLVED_REFS, false, problem.reason, &problem.message, generation, now),
        None => condition(RESOLVED_REFS, true, RESOLVED_REFS, "", generation, now),
    };
    // The standard wants this one only where a part of an accepted route is served.
    let dropped = &state.parsed.dropped;
    let partially = (!dropped.is_empty() && accepted.status == "True").then(|| {
        let which = dropped.iter().map(|p| p.message.as_str()).collect::<Vec<_>>().join("; ");
        let message = format!("Dropped Rule(s) that can't be served: {which}");
        condition(PARTIALLY_INVALID, true, reason::UNSUPPORTED_VALUE, message, generation, now)
    });
    [accepted, resolved].into_iter().chain(partially).collect()
}

/// Whether two references name the same parent; an absent group or kind is the default.
fn same_parent(a: &ParentReference, b: &ParentReference) -> bool {
    let group = |p: &ParentReference| p.group.as_deref().unwrap_or(GATEWAY_GROUP).to_owned();
    let kind = |p: &ParentReference| p.kind.as_deref().unwrap_or("Gateway").to_owned();
    a.name == b.name
        && a.namespace == b.namespace
        && a.section_name == b.section_name
        && a.port == b.port
        && group(a) == group(b)
        && kind(a) == kind(b)
}
