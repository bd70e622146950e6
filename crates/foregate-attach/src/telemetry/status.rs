//! The status of an XTelemetryPolicy: one entry per Gateway that it names, as far as that is ours.

use foregate_api::condition::condition;
use foregate_api::gateway::conditions::{ACCEPTED, RESOLVED_REFS, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::TelemetryState;
use crate::ancestors::Ancestors;
use crate::output::{StatusChange, StatusKind};
use crate::{Attach, Key};

impl Attach {
    pub(crate) fn telemetry_status(&mut self, key: &Key, now: &Time) -> Option<StatusChange> {
        let mut pending = std::mem::take(&mut self.telemetry.get_mut(key)?.pending);
        let state = self.telemetry.get(key)?;
        let metadata = &state.object.metadata;
        let entries = self.telemetry_entries(key, state, now);
        let current = state.object.status.as_ref();
        let change = pending.update(StatusKind::XTelemetryPolicy, key, metadata, current, |base| {
            self.ancestors(&key.namespace, entries, base)
        });
        self.telemetry.get_mut(key)?.pending = pending;
        change
    }

    /// One entry per Gateway of ours, or of nobody.
    fn telemetry_entries(&self, key: &Key, state: &TelemetryState, now: &Time) -> Ancestors {
        let generation = state.object.metadata.generation.unwrap_or_default();
        let said = |kind: &str, outcome: Result<(), (&str, &str)>| match outcome {
            Ok(()) => condition(kind, true, kind, "", generation, now),
            Err((reason, message)) => condition(kind, false, reason, message, generation, now),
        };
        let mut entries = Ancestors::new();
        for name in &state.gateways {
            let Some(gateway) = self.gateways.get(name) else {
                // Whose it would be isn't known: who is asked first says so.
                if let Some(controller) = self.settings.controller_names.first() {
                    let message = format!("there is no Gateway {name}");
                    let missing = said(ACCEPTED, Err((reason::TARGET_NOT_FOUND, &message)));
                    entries.insert(name.clone(), (controller.clone(), vec![missing]));
                }
                continue;
            };
            let Some(view) = &gateway.view else { continue };
            let first = self.telemetry_of(name).map(|(first, _)| first).filter(|first| *first != key);
            let conflict = first.map(|first| format!("XTelemetryPolicy {first} is older and has the same target"));
            let accepted = match (&conflict, &state.parsed) {
                (Some(conflict), _) => Err((reason::CONFLICTED, conflict.as_str())),
                (None, Err(problem)) => Err((problem.reason, problem.message.as_str())),
                (None, Ok(_)) => Ok(()),
            };
            let resolved = self.collector_problem(key, state, view.target);
            let resolved = resolved.as_ref().map_or(Ok(()), |problem| Err((problem.reason, problem.message.as_str())));
            let conditions = vec![said(ACCEPTED, accepted), said(RESOLVED_REFS, resolved)];
            entries.insert(name.clone(), (view.controller.to_string(), conditions));
        }
        entries
    }
}
