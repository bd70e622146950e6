//! GatewayClaim.status.

use foregate_api::GatewayClaim;
use foregate_api::claim::{ClaimListenerStatus, GatewayClaimStatus, InstanceCounts};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::conditions::{Finding, find, settle};
use crate::merge::Conflict;
use crate::presence::Serving;
use crate::status::Unmet;

/// Fields that may be absent.
pub(crate) const OPTIONAL: &[&str] = &["proxy", "addresses", "conditions", "listeners"];

const BOUND: &str = "Bound";
const PROGRAMMED: &str = "Programmed";
const CONFLICTED: &str = "Conflicted";
const PINNED: &str = "Pinned";

/// What a claim's gateway has come to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Binding {
    /// There is a proxy.
    Bound(String),
    /// There is none, and the template that one would be made from is missing.
    TemplateMissing(String),
    /// It is being made; why the last attempt failed.
    Creating(Option<String>),
}

/// What came of one listener.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListenerFacts {
    pub name: String,
    pub conflict: Option<Conflict>,
    /// What translation or an engine says against it.
    pub refused: Option<String>,
}

/// Of a claim, and of its listeners, when nothing is missing.
const SERVED: &str = "every connected instance serves it";

/// All that a claim's status is made from.
#[derive(Clone, Debug)]
pub(crate) struct ClaimFacts<'a> {
    pub claim: &'a GatewayClaim,
    pub binding: Binding,
    pub addresses: &'a [String],
    pub unmet: Option<&'a Unmet>,
    pub listeners: Vec<ListenerFacts>,
    /// What is wrong with the gateway's template.
    pub template_problem: Option<&'a str>,
    /// The sequence that published its listeners as they are now; none: not yet.
    pub published: Option<u64>,
    pub serving: Serving,
    /// The revision that the gateway is held at.
    pub pinned: Option<&'a str>,
}

/// A claim's status.
pub(crate) fn claim_status(facts: &ClaimFacts<'_>, now: Timestamp) -> GatewayClaimStatus {
    let claim = facts.claim;
    let empty = GatewayClaimStatus::default();
    let previous = claim.status.as_ref().unwrap_or(&empty);
    let generation = claim.metadata.generation;
    let programmed = programmed(facts, previous);
    let mut findings = vec![bound(facts), with_exceptions(programmed.clone(), &facts.listeners)];
    findings.extend(facts.pinned.map(pinned));
    let listener = |listener: &ListenerFacts| ClaimListenerStatus {
        name: listener.name.clone(),
        conditions: settle(
            previous.listeners.iter().find(|old| old.name == listener.name).map_or(&[], |old| &old.conditions),
            listener_findings(listener, &programmed),
            generation,
            now,
        ),
    };
    GatewayClaimStatus {
        observed_generation: generation.unwrap_or_default(),
        origin_generation: claim.spec.origin.generation,
        proxy: match &facts.binding {
            Binding::Bound(name) => Some(name.clone()),
            _ => None,
        },
        addresses: facts.addresses.to_vec(),
        conditions: settle(&previous.conditions, findings, generation, now),
        listeners: facts.listeners.iter().map(listener).collect(),
        instances: counts(facts.serving, previous.instances),
    }
}

/// Whether all that it lacks is on its way, and usually there in a moment.
pub(crate) fn is_transient(facts: &ClaimFacts<'_>) -> bool {
    if facts.unmet.is_some() || facts.template_problem.is_some() || facts.pinned.is_some() {
        return false;
    }
    let nothing_yet =
        facts.binding == Binding::Creating(None) || facts.addresses.is_empty() || facts.published.is_none();
    match facts.binding {
        Binding::TemplateMissing(_) | Binding::Creating(Some(_)) => false,
        _ => nothing_yet || facts.published.is_some_and(|published| is_awaited(facts.serving, published)),
    }
}

/// Whether connected instances are still to apply what was published.
pub(crate) fn is_awaited(serving: Serving, published: u64) -> bool {
    match serving {
        Serving::Known { counts, applied } => counts.connected > 0 && (counts.ready == 0 || applied < published),
        Serving::Uncertain => false,
    }
}

/// The counts to show: the old ones while they are uncertain.
pub(crate) fn counts(serving: Serving, previous: InstanceCounts) -> InstanceCounts {
    match serving {
        Serving::Uncertain => previous,
        Serving::Known { counts, .. } => counts,
    }
}

fn bound(facts: &ClaimFacts<'_>) -> Finding {
    match &facts.binding {
        Binding::Bound(name) => Finding::yes(BOUND, "Bound", format!("bound to GatewayProxy {name}")),
        Binding::TemplateMissing(template) => Finding::no(
            BOUND,
            "TemplateNotFound",
            format!(
                "there is no GatewayTemplate {template} in namespace {}; create it, or name another",
                facts.claim.namespace().unwrap_or_default()
            ),
        ),
        Binding::Creating(failure) => Finding::no(BOUND, "Pending", creating(failure.as_deref())),
    }
}

fn creating(failure: Option<&str>) -> String {
    match failure {
        Some(error) => format!("the gateway can't be created: {error}"),
        None => "the gateway is being created".to_owned(),
    }
}

fn pinned(revision: &str) -> Finding {
    let message =
        format!("held at ConfigRevision {revision}: changes of listeners and routes wait until it is unpinned");
    Finding::yes(PINNED, "Pinned", message)
}

fn programmed(facts: &ClaimFacts<'_>, previous: &GatewayClaimStatus) -> Finding {
    let no = |reason, message: String| Finding::no(PROGRAMMED, reason, message);
    match &facts.binding {
        Binding::TemplateMissing(template) => return no("Pending", format!("GatewayTemplate {template} is missing")),
        Binding::Creating(failure) => return no("Pending", creating(failure.as_deref())),
        Binding::Bound(_) => {}
    }
    if let Some(unmet) = facts.unmet {
        return no(unmet.reason, unmet.message.clone());
    }
    if facts.addresses.is_empty() {
        return no("AddressNotAssigned", "an address is being assigned".into());
    }
    if let Some(problem) = facts.template_problem {
        return no("Invalid", format!("the gateway's template: {problem}"));
    }
    if facts.listeners.is_empty() {
        return no("Invalid", "none of its listeners is valid".into());
    }
    if let Some(worst) = all_refused(&facts.listeners) {
        return no("Invalid", format!("none of its listeners can be served: {worst}"));
    }
    let Some(published) = facts.published else {
        return match facts.pinned {
            Some(revision) => no("Pending", format!("the gateway is held at ConfigRevision {revision}; unpin it")),
            None => no("Pending", "the configuration is being made".into()),
        };
    };
    acknowledged(facts, published, previous)
}

fn acknowledged(facts: &ClaimFacts<'_>, published: u64, previous: &GatewayClaimStatus) -> Finding {
    let no = |reason, message: String| Finding::no(PROGRAMMED, reason, message);
    match facts.serving {
        Serving::Uncertain => kept(facts, previous)
            .unwrap_or_else(|| no("Pending", "waiting for the gateway's instances to connect".into())),
        Serving::Known { counts, .. } if counts.connected == 0 => {
            no("NoResources", format!("no instance of the gateway is connected ({} wanted)", counts.desired))
        }
        Serving::Known { counts, .. } if counts.ready == 0 => {
            no("Pending", "no instance of the gateway is ready yet".into())
        }
        Serving::Known { counts, applied } if applied < published => {
            no("Pending", format!("waiting for {} instance(s) to acknowledge", counts.connected))
        }
        // Without numbers: they would be written on every change of an instance.
        Serving::Known { .. } => Finding::yes(PROGRAMMED, "Programmed", SERVED),
    }
}

/// What was said before, if it was said of this very claim.
fn kept(facts: &ClaimFacts<'_>, previous: &GatewayClaimStatus) -> Option<Finding> {
    let claim = facts.claim;
    let same = previous.observed_generation == claim.metadata.generation.unwrap_or_default()
        && previous.origin_generation == claim.spec.origin.generation
        && previous.addresses == facts.addresses;
    let served = find(&previous.conditions, PROGRAMMED).is_some_and(|condition| condition.status == "True");
    (same && served).then(|| Finding::yes(PROGRAMMED, "Programmed", SERVED))
}

/// Names the listeners that a gateway serves without: `kubectl get gateway` shows True all the same.
fn with_exceptions(programmed: Finding, listeners: &[ListenerFacts]) -> Finding {
    let left_out: Vec<&str> =
        listeners.iter().filter(|listener| objection(listener).is_some()).map(|listener| &*listener.name).collect();
    if !programmed.holds || left_out.is_empty() {
        return programmed;
    }
    let message = format!("{SERVED}, but for listeners that can't be served: {}", left_out.join(", "));
    Finding { message, ..programmed }
}

fn all_refused(listeners: &[ListenerFacts]) -> Option<String> {
    let mut worst = None;
    for listener in listeners {
        worst = Some(objection(listener)?);
    }
    worst
}

fn objection(listener: &ListenerFacts) -> Option<String> {
    let why = listener.conflict.as_ref().map(Conflict::message).or_else(|| listener.refused.clone())?;
    Some(format!("listener {}: {why}", listener.name))
}

fn listener_findings(listener: &ListenerFacts, claim: &Finding) -> Vec<Finding> {
    if let Some(conflict) = &listener.conflict {
        return vec![
            Finding::no(PROGRAMMED, "Invalid", conflict.message()),
            Finding::yes(CONFLICTED, conflict.reason(), conflict.message()),
        ];
    }
    if let Some(refused) = &listener.refused {
        return vec![Finding::no(PROGRAMMED, "Invalid", refused.clone())];
    }
    // A listener has no reasons of its own for what its gateway lacks (Gateway API ListenerConditionReason).
    let reason = match claim.reason {
        "Programmed" | "Invalid" => claim.reason,
        _ => "Pending",
    };
    vec![Finding { reason, ..claim.clone() }]
}

#[cfg(test)]
mod tests;
