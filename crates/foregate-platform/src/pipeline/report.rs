//! Statuses: what is to be said of each object, against what is said.

use std::time::Instant;

use foregate_api::GatewayClaim;
use foregate_api::Origin;
use foregate_api::address::ProxyRef;
use foregate_api::backend::GatewayBackendStatus;
use foregate_api::claim::{ClaimListener, GatewayClaimStatus, InstanceCounts};
use foregate_api::route::GatewayRouteStatus;
use foregate_translate::ObjectRef;
use foregate_xds::ResourceKind;
use jiff::Timestamp;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;

use crate::bind::instance_name;
use crate::merge::Verdict;
use crate::outbox::{Kind, Target, Write};
use crate::pipeline::Pipeline;
use crate::pipeline::gateway::Gateway;
use crate::pipeline::handed;
use crate::pipeline::observe::translator_key;
use crate::presence::Serving;
use crate::status::claim::{Binding, ClaimFacts, ListenerFacts, Pinned, claim_status, is_awaited, is_transient};
use crate::status::complaint::Complaint;
use crate::status::instance::instance_status;
use crate::status::proxy::{ProxyFacts, proxy_status};
use crate::status::{self, Unmet};
use crate::store::Key;

/// What is wanted of an object of a gateway.
struct Want {
    target: Target,
    write: Option<Write>,
    /// It says something that is about to change.
    is_transient: bool,
}

/// What all claims of a gateway have in common.
struct Shared<'a> {
    complaint: Complaint<'a>,
    serving: Serving,
    /// Engines that don't run.
    engines: &'a [String],
    /// What engines refuse and others serve.
    dissent: &'a [String],
    serves: bool,
    pinned: Option<Pinned>,
    clock: Timestamp,
}

impl Pipeline {
    /// Says what is to be written of everything that something touched.
    pub(super) fn report(&mut self, now: Instant, clock: Timestamp) {
        let mut wants = Vec::new();
        for proxy in std::mem::take(&mut self.restate) {
            let mut of_gateway = Vec::new();
            self.report_gateway(&proxy, clock, &mut of_gateway);
            for Want { target, write, is_transient } in of_gateway {
                let write = self.patience.consider(&proxy, &target, write, is_transient, now);
                wants.push((target, write));
            }
        }
        for target in std::mem::take(&mut self.reconsider) {
            let write = self.by_problem(&target, clock);
            wants.push((target, write));
        }
        for pool in self.pools.take_touched() {
            let key = Key::cluster(&pool);
            let write = self
                .stores
                .pools
                .get(&key)
                .zip(self.pools.status(&pool))
                .and_then(|(object, wanted)| write(&**object, object.status.as_ref(), wanted, &[]));
            wants.push((Target { kind: Kind::Pool, key }, write));
        }
        for (target, write) in wants {
            self.outbox.want(target, write, now);
        }
    }

    fn report_gateway(&self, proxy: &ProxyRef, clock: Timestamp, wants: &mut Vec<Want>) {
        let Some(gateway) = self.gateways.get(proxy) else { return };
        let key = Key::from(proxy);
        let object = self.stores.proxies.get(&key);
        let complaint = Complaint::new(object.and_then(|_| self.problem("GatewayProxy", &key)));
        let template = complaint.of_template();
        let replicas = object.map_or(0, |object| object.spec.template.replicas);
        let nodes = if object.is_some() { self.nodes_of(proxy, replicas) } else { Vec::new() };
        let (serving, engines) = self.serving(proxy, &nodes);
        // Looked for only where it is said.
        let serves = template.is_some() && self.translator.resources_of(proxy, ResourceKind::Listener).next().is_some();
        let pinned = gateway.pinned_as().map(|it| Pinned { awaited: self.awaits(proxy), ..it });
        let dissent = self.dissent(proxy, &nodes);
        let shared = Shared { complaint, serving, engines: &engines, dissent: &dissent, serves, pinned, clock };
        for claim in gateway.order.iter().filter_map(|name| self.stores.claims.get(&Key::new(&proxy.namespace, name))) {
            let bound = object.is_some().then_some(&*proxy.name);
            let (wanted, is_transient) = self.claim_status(gateway, claim, bound, &shared);
            let write = write(&**claim, claim.status.as_ref(), wanted, status::claim::OPTIONAL);
            wants.push(Want { target: Target { kind: Kind::Claim, key: Key::of(&**claim) }, write, is_transient });
        }
        // A gateway that nobody claims is on its way out, or is an operator's own and is described all the same.
        let Some(object) = object.filter(|_| gateway.fed.is_some()) else { return };
        if gateway.order.is_empty() && self.outbox.is_busy(&Target { kind: Kind::Proxy, key: key.clone() }) {
            return;
        }
        let facts = ProxyFacts {
            proxy: object,
            addresses: &gateway.owned,
            claims: gateway.order.clone(),
            listeners: &gateway.merge.listeners,
            fed: gateway.fed.as_ref(),
            unmet: gateway.unmet.as_ref(),
            template_problem: template.as_deref(),
            good: gateway.good.as_ref(),
            serves,
            engines: &engines,
            dissent: &dissent,
            published: (gateway.unpublished.is_empty() && gateway.sequence > 0).then(|| gateway.awaited()),
            serving,
            pinned: shared.pinned.clone(),
        };
        let write_proxy =
            || write(&**object, object.status.as_ref(), proxy_status(&facts, clock), status::proxy::OPTIONAL);
        let handed = handed::change(&**object, gateway.infrastructure.as_ref());
        let is_transient = handed.is_none()
            && gateway.unmet.is_none()
            && (gateway.owned.is_empty() || facts.published.is_some_and(|published| is_awaited(serving, published)));
        wants.push(Want {
            target: Target { kind: Kind::Proxy, key },
            write: handed.or_else(write_proxy),
            is_transient,
        });
        wants.extend(nodes.iter().filter_map(|node| self.report_instance(proxy, node, &object.spec.template.engine)));
    }

    fn report_instance(&self, proxy: &ProxyRef, node: &str, engine: &str) -> Option<Want> {
        let key = Key::cluster(instance_name(proxy, node));
        let instance = self.stores.instances.get(&key)?;
        let status = || {
            let wanted = instance_status(instance, self.presences.of(proxy, node), self.lacks(proxy, node))?;
            write(&**instance, instance.status.as_ref(), wanted, status::instance::OPTIONAL)
        };
        // Its spec first: its status is looked at again after that.
        let given = self.gateways.get(proxy).and_then(|gateway| gateway.infrastructure.as_ref());
        let handed = || handed::change(&**instance, given);
        let write = self.change_engine(&key.name, engine).or_else(handed).or_else(status);
        Some(Want { target: Target { kind: Kind::Instance, key }, write, is_transient: false })
    }

    fn claim_status(
        &self,
        gateway: &Gateway,
        claim: &GatewayClaim,
        proxy: Option<&str>,
        shared: &Shared<'_>,
    ) -> (GatewayClaimStatus, bool) {
        let name = claim.name_any();
        let binding = match (proxy, &gateway.template_missing) {
            (Some(proxy), _) => Binding::Bound(proxy.to_owned()),
            (None, Some(template)) => Binding::TemplateMissing(template.clone()),
            (None, None) => {
                let key = Key::from(&crate::bind::proxy_of(claim));
                Binding::Creating(self.failures.get(&Target { kind: Kind::Proxy, key }).cloned())
            }
        };
        let other = lacking(gateway, claim);
        let template = shared.complaint.of_template();
        let facts = ClaimFacts {
            claim,
            binding,
            addresses: &gateway.owned,
            unmet: gateway.unmet.as_ref().or(other.as_ref()),
            listeners: self.listeners(gateway, claim, shared),
            template_problem: template.as_deref(),
            serves: shared.serves,
            engines: shared.engines,
            dissent: shared.dissent,
            published: gateway.published.get(&name).copied(),
            serving: shared.serving,
            pinned: shared.pinned.clone(),
            wanted: gateway.wanted_of(claim),
        };
        (claim_status(&facts, shared.clock), is_transient(&facts))
    }

    /// What came of each listener of a claim.
    fn listeners(&self, gateway: &Gateway, claim: &GatewayClaim, shared: &Shared<'_>) -> Vec<ListenerFacts> {
        let complaint = shared.complaint;
        let name = claim.name_any();
        let verdicts = gateway.merge.verdicts.iter().filter(|verdict| verdict.claim == name);
        let facts = |verdict: &Verdict| {
            let listener = claim.spec.listeners.iter().find(|listener| listener.name == verdict.listener)?;
            let refused = gateway
                .refused_listener(listener)
                .map(|message| format!("the engine refused it: {message}"))
                .or_else(|| complaint.of_listener(&name, &listener.name).map(str::to_owned))
                .or_else(|| self.without_certificate(claim, listener, complaint));
            let expired = self.expired(claim, listener, shared.clock);
            Some(ListenerFacts { name: listener.name.clone(), conflict: verdict.conflict.clone(), refused, expired })
        };
        verdicts.filter_map(facts).collect()
    }

    /// Says of a listener's certificate that it has expired.
    fn expired(&self, claim: &GatewayClaim, listener: &ClaimListener, clock: Timestamp) -> Option<String> {
        let namespace = claim.namespace().unwrap_or_default();
        listener.tls.as_ref()?.certificates.iter().find_map(|name| {
            let key = Key::new(&namespace, name);
            let at = self.expiries.expired(&key, clock)?;
            let annotations = self.stores.secrets.get(&key)?.annotations();
            let origin = annotations.get(foregate_api::ORIGIN_ANNOTATION);
            let origin = origin.and_then(|text| serde_json::from_str::<Origin>(text).ok());
            let name = origin.map_or_else(|| format!("Secret {key}"), |origin| origin.display());
            Some(format!("the certificate of {name} expired at {at}: renew it"))
        })
    }

    /// What a gateway's instances do together, without those whose engines don't run; and why these don't.
    fn serving(&self, proxy: &ProxyRef, nodes: &[String]) -> (Serving, Vec<String>) {
        let (mut running, mut engines) = (Vec::new(), Vec::new());
        for node in nodes {
            let instance = self.stores.instances.get(&Key::cluster(instance_name(proxy, node)));
            match instance.and_then(|instance| status::instance::trouble(instance)) {
                Some(trouble) => engines.push(trouble),
                None => running.push(node.as_str()),
            }
        }
        let serving = match self.presences.serving(proxy, &running) {
            Serving::Known { counts, applied } => {
                let lacking = running.iter().filter(|node| self.lacks(proxy, node)).count() as u32;
                let ready = counts.ready.saturating_sub(lacking);
                Serving::Known { counts: InstanceCounts { desired: nodes.len() as u32, ready, ..counts }, applied }
            }
            Serving::Uncertain => Serving::Uncertain,
        };
        (serving, engines)
    }

    /// Why none of a listener's certificates can be used.
    fn without_certificate(
        &self,
        claim: &GatewayClaim,
        listener: &ClaimListener,
        complaint: Complaint<'_>,
    ) -> Option<String> {
        let namespace = claim.namespace().unwrap_or_default();
        let mut why = None;
        for name in &listener.tls.as_ref()?.certificates {
            let line = complaint.of_secret(&namespace, name)?;
            let exactly = self.problem("Secret", &Key::new(&namespace, name));
            why = Some(format!("no certificate can be used: {}", exactly.unwrap_or(line)));
        }
        why
    }

    pub(super) fn problem(&self, kind: &'static str, key: &Key) -> Option<&str> {
        self.problems.get(&ObjectRef { kind, key: translator_key(key) }).map(String::as_str)
    }

    /// The status of an object that says something by exception only.
    fn by_problem(&self, target: &Target, clock: Timestamp) -> Option<Write> {
        let optional = status::problem::OPTIONAL;
        if target.kind == Kind::Route {
            let route = self.stores.routes.get(&target.key)?;
            if self.suspects.contains(route.spec.origin.uid.as_str()) {
                return None;
            }
            let problem = self.problem("GatewayRoute", &target.key);
            let previous = route.status.as_ref().map_or(&[][..], |status| &status.conditions);
            let conditions = status::problem::accepted(previous, problem, route.metadata.generation, clock);
            let silent = conditions.is_empty() && previous.is_empty();
            let wanted = GatewayRouteStatus { origin_generation: route.spec.origin.generation, conditions };
            return (!silent).then(|| write(&**route, route.status.as_ref(), wanted, optional)).flatten();
        }
        let backend = self.stores.backends.get(&target.key)?;
        let problem = self.problem("GatewayBackend", &target.key);
        let previous = backend.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let conditions = status::problem::accepted(previous, problem, backend.metadata.generation, clock);
        let silent = conditions.is_empty() && previous.is_empty();
        (!silent)
            .then(|| write(&**backend, backend.status.as_ref(), GatewayBackendStatus { conditions }, optional))
            .flatten()
    }
}

/// A claim that shares a gateway has no say in its addresses, unless it came first.
fn lacking(gateway: &Gateway, claim: &GatewayClaim) -> Option<Unmet> {
    let missing = claim.spec.addresses.iter().find(|wanted| {
        let wanted: Option<std::net::IpAddr> = wanted.parse().ok();
        !gateway.owned.iter().any(|owned| owned.parse().ok() == wanted && wanted.is_some())
    })?;
    let is_first = gateway.order.first() == Some(&claim.name_any());
    (!is_first && !gateway.owned.is_empty()).then(|| Unmet {
        reason: "AddressNotUsable",
        message: format!(
            "{missing} isn't an address of the gateway that it shares ({}); ask for one of these, or for none",
            gateway.owned.join(", ")
        ),
    })
}

/// A write of a status, if it says something else than the present one.
fn write<K: Resource, S: Serialize + PartialEq + Default>(
    object: &K,
    present: Option<&S>,
    wanted: S,
    optional: &[&str],
) -> Option<Write> {
    // An absent status says nothing, as an empty one does.
    if present.map_or_else(|| wanted == S::default(), |present| *present == wanted) {
        return None;
    }
    let uid = object.meta().uid.clone()?;
    let status = status::patch(&uid, &wanted, optional)?;
    Some(Write::Status { uid, status })
}
