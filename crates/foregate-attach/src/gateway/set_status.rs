//! The status of a ListenerSet.

use foregate_api::condition::merge;
use foregate_api::gateway::ListenerSetStatus;
use foregate_api::gateway::conditions::{ACCEPTED, PROGRAMMED, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::listener::Verdict;
use super::listener_status::{self, Stamp};
use super::{ListenerSetState, ParentId};
use crate::output::{StatusChange, StatusKind};
use crate::problem::Problem;
use crate::{Attach, Key};

const CONDITIONS: &[&str] = &[ACCEPTED, PROGRAMMED];

impl Attach {
    pub(crate) fn listener_set_status(&mut self, key: &Key, now: &Time) -> Option<StatusChange> {
        let mut state = self.listener_sets.remove(key)?;
        let mut pending = std::mem::take(&mut state.pending);
        let change = state.verdict.as_ref().and_then(|verdict| {
            let object = &state.object;
            pending.update(StatusKind::ListenerSet, key, &object.metadata, object.status.as_ref(), |base| {
                self.build_listener_set_status(key, &state, verdict, base, now)
            })
        });
        state.pending = pending;
        self.listener_sets.insert(key.clone(), state);
        change
    }

    fn build_listener_set_status(
        &self,
        key: &Key,
        state: &ListenerSetState,
        verdict: &Verdict,
        base: &ListenerSetStatus,
        now: &Time,
    ) -> ListenerSetStatus {
        let metadata = &state.object.metadata;
        let stamp = Stamp { generation: metadata.generation.unwrap_or_default(), now };
        let parent = ParentId::listener_set(key.clone());
        let heard = self.heard(&parent, metadata);
        let programmed = match &verdict.accepted {
            Ok(()) => listener_status::programmed(&stamp, verdict, &heard, &base.conditions),
            Err(problem) => refused(&stamp, problem),
        };
        let listeners = self.listener_statuses(&parent, &stamp, verdict, &heard, &programmed, &base.listeners);
        let ours = vec![listener_status::accepted(&stamp, verdict), programmed];
        ListenerSetStatus { conditions: merge(&base.conditions, ours, CONDITIONS), listeners }
    }
}

/// Programmed has reasons of its own for some of those of Accepted.
fn refused(stamp: &Stamp<'_>, problem: &Problem) -> Condition {
    let reason = match problem.reason {
        reason::PARENT_NOT_ACCEPTED => reason::PARENT_NOT_PROGRAMMED,
        other => other,
    };
    stamp.of(PROGRAMMED, Err(&Problem::new(reason, problem.message.as_str())))
}
