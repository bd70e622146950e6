//! From objects to a tree: gateway → listener; [`super::routes`] goes on from there.

use foregate_api::condition;
use foregate_api::gateway::Gateway;
use foregate_api::{GatewayClaim, GatewayProxy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;

use super::read::World;
use super::routes::{of_route, orphan, refused, routes_of};
use super::tree::{Node, State};
use crate::cli::output::count;
use crate::cli::revisions::in_words;

/// Every gateway that is asked for, then routes that no gateway has.
pub fn all(world: &World, only: Option<&str>) -> Vec<Node> {
    let mut nodes: Vec<(String, Node)> = Vec::new();
    for gateway in world.gateways.iter().filter(|gateway| is_ours(world, gateway)) {
        let name = format!("{}/{}", gateway.namespace().unwrap_or_default(), gateway.name_any());
        let claim = world.claims.iter().find(|claim| is_claim_of(claim, &name));
        nodes.push((name.clone(), of_gateway(world, &name, gateway, claim)));
    }
    // Of other clusters' Gateways only the claims are here; ListenerSets are known by theirs.
    for claim in &world.claims {
        let origin = &claim.spec.origin;
        let name = format!("{}/{}", origin.namespace, origin.name);
        if !is_claim_of(claim, &name) || !world.has_gateway(&name) {
            nodes.push((name.clone(), of_claim(world, &name, claim)));
        }
    }
    nodes.sort_by(|a, b| a.0.cmp(&b.0));
    let mut nodes: Vec<Node> = nodes
        .into_iter()
        .filter(|(name, _)| only.is_none_or(|only| only.split(", ").any(|only| only == name)))
        .map(|(_, node)| node)
        .collect();
    if only.is_none() {
        nodes.extend(world.user_routes.iter().filter_map(|route| orphan(world, route)));
    }
    nodes
}

fn is_claim_of(claim: &GatewayClaim, name: &str) -> bool {
    let origin = &claim.spec.origin;
    origin.cluster == foregate_api::LOCAL_CLUSTER
        && origin.kind == "Gateway"
        && format!("{}/{}", origin.namespace, origin.name) == name
}

/// A Gateway of another cluster, or a ListenerSet, as far as the platform knows it.
fn of_claim(world: &World, name: &str, claim: &GatewayClaim) -> Node {
    let status = claim.status.clone().unwrap_or_default();
    let origin = &claim.spec.origin;
    let what = match origin.cluster.as_str() {
        foregate_api::LOCAL_CLUSTER => format!("{} {name}", origin.kind),
        cluster => format!("{} {name} of cluster {cluster}", origin.kind),
    };
    let mut node = match trouble(&status.conditions, &["Bound", "Programmed"]) {
        Some(message) => Node::new(what, message).state(State::Broken),
        None => Node::new(what, format!("serves at {}", status.addresses.join(", "))),
    };
    let mut listeners = Vec::new();
    for listener in &claim.spec.listeners {
        let found = status.listeners.iter().find(|it| it.name == listener.name);
        let conditions = found.map(|it| it.conditions.as_slice()).unwrap_or_default();
        let protocol = format!("{:?}", listener.protocol).to_uppercase();
        let facts = (protocol, listener.port, listener.hostname.as_deref());
        listeners.push(of_listener(world, (name, claim), &listener.name, facts, conditions));
    }
    // Those that its cluster can't have served are told by name.
    listeners.extend(claim.spec.refused.iter().map(|refused| {
        let says = format!("on port {}: {} ({})", refused.port, refused.message, refused.reason);
        Node::new(format!("listener {}", refused.name), says).state(State::Broken)
    }));
    let troubled = node.state != State::Serving || !listeners.iter().all(is_well);
    node.parts.extend(of_platform(world, claim, troubled));
    node.parts.extend(listeners);
    node
}

/// Whether it serves, and all that it is made of.
fn is_well(node: &Node) -> bool {
    node.state == State::Serving && node.parts.iter().all(is_well)
}

/// Protocol, port and host name of a listener.
type ListenerFacts<'a> = (String, u16, Option<&'a str>);

fn of_listener(
    world: &World,
    (gateway, claim): (&str, &GatewayClaim),
    name: &str,
    (protocol, port, hostname): ListenerFacts<'_>,
    conditions: &[Condition],
) -> Node {
    let what = format!("listener {name}");
    let routes = routes_of(world, claim, name);
    let host = hostname.map(|host| format!(" for {host}")).unwrap_or_default();
    let says = format!("{protocol} on port {port}{host}, {}", count(routes.len(), "route"));
    let mut node = match trouble(conditions, &["ResolvedRefs", "Accepted", "Programmed"]) {
        Some(message) => Node::new(what, message).state(State::Broken),
        None => match reservation(conditions) {
            Some(but) => Node::new(what, says).state(State::Attention).next(but),
            None => Node::new(what, says),
        },
    };
    node.parts = routes.into_iter().map(|route| of_route(world, gateway, claim, route)).collect();
    node
}

/// Whether a class of ours has it, or none that exists.
fn is_ours(world: &World, gateway: &Gateway) -> bool {
    let class = world.classes.iter().find(|class| class.name_any() == gateway.spec.gateway_class_name);
    class.is_none_or(|class| class.spec.controller_name == foregate_api::CONTROLLER_NAME)
}

fn of_gateway(world: &World, name: &str, gateway: &Gateway, claim: Option<&GatewayClaim>) -> Node {
    let status = gateway.status.clone().unwrap_or_default();
    let what = format!("Gateway {name}");
    let class = &gateway.spec.gateway_class_name;
    if !world.classes.iter().any(|it| it.name_any() == *class) {
        return Node::new(what, format!("its GatewayClass {class} doesn't exist"))
            .state(State::Broken)
            .next(format!("set spec.gatewayClassName to {}", foregate_api::DEFAULT_GATEWAY_CLASS));
    }
    let addresses: Vec<&str> = status.addresses.iter().map(|address| address.value.as_str()).collect();
    let mut node = match trouble(&status.conditions, &["Accepted", "Programmed"]) {
        Some(message) => Node::new(what, message).state(State::Broken),
        None if status.conditions.is_empty() => {
            Node::new(what, "nobody has looked at it yet").state(State::Broken).next("see that `foregate up` runs")
        }
        None => Node::new(what, format!("serves at {}", addresses.join(", "))),
    };
    let Some(claim) = claim else { return node };
    let mut listeners = Vec::new();
    for listener in &gateway.spec.listeners {
        let found = status.listeners.iter().find(|it| it.name == listener.name);
        let conditions = found.map(|it| it.conditions.as_slice()).unwrap_or_default();
        let protocol = serde_json::to_value(&listener.protocol).unwrap_or_default();
        let protocol = protocol.as_str().unwrap_or_default().to_owned();
        let facts = (protocol, listener.port, listener.hostname.as_deref());
        listeners.push(of_listener(world, (name, claim), &listener.name, facts, conditions));
    }
    let troubled = node.state != State::Serving || !listeners.iter().all(is_well);
    node.parts.extend(of_platform(world, claim, troubled));
    node.parts.extend(listeners);
    node.parts.extend(refused(world, name));
    node
}

/// Instances that don't serve, and whether the gateway is held. What an engine has refused last stays in its status: it
/// is of interest while the gateway is `troubled`.
fn of_platform(world: &World, claim: &GatewayClaim, troubled: bool) -> Vec<Node> {
    let namespace = claim.namespace().unwrap_or_default();
    let Some(proxy) = claim.status.as_ref().and_then(|status| status.proxy.clone()) else { return Vec::new() };
    let mut parts = Vec::new();
    let held = world.proxies.iter().find(|it| it.namespace().as_deref() == Some(&namespace) && it.name_any() == proxy);
    let pinned = held.and_then(|it| Some((it, it.spec.pinned_revision.as_ref().filter(|it| !it.is_empty())?)));
    if let Some((proxy, revision)) = pinned {
        let fine = || (State::Attention, format!("at {}: changes since then don't serve", in_words(revision)));
        let (state, says) = not_held(proxy).unwrap_or_else(fine);
        let origin = &claim.spec.origin;
        let next = format!("`foregate unpin {}/{}` serves the present configuration", origin.namespace, origin.name);
        parts.push(Node::new("held", says).state(state).next(next));
    }
    for instance in world.instances_of(&namespace, &proxy) {
        let what = format!("instance {} on {}", instance.name, instance.node);
        if !instance.message.is_empty() {
            parts.push(Node::new(what, instance.message).state(State::Broken));
        } else if !instance.connected {
            let away = world.is_away(&instance.node);
            let but = if away { format!(": the agent of node {} is away", instance.node) } else { String::new() };
            let next = "see that the node runs: `foregate get gatewaynodes`";
            parts.push(Node::new(what, format!("isn't connected{but}")).state(State::Broken).next(next));
        } else if troubled && !instance.refusal.is_empty() {
            let names: Vec<String> = instance.refused.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
            let says = format!("refused {}: {}", names.join(", "), instance.refusal);
            parts.push(Node::new(what, says).state(State::Attention));
        } else if !instance.ready {
            parts.push(Node::new(what, "is applying its configuration").state(State::Attention));
        } else if let Some(process) = instance.process {
            parts.push(Node::new(what, process));
        }
    }
    parts
}

/// What is to be done though it serves: of a certificate that has expired, say.
fn reservation(conditions: &[Condition]) -> Option<String> {
    let programmed = condition::find(conditions, "Programmed")?;
    programmed.message.split_once(", but ").map(|(_, but)| but.to_owned())
}

/// Why a gateway isn't held as it is meant to be, and what the platform says of it.
fn not_held(proxy: &GatewayProxy) -> Option<(State, String)> {
    let status = proxy.status.as_ref()?;
    let pinned = condition::find(&status.conditions, "Pinned")?;
    if pinned.observed_generation != proxy.metadata.generation {
        return None;
    }
    match pinned.reason.as_str() {
        "Pinned" => None,
        "RevisionNotFound" => Some((State::Broken, pinned.message.clone())),
        _ => Some((State::Attention, pinned.message.clone())),
    }
}

/// The message of the first condition that should be true and isn't.
pub fn trouble(conditions: &[Condition], wanted: &[&str]) -> Option<String> {
    let conflict = condition::find(conditions, "Conflicted").filter(|it| it.status == "True");
    let bad = |kind: &&str| condition::find(conditions, kind).filter(|it| it.status != "True");
    let found = conflict.or_else(|| wanted.iter().find_map(bad))?;
    Some(match found.message.as_str() {
        "" => found.reason.clone(),
        message => format!("{message} ({})", found.reason),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn who_is_held_at_nothing_says_so_once_the_platform_has_looked() {
        let proxy = |reason: &str, observed: i64| -> GatewayProxy {
            let condition = serde_json::json!({
                "type": "Pinned", "status": "True", "reason": reason, "message": "why", "observedGeneration": observed,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let template = serde_json::json!({ "envoy": { "listener": "" } });
            serde_json::from_value(serde_json::json!({
                "apiVersion": "foregate.dev/v1alpha1", "kind": "GatewayProxy",
                "metadata": { "name": "p", "generation": 2 },
                "spec": { "templateName": "d", "template": template, "pinnedRevision": "p-1" },
                "status": { "conditions": [condition] },
            }))
            .unwrap()
        };
        let said = |reason, observed| not_held(&proxy(reason, observed)).map(|(state, _)| state);
        assert_eq!(said("RevisionNotFound", 2), Some(State::Broken));
        assert_eq!(said("Incomplete", 2), Some(State::Attention));
        assert_eq!((said("Pinned", 2), said("RevisionNotFound", 1)), (None, None));
    }

    #[test]
    fn what_serves_with_reservations_wants_attention() {
        let programmed = |message: &str| Condition {
            type_: "Programmed".to_owned(),
            status: "True".to_owned(),
            reason: "Programmed".to_owned(),
            message: message.to_owned(),
            observed_generation: None,
            last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Default::default()),
        };
        let but = |message| reservation(&[programmed(message)]);
        assert_eq!(but("every connected instance serves it"), None);
        let expired = "every connected instance serves it, but the certificate of Secret a/b expired: renew it";
        assert_eq!(but(expired).as_deref(), Some("the certificate of Secret a/b expired: renew it"));
    }

    #[test]
    fn listeners_that_never_left_their_cluster_are_told_with_why() {
        let claim = serde_json::from_value(serde_json::json!({
            "apiVersion": "foregate.dev/v1alpha1", "kind": "GatewayClaim", "metadata": { "name": "edge-1" },
            "spec": {
                "origin": { "cluster": "edge", "kind": "Gateway", "namespace": "shop", "name": "web", "uid": "1" },
                "template": "default",
                "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
                "refused": [{
                    "name": "https", "port": 443, "reason": "InvalidCertificateRef",
                    "message": "Secret shop/tls doesn't exist",
                }],
            },
        }));
        let world = World {
            classes: Vec::new(),
            gateways: Vec::new(),
            user_routes: Vec::new(),
            claims: vec![claim.unwrap()],
            proxies: Vec::new(),
            routes: Vec::new(),
            backends: Default::default(),
            instances: Vec::new(),
            nodes: Vec::new(),
            endpoints: Default::default(),
        };
        let nodes = all(&world, None);
        assert_eq!(nodes[0].what, "Gateway shop/web of cluster edge");
        let refused = nodes[0].parts.iter().find(|part| part.what == "listener https").unwrap();
        assert_eq!(refused.state, State::Broken);
        assert_eq!(refused.says, "on port 443: Secret shop/tls doesn't exist (InvalidCertificateRef)");
        assert!(!nodes[0].is_well());
    }
}
