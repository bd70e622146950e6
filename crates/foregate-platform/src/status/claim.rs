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
pub(crate) const OPTIONAL: &[&str] = &["proxy", "addresses", "conditions", "listeners", "wantedBackends"];

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
    /// Of a certificate that has expired.
    pub expired: Option<String>,
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
    /// Whether anything of the gateway is served, if only as it was.
    pub serves: bool,
    /// Engines that don't run, each with what to do.
    pub engines: &'a [String],
    /// What single engines refuse while others serve it, each with what to do.
    pub dissent: &'a [String],
    /// The sequence that published its listeners as they are now; none: not yet.
    pub published: Option<u64>,
    pub serving: Serving,
    /// The revision that the gateway is held at.
    pub pinned: Option<Pinned>,
    /// Backends that this needs; none: it isn't known yet.
    pub wanted: Option<Vec<String>>,
}

/// A gateway's pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pinned {
    /// The ConfigRevision that is asked for.
    pub revision: String,
    /// Why it can't be served.
    pub failure: Option<String>,
    /// What of it can't be served.
    pub troubles: Vec<String>,
    /// How many backends it waits for before it is served.
    pub awaited: usize,
}

impl Pinned {
    /// The condition.
    pub(crate) fn finding(&self) -> Finding {
        if let Some(failure) = &self.failure {
            let message = format!(
                "{failure}; the gateway stays as it is, and takes no changes of listeners and routes until it is \
                 unpinned or pinned at a revision that is kept"
            );
            return Finding::yes(PINNED, "RevisionNotFound", message);
        }
        if self.awaited > 0 {
            let message = format!(
                "to be held at ConfigRevision {}; it stays as it is until the endpoints of {} backend(s) are known that \
                 no route names now",
                self.revision, self.awaited
            );
            return Finding::yes(PINNED, "Pending", message);
        }
        let mut message = format!(
            "held at ConfigRevision {}: changes of listeners and routes wait until it is unpinned",
            self.revision
        );
        for trouble in &self.troubles {
            message.push_str("; ");
            message.push_str(trouble);
        }
        Finding::yes(PINNED, if self.troubles.is_empty() { "Pinned" } else { "Incomplete" }, message)
    }

    /// What is said of listeners that wait.
    pub(crate) fn waits(&self) -> String {
        format!("the gateway is held at ConfigRevision {}; unpin it", self.revision)
    }
}

/// A claim's status.
pub(crate) fn claim_status(facts: &ClaimFacts<'_>, now: Timestamp) -> GatewayClaimStatus {
    let claim = facts.claim;
    let empty = GatewayClaimStatus::default();
    let previous = claim.status.as_ref().unwrap_or(&empty);
    let generation = claim.metadata.generation;
    let programmed = programmed(facts, previous);
    let mut findings = vec![bound(facts), with_exceptions(programmed.clone(), facts)];
    findings.extend(facts.pinned.as_ref().map(Pinned::finding));
    let listener = |listener: &ListenerFacts| ClaimListenerStatus {
        name: listener.name.clone(),
        conditions: settle(
            previous.listeners.iter().find(|old| old.name == listener.name).map_or(&[], |old| &old.conditions),
            listener_findings(listener, facts, &programmed),
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
        // What was said before a restart holds until it is known again.
        wanted_backends: facts.wanted.clone().unwrap_or_else(|| previous.wanted_backends.clone()),
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
        return no("Invalid", template_broken(problem, facts.serves));
    }
    if facts.listeners.is_empty() {
        return no("Invalid", "none of its listeners is valid".into());
    }
    if let Some(worst) = all_refused(&facts.listeners) {
        return no("Invalid", format!("none of its listeners can be served: {worst}"));
    }
    let Some(published) = facts.published else {
        return match &facts.pinned {
            Some(pinned) => no("Pending", pinned.waits()),
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
        Serving::Known { counts, .. } if counts.connected == 0 => no("NoResources", unserved(counts, facts.engines)),
        Serving::Known { counts, .. } if counts.ready == 0 && !facts.dissent.is_empty() => {
            no("Invalid", facts.dissent.join("; "))
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

/// Said once, and what it means for the traffic.
pub(crate) fn template_broken(problem: &str, serves: bool) -> String {
    let then = if serves { "the last good configuration serves on" } else { "nothing is served yet" };
    format!("the gateway's template: {problem}\n{then}")
}

/// Why nobody serves.
pub(crate) fn unserved(counts: InstanceCounts, engines: &[String]) -> String {
    if !engines.is_empty() {
        return format!("no instance of the gateway runs: {}", engines.join("; "));
    }
    match counts.desired {
        0 => "there is no gateway node that takes instances: add a GatewayNode, or make one schedulable".to_owned(),
        desired => format!("no instance of the gateway is connected ({desired} wanted)"),
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

/// Names what a gateway serves without: `kubectl get gateway` shows True all the same.
fn with_exceptions(programmed: Finding, facts: &ClaimFacts<'_>) -> Finding {
    if !programmed.holds {
        return programmed;
    }
    let names = |fits: fn(&ListenerFacts) -> bool| {
        let names: Vec<&str> = facts.listeners.iter().filter(|it| fits(it)).map(|it| &*it.name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let refused = names(|listener| objection(listener).is_some());
    let expired = names(|listener| listener.expired.is_some());
    let exceptions = [
        refused.map(|names| format!("but for listeners that can't be served: {names}")),
        expired.map(|names| format!("but certificates have expired, of listeners: {names}")),
        (!facts.engines.is_empty()).then(|| format!("but not {}", facts.engines.join("; not "))),
        (!facts.dissent.is_empty()).then(|| format!("but {}", facts.dissent.join("; "))),
    ];
    let exceptions: Vec<String> = exceptions.into_iter().flatten().collect();
    if exceptions.is_empty() {
        return programmed;
    }
    Finding { message: format!("{SERVED}, {}", exceptions.join("; ")), ..programmed }
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

fn listener_findings(listener: &ListenerFacts, facts: &ClaimFacts<'_>, claim: &Finding) -> Vec<Finding> {
    if let Some(conflict) = &listener.conflict {
        return vec![
            Finding::no(PROGRAMMED, "Invalid", conflict.message()),
            Finding::yes(CONFLICTED, conflict.reason(), conflict.message()),
        ];
    }
    if let Some(refused) = &listener.refused {
        return vec![Finding::no(PROGRAMMED, "Invalid", refused.clone())];
    }
    if claim.reason == "Invalid" && facts.template_problem.is_some() {
        let message = "the gateway's template can't be used: see the gateway's own condition";
        return vec![Finding::no(PROGRAMMED, "Invalid", message)];
    }
    if let Some(expired) = listener.expired.as_ref().filter(|_| claim.holds) {
        return vec![Finding { message: format!("{SERVED}, but {expired}"), ..claim.clone() }];
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
