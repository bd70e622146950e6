//! GatewayClasses.

use std::sync::Arc;

use foregate_api::condition::{condition, merge};
use foregate_api::gateway::conditions::{ACCEPTED, SUPPORTED_VERSION, reason};
use foregate_api::gateway::{GatewayClass, GatewayClassStatus, ParametersReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::output::{StatusChange, StatusKind};
use crate::parameters::{Named, ParametersId, id};
use crate::problem::Problem;
use crate::status::Pending;
use crate::target::{Health, TargetId};
use crate::world::uid;
use crate::{Attach, Change, Key, Release, envoy_proxy, features};

/// The release of the Gateway API that is served.
const RELEASE: &str = "v1.7.0";
/// Reason of a class whose platform doesn't answer.
const PLATFORM_AWAY: &str = "PlatformUnreachable";

/// A GatewayClass.
#[derive(Debug)]
pub(crate) struct ClassState {
    pub object: Arc<GatewayClass>,
    /// What its parameters are made of.
    pub named: Named,
    /// None: another controller's.
    verdict: Option<Verdict>,
    /// What is wrong with its parameters.
    problem: Option<Problem>,
    /// The reference that has led to where its gateways run.
    led: Option<ParametersReference>,
    pending: Pending<GatewayClassStatus>,
}

/// What a class of ours means for its Gateways.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub controller: Arc<str>,
    /// Where they run; or why nowhere. Once it is known, what becomes wrong with the parameters takes it from nobody.
    pub accepted: Result<Placement, Problem>,
}

/// Where gateways of a class run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Placement {
    pub target: TargetId,
    /// The GatewayTemplate that they are made from.
    pub template: Arc<str>,
    /// The key by which all of them share one gateway; none: each has its own.
    pub shared: Option<Arc<str>>,
    /// What is to be told though all is well.
    pub note: Option<&'static str>,
}

impl ClassState {
    /// Where its gateways run.
    pub fn target(&self) -> Option<TargetId> {
        Some(self.verdict.as_ref()?.accepted.as_ref().ok()?.target)
    }

    /// Whether its `controllerName` is one of ours.
    pub fn is_ours(&self) -> bool {
        self.verdict.is_some()
    }
}

impl Attach {
    pub(crate) fn take_class(&mut self, change: Change<GatewayClass>) {
        let name = match change {
            Change::Set(object) => {
                let name: Arc<str> = object.metadata.name.as_deref().unwrap_or_default().into();
                match self.classes.get_mut(&name) {
                    Some(state) => state.object = object,
                    None => {
                        let state = ClassState {
                            object,
                            named: Named::default(),
                            verdict: None,
                            problem: None,
                            led: None,
                            pending: Pending::default(),
                        };
                        self.classes.insert(name.clone(), state);
                    }
                }
                name
            }
            Change::Gone(key) => {
                if let Some(old) = self.classes.remove(&key.name) {
                    self.index_parameters(&key.name, &old.named, &Named::default());
                }
                self.targets.leave(&key.name);
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

    fn is_ours(&self, class: &GatewayClass) -> bool {
        self.settings.controller_names.contains(&class.spec.controller_name)
    }

    /// Keeps what a class's parameters are made of.
    pub(crate) fn index_class(&mut self, name: &Arc<str>) {
        let Some(mut state) = self.classes.remove(name) else { return };
        let is_ours = self.is_ours(&state.object);
        let named = if is_ours { self.parameters_of(&state.object) } else { Named::default() };
        self.index_parameters(name, &state.named, &named);
        state.named = named;
        self.classes.insert(name.clone(), state);
    }

    pub(crate) fn evaluate_class(&mut self, name: &Arc<str>) {
        self.index_class(name);
        self.settle_needs();
        let Some(mut state) = self.classes.remove(name) else { return };
        if state.named.secret.as_ref().is_some_and(|secret| self.waits_for(secret)) {
            self.classes.insert(name.clone(), state);
            self.dirty.classes.insert(name.clone());
            return;
        }
        let is_ours = self.is_ours(&state.object);
        let (verdict, problem) = if is_ours {
            let (accepted, problem) = self.place(name, &state);
            let controller = state.object.spec.controller_name.as_str().into();
            (Some(Verdict { controller, accepted }), problem)
        } else {
            self.targets.leave(name);
            (None, None)
        };
        if state.verdict != verdict {
            self.dirty.gateways.extend(self.index.class_gateways.of(name).cloned());
        }
        if problem.is_none() {
            state.led.clone_from(&state.object.spec.parameters_ref);
        }
        (state.verdict, state.problem) = (verdict, problem);
        self.classes.insert(name.clone(), state);
        self.dirty.class_statuses.insert(name.clone());
    }

    /// Where a class's gateways run, and what is wrong with its parameters.
    fn place(&mut self, name: &Arc<str>, state: &ClassState) -> (Result<Placement, Problem>, Option<Problem>) {
        match self.placement(name, &state.object) {
            Ok(placement) => (Ok(placement), None),
            Err(problem) => {
                // Whoever deletes parameters by mistake doesn't take down what serves.
                let is_same = state.led.is_some() && state.led == state.object.spec.parameters_ref;
                let before = state.verdict.as_ref().filter(|_| is_same);
                let before = before.and_then(|verdict| verdict.accepted.as_ref().ok());
                if before.is_none() {
                    self.targets.leave(name);
                }
                (before.cloned().ok_or_else(|| problem.clone()), Some(problem))
            }
        }
    }

    fn placement(&mut self, name: &Arc<str>, object: &GatewayClass) -> Result<Placement, Problem> {
        let invalid = |message: String| Problem::new(reason::INVALID_PARAMETERS, message);
        let reference = object.spec.parameters_ref.as_ref();
        let parameters = reference.map(id).transpose().map_err(|why| invalid(format!("spec.parametersRef: {why}")))?;
        let asked = match parameters {
            Some(ParametersId::Own(key)) => {
                let (connection, template) = self.connection(&key)?;
                let target = self.targets.take_in(name, connection);
                return Ok(Placement { target, template, ..Placement::default() });
            }
            Some(ParametersId::EnvoyProxy(key)) => {
                let at = |why: String| invalid(format!("spec.parametersRef: EnvoyProxy {key}{why}"));
                let found = self.world.envoy_proxies.get(&key).ok_or_else(|| at(" doesn't exist".to_owned()))?;
                envoy_proxy::read(&found.spec).map_err(|why| at(format!(": {why}")))?
            }
            None => envoy_proxy::Asked::default(),
        };
        let Some(default) = &self.settings.default_target else {
            let says =
                if reference.is_some() { "an EnvoyProxy names no platform" } else { "spec.parametersRef is missing" };
            return Err(invalid(format!(
                "{says}, and this controller has no default platform: name a GatewayClassParameters, as `foregate \
                 cluster add` on the platform's side prints one"
            )));
        };
        let template = default.template.as_str().into();
        self.targets.leave(name);
        let target = TargetId::DEFAULT;
        let shared = asked.merges.then(|| self.targets.get(target).name(&uid(&object.metadata)));
        Ok(Placement { target, template, shared, note: asked.note })
    }

    pub(crate) fn class_status(&mut self, name: &Arc<str>, now: &Time) -> Option<StatusChange> {
        let state = self.classes.get(name)?;
        let generation = state.object.metadata.generation.unwrap_or_default();
        let accepted = self.class_accepted(state, generation, now)?;
        let ours = [accepted].into_iter().chain(self.class_supported(generation, now)).collect();
        let state = self.classes.get_mut(name)?;
        let key = Key::new("", name.clone());
        state.pending.update(
            StatusKind::GatewayClass,
            &key,
            &state.object.metadata,
            state.object.status.as_ref(),
            |base| GatewayClassStatus {
                conditions: merge(&base.conditions, ours, &[ACCEPTED, SUPPORTED_VERSION]),
                supported_features: features::supported(),
            },
        )
    }

    pub(crate) fn take_release(&mut self, release: Release) {
        self.world.release = Some(release);
        self.dirty.class_statuses.extend(self.classes.keys().cloned());
    }

    /// Whether the cluster has all of the Gateway API that is served; none: nobody has asked.
    fn class_supported(&self, generation: i64, now: &Time) -> Option<Condition> {
        let Release { version, missing } = self.world.release.as_ref()?;
        let version = version.as_deref().unwrap_or("an unknown version");
        let is = |status, reason: &str, message: &str| {
            Some(condition(SUPPORTED_VERSION, status, reason, message, generation, now))
        };
        if missing.is_empty() {
            return is(true, SUPPORTED_VERSION, &format!("the cluster has the Gateway API of {version}"));
        }
        let message = format!(
            "the cluster has the Gateway API of {version} and doesn't serve {}: none of these is read. Version {RELEASE} \
             has them all",
            missing.join(", ")
        );
        is(false, reason::UNSUPPORTED_VERSION, &message)
    }

    /// Whether the parameters are right and the platform takes what is written.
    fn class_accepted(&self, state: &ClassState, generation: i64, now: &Time) -> Option<Condition> {
        let verdict = state.verdict.as_ref()?;
        let is =
            |status, reason: &str, message: &str| Some(condition(ACCEPTED, status, reason, message, generation, now));
        let unknown = |reason, message| {
            is(false, reason, message).map(|known| Condition { status: "Unknown".to_owned(), ..known })
        };
        let placement = match (&verdict.accepted, &state.problem) {
            (Ok(_), Some(problem)) => {
                let message = format!("{}; Gateways keep what they have", problem.message);
                return is(false, problem.reason, &message);
            }
            (Err(problem), _) => return is(false, problem.reason, &problem.message),
            (Ok(placement), None) => placement,
        };
        let waits = self.what_is_left(state, placement.target);
        let with_that = |why: &str| waits.iter().fold(why.to_owned(), |why, waits| format!("{why}; {waits}"));
        match &self.targets.get(placement.target).health {
            None => unknown(reason::PENDING, &with_that("the platform hasn't answered yet")),
            Some(Health::Good { missing_templates }) if missing_templates.contains(&*placement.template) => {
                let namespace = &self.targets.get(placement.target).namespace;
                let message = format!("the platform has no GatewayTemplate {namespace}/{}", placement.template);
                is(false, reason::INVALID_PARAMETERS, &message)
            }
            Some(Health::Good { .. }) => {
                let stale = self.targets.get(placement.target).stale.iter();
                let well = "Foregate serves Gateways of this class".to_owned();
                let well = placement.note.iter().fold(well, |well, note| format!("{well}; {note}"));
                is(true, ACCEPTED, &stale.fold(well, |well, stale| format!("{well}; but {stale}")))
            }
            Some(Health::Refused(why) | Health::Disowned(why)) => {
                is(false, reason::INVALID_PARAMETERS, &with_that(why))
            }
            Some(Health::Away(why)) if waits.is_some() => unknown(PLATFORM_AWAY, &with_that(why)),
            Some(Health::Away(why)) => {
                let message = format!("{why}; what is there serves on, and changes follow when it answers again");
                unknown(PLATFORM_AWAY, &message)
            }
        }
    }
}
