//! GatewayClasses.

use std::sync::Arc;

use foregate_api::condition::{condition, merge};
use foregate_api::gateway::conditions::{ACCEPTED, reason};
use foregate_api::gateway::{GatewayClass, GatewayClassStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::output::{FinalizerChange, StatusChange, StatusKind};
use crate::problem::Problem;
use crate::status::Pending;
use crate::{Attach, Change, Key, features};

/// The standard's finalizer of a class that Gateways use.
const GATEWAY_EXISTS: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";

/// A GatewayClass.
#[derive(Debug)]
pub(crate) struct ClassState {
    object: Arc<GatewayClass>,
    /// None: another controller's.
    verdict: Option<Verdict>,
    pending: Pending<GatewayClassStatus>,
}

/// What a class of ours means for its Gateways.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub controller: Arc<str>,
    pub accepted: Result<(), Problem>,
}

impl Attach {
    pub(crate) fn take_class(&mut self, change: Change<GatewayClass>) {
        let name = match change {
            Change::Set(object) => {
                let name: Arc<str> = object.metadata.name.as_deref().unwrap_or_default().into();
                match self.classes.get_mut(&name) {
                    Some(state) => state.object = object,
                    None => {
                        let state = ClassState { object, verdict: None, pending: Pending::default() };
                        self.classes.insert(name.clone(), state);
                    }
                }
                name
            }
            Change::Gone(key) => {
                self.classes.remove(&key.name);
                self.dirty.gateways.extend(self.index.class_gateways.of(&key.name).cloned());
                return;
            }
        };
        self.dirty.classes.insert(name);
    }

    /// The verdict over a class; none if it isn't there or isn't ours.
    pub(crate) fn class(&self, name: &str) -> Option<&Verdict> {
        self.classes.get(name)?.verdict.as_ref()
    }

    pub(crate) fn evaluate_class(&mut self, name: &Arc<str>) {
        let Some(state) = self.classes.get_mut(name) else { return };
        let spec = &state.object.spec;
        let verdict = self.settings.controller_names.contains(&spec.controller_name).then(|| Verdict {
            controller: spec.controller_name.as_str().into(),
            accepted: match &spec.parameters_ref {
                None => Ok(()),
                Some(parameters) => Err(Problem::new(
                    reason::INVALID_PARAMETERS,
                    format!(
                        "spec.parametersRef: {} {:?} of group {:?} isn't a kind of parameters that Foregate knows; \
                         remove the reference",
                        parameters.kind, parameters.name, parameters.group
                    ),
                )),
            },
        });
        if state.verdict != verdict {
            state.verdict = verdict;
            self.dirty.gateways.extend(self.index.class_gateways.of(name).cloned());
        }
        self.dirty.class_statuses.insert(name.clone());
    }

    /// A class of ours that Gateways use keeps the standard's finalizer; any other loses it.
    pub(crate) fn class_finalizers(&self, name: &Arc<str>) -> Option<FinalizerChange> {
        let state = self.classes.get(name)?;
        state.verdict.as_ref()?;
        let is_used = self.index.class_gateways.has(name);
        let present = state.object.metadata.finalizers.as_deref().unwrap_or_default();
        if present.iter().any(|one| one == GATEWAY_EXISTS) == is_used {
            return None;
        }
        // A class on its way out takes no new finalizers.
        if is_used && state.object.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let others = present.iter().filter(|one| *one != GATEWAY_EXISTS).cloned();
        let finalizers = others.chain(is_used.then(|| GATEWAY_EXISTS.to_owned())).collect();
        let resource_version = state.object.metadata.resource_version.clone().unwrap_or_default();
        Some(FinalizerChange { class: name.clone(), resource_version, finalizers })
    }

    pub(crate) fn class_status(&mut self, name: &Arc<str>, now: &Time) -> Option<StatusChange> {
        let state = self.classes.get_mut(name)?;
        let verdict = state.verdict.as_ref()?;
        let generation = state.object.metadata.generation.unwrap_or_default();
        let accepted = match &verdict.accepted {
            Ok(()) => condition(ACCEPTED, true, ACCEPTED, "Foregate serves Gateways of this class", generation, now),
            Err(problem) => condition(ACCEPTED, false, problem.reason, &problem.message, generation, now),
        };
        let key = Key::new("", name.clone());
        state.pending.update(
            StatusKind::GatewayClass,
            &key,
            &state.object.metadata,
            state.object.status.as_ref(),
            |base| GatewayClassStatus {
                conditions: merge(&base.conditions, vec![accepted], &[ACCEPTED]),
                supported_features: features::supported(),
            },
        )
    }
}
