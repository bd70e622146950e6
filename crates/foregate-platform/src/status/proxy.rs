//! GatewayProxy.status.

use foregate_api::GatewayProxy;
use foregate_api::proxy::{GatewayProxyStatus, ProxyListener};
use foregate_api::template::GatewayTemplateSpec;
use jiff::Timestamp;

use crate::conditions::{Finding, settle};
use crate::pipeline::gateway::Fed;
use crate::pipeline::last_good;
use crate::presence::Serving;
use crate::status::Unmet;
use crate::status::claim::{Pinned, counts, template_broken, unserved};

/// Fields that may be absent.
pub(crate) const OPTIONAL: &[&str] =
    &["addresses", "claims", "listeners", "backendClientCertificate", "infrastructure", "conditions", "lastGood"];

/// All that a proxy's status is made from.
#[derive(Clone, Debug)]
pub(crate) struct ProxyFacts<'a> {
    pub proxy: &'a GatewayProxy,
    pub addresses: &'a [String],
    /// In order of precedence.
    pub claims: Vec<String>,
    pub listeners: &'a [ProxyListener],
    /// What the translator was told.
    pub fed: Option<&'a Fed>,
    pub unmet: Option<&'a Unmet>,
    pub template_problem: Option<&'a str>,
    /// The template that serves on when the present one has a problem.
    pub good: Option<&'a GatewayTemplateSpec>,
    /// Whether anything of the gateway is served, if only as it was.
    pub serves: bool,
    /// Engines that don't run, each with what to do.
    pub engines: &'a [String],
    /// What single engines refuse while others serve it, each with what to do.
    pub dissent: &'a [String],
    /// The sequence that published it as it is now; none: not yet.
    pub published: Option<u64>,
    pub serving: Serving,
    /// The revision that it is held at.
    pub pinned: Option<Pinned>,
}

/// A proxy's status.
pub(crate) fn proxy_status(facts: &ProxyFacts<'_>, now: Timestamp) -> GatewayProxyStatus {
    let empty = GatewayProxyStatus::default();
    let previous = facts.proxy.status.as_ref().unwrap_or(&empty);
    let generation = facts.proxy.metadata.generation;
    let template = match facts.template_problem {
        Some(problem) => Finding::no("TemplateValid", "Invalid", template_broken(problem, facts.serves)),
        None => Finding::yes("TemplateValid", "Valid", "the template renders"),
    };
    let mut findings = vec![programmed(facts, previous), template];
    findings.extend(facts.pinned.as_ref().map(Pinned::finding));
    GatewayProxyStatus {
        observed_generation: generation.unwrap_or_default(),
        addresses: facts.addresses.to_vec(),
        claims: facts.claims.clone(),
        listeners: facts.listeners.to_vec(),
        backend_client_certificate: facts.fed.and_then(|fed| fed.backend_client_certificate.clone()),
        infrastructure: facts.fed.and_then(|fed| fed.infrastructure.clone()),
        conditions: settle(&previous.conditions, findings, generation, now),
        instances: counts(facts.serving, previous.instances),
        last_good: facts
            .template_problem
            .zip(facts.good)
            .and_then(|(problem, good)| last_good::told(good, &facts.proxy.spec.template, problem)),
    }
}

fn programmed(facts: &ProxyFacts<'_>, previous: &GatewayProxyStatus) -> Finding {
    let no = |reason, message: &str| Finding::no("Programmed", reason, message);
    if let Some(unmet) = facts.unmet {
        return no(unmet.reason, &unmet.message);
    }
    if facts.addresses.is_empty() {
        return no("AddressNotAssigned", "an address is being assigned");
    }
    let Some(published) = facts.published else {
        return match &facts.pinned {
            Some(pinned) => no("Pending", &pinned.waits()),
            None => no("Pending", "the configuration is being made"),
        };
    };
    let yes = Finding::yes("Programmed", "Programmed", "every connected instance serves it");
    match facts.serving {
        Serving::Uncertain => {
            let same = previous.listeners == facts.listeners && previous.addresses == facts.addresses;
            let was = crate::conditions::find(&previous.conditions, "Programmed");
            if same && was.is_some_and(|condition| condition.status == "True") {
                yes
            } else {
                no("Pending", "waiting for the instances to connect")
            }
        }
        Serving::Known { counts, .. } if counts.connected == 0 => no("NoResources", &unserved(counts, facts.engines)),
        Serving::Known { counts, .. } if counts.connected > 0 && counts.ready == 0 && !facts.dissent.is_empty() => {
            no("Invalid", &facts.dissent.join("; "))
        }
        Serving::Known { counts, applied } if counts.ready == 0 || applied < published => {
            no("Pending", "waiting for the instances to acknowledge")
        }
        Serving::Known { .. } => {
            let mut message = yes.message.to_string();
            let engines = (!facts.engines.is_empty()).then(|| format!(", but not {}", facts.engines.join("; not ")));
            let dissent = (!facts.dissent.is_empty()).then(|| format!(", but {}", facts.dissent.join("; ")));
            message.extend(engines.into_iter().chain(dissent));
            Finding { message, ..yes }
        }
    }
}
