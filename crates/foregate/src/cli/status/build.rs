//! From objects to a tree: gateway → listener → route → rule → backend.

use std::collections::HashSet;

use foregate_api::condition;
use foregate_api::gateway::{Gateway, RouteParentStatus};
use foregate_api::route::{RouteBackend, RouteFilter, RouteRule};
use foregate_api::{GatewayClaim, GatewayProxy, GatewayRoute};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;

use super::read::{UserRoute, World};
use super::tree::{Node, State};
use crate::cli::backends;
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
fn trouble(conditions: &[Condition], wanted: &[&str]) -> Option<String> {
    let conflict = condition::find(conditions, "Conflicted").filter(|it| it.status == "True");
    let bad = |kind: &&str| condition::find(conditions, kind).filter(|it| it.status != "True");
    let found = conflict.or_else(|| wanted.iter().find_map(bad))?;
    Some(match found.message.as_str() {
        "" => found.reason.clone(),
        message => format!("{message} ({})", found.reason),
    })
}

fn routes_of<'a>(world: &'a World, claim: &GatewayClaim, listener: &str) -> Vec<&'a GatewayRoute> {
    let name = claim.name_any();
    let attached = |route: &&GatewayRoute| {
        route.namespace() == claim.namespace()
            && route.spec.attachments.iter().any(|it| it.claim == name && it.listener == listener)
    };
    let mut routes: Vec<&GatewayRoute> = world.routes.iter().filter(attached).collect();
    routes.sort_by_key(|route| route.spec.origin.display());
    routes
}

/// What a route's status says for a Gateway or a ListenerSet.
fn parent<'a>(route: &'a UserRoute, kind: &str, name: &str) -> Option<&'a RouteParentStatus> {
    route.status.parents.iter().find(|status| {
        let parent = &status.parent_ref;
        let namespace = parent.namespace_or(&route.namespace);
        parent.kind.as_deref().unwrap_or("Gateway") == kind && format!("{namespace}/{}", parent.name) == name
    })
}

/// The hosts that a route has of a claim, each once: many listeners may have the same.
fn hosts_of<'a>(route: &'a GatewayRoute, claim: &str) -> Vec<&'a str> {
    let mut seen = HashSet::new();
    let attached = route.spec.attachments.iter().filter(|it| it.claim == claim);
    let hosts = attached.flat_map(|it| &it.hostnames).map(|it| it.effective.as_str());
    hosts.filter(|host| *host != "*" && seen.insert(*host)).collect()
}

fn of_route(world: &World, gateway: &str, claim: &GatewayClaim, route: &GatewayRoute) -> Node {
    let what = route.spec.origin.display();
    let said = world.user_route(route).and_then(|user| parent(user, &claim.spec.origin.kind, gateway));
    let conditions = said.map(|said| said.conditions.as_slice()).unwrap_or_default();
    let refused = route.status.as_ref().and_then(|status| trouble(&status.conditions, &["Accepted"]));
    let hosts = hosts_of(route, &claim.name_any());
    let node = match refused.or_else(|| trouble(conditions, &["Accepted", "ResolvedRefs"])) {
        Some(message) => Node::new(what, message).state(State::Broken),
        None => Node::new(what, hosts.join(", ")),
    };
    let proxy = claim.status.as_ref().and_then(|status| status.proxy.clone()).unwrap_or_default();
    let proxy = format!("{}/{proxy}", claim.namespace().unwrap_or_default());
    let rules = route.spec.rules.iter().enumerate().map(|(index, rule)| of_rule(world, &proxy, index, rule));
    Node { parts: rules.collect(), ..node }
}

fn of_rule(world: &World, proxy: &str, index: usize, rule: &RouteRule) -> Node {
    let what = rule.name.as_ref().map_or_else(|| format!("rule {index}"), |name| format!("rule {name}"));
    let matches = matches(rule);
    if let Some(redirect) = rule.filters.iter().find_map(|filter| match filter {
        RouteFilter::Redirect(redirect) => Some(redirect),
        _ => None,
    }) {
        return Node::new(what, format!("{matches}: redirects with {}", redirect.status_code));
    }
    let used: Vec<&RouteBackend> = rule.backends.iter().filter(|backend| backend.weight > 0).collect();
    let total: u64 = used.iter().map(|backend| u64::from(backend.weight)).sum();
    if used.is_empty() {
        let says = format!("{matches}: has no backend, and answers 500");
        return Node::new(what, says).state(State::Broken).next("add backendRefs, or a redirect");
    }
    let parts = used.iter().map(|backend| {
        let share = if used.len() > 1 { u64::from(backend.weight) * 100 / total.max(1) } else { 100 };
        of_backend(world, proxy, backend, share)
    });
    let parts: Vec<Node> = parts.collect();
    match parts.as_slice() {
        // One backend needs no line of its own.
        [only] => Node {
            what,
            says: format!(
                "{matches} → {}{}",
                only.what,
                if only.says.is_empty() { String::new() } else { format!(", {}", only.says) }
            ),
            ..only.clone()
        },
        _ => Node { parts, ..Node::new(what, matches) },
    }
}

/// What a rule's matches ask for, in short.
fn matches(rule: &RouteRule) -> String {
    let one = |it: &foregate_api::route::RouteMatch| {
        let path = it.path.as_ref().map_or("/".to_owned(), |path| match path.kind {
            foregate_api::route::PathMatchKind::Exact => format!("={}", path.value),
            foregate_api::route::PathMatchKind::PathPrefix => path.value.clone(),
            foregate_api::route::PathMatchKind::RegularExpression => format!("~{}", path.value),
        });
        let method = it.method.iter().map(|method| format!("{method} "));
        let more = it.headers.iter().map(|header| format!(" {}", header.name));
        let query = it.query_params.iter().map(|query| format!(" ?{}", query.name));
        method.chain([path]).chain(more).chain(query).collect::<String>()
    };
    // Connections and datagrams have none.
    if rule.matches.is_empty() {
        "all".to_owned()
    } else {
        rule.matches.iter().map(one).collect::<Vec<_>>().join(" or ")
    }
}

fn of_backend(world: &World, proxy: &str, backend: &RouteBackend, share: u64) -> Node {
    let percent = if share < 100 { format!("{share} % ") } else { String::new() };
    let Some(name) = &backend.backend else {
        return Node::new(format!("{percent}a backend that doesn't exist"), "answers 500")
            .state(State::Broken)
            .next("correct backendRefs; the route's condition ResolvedRefs says what is wrong");
    };
    let known = world.backends.get(name);
    let what = format!("{percent}{}", known.map_or_else(|| name.clone(), backends::display));
    let prefix = format!("{name}/");
    let clusters = world.endpoints.get(proxy);
    let held = world.proxies.iter().any(|it| {
        let name = format!("{}/{}", it.namespace().unwrap_or_default(), it.name_any());
        name == proxy && it.spec.pinned_revision.as_ref().is_some_and(|revision| !revision.is_empty())
    });
    let is_published = clusters.is_some_and(|all| all.keys().any(|cluster| cluster.starts_with(&prefix)));
    if held && !is_published {
        return Node::new(what, "waits for the gateway to be unpinned").state(State::Attention);
    }
    let endpoints: Vec<&String> = clusters
        .into_iter()
        .flatten()
        .filter(|(cluster, _)| cluster.starts_with(&prefix))
        .flat_map(|(_, endpoints)| endpoints)
        .collect();
    if endpoints.is_empty() {
        let next = "see that its EndpointSlices have ready endpoints with an address and the port";
        return Node::new(what, "has no endpoints, and answers 503").state(State::Broken).next(next);
    }
    Node::new(
        what,
        if endpoints.len() <= 2 {
            endpoints.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ")
        } else {
            count(endpoints.len(), "endpoint")
        },
    )
}

/// Routes that name a Gateway which doesn't take them.
fn refused(world: &World, gateway: &str) -> Vec<Node> {
    let refused = world.user_routes.iter().filter_map(|route| {
        let conditions = &parent(route, "Gateway", gateway)?.conditions;
        let attached = world.routes.iter().any(|it| {
            world.user_route(it).is_some_and(|user| std::ptr::eq(user, route)) && !it.spec.attachments.is_empty()
        });
        let message = trouble(conditions, &["Accepted"]).filter(|_| !attached)?;
        Some(Node::new(format!("{} {}/{}", route.kind, route.namespace, route.name), message).state(State::Broken))
    });
    refused.collect()
}

/// A route none of whose parents exists.
fn orphan(world: &World, route: &UserRoute) -> Option<Node> {
    let what = format!("{} {}/{}", route.kind, route.namespace, route.name);
    if route.parents.is_empty() {
        let node = Node::new(what, "names no parent, so that nothing serves it").state(State::Broken);
        return Some(node.next("add a Gateway to spec.parentRefs"));
    }
    let missing: Vec<String> = route
        .parents
        .iter()
        .filter(|parent| parent.is_gateway())
        .map(|parent| format!("{}/{}", parent.namespace.as_deref().unwrap_or(&route.namespace), parent.name))
        .filter(|name| !world.has_gateway(name))
        .collect();
    (!missing.is_empty() && missing.len() == route.parents.len()).then(|| {
        Node::new(what, format!("its parent {} doesn't exist", missing.join(", ")))
            .state(State::Broken)
            .next("correct spec.parentRefs, or create the Gateway")
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
    fn a_host_of_many_listeners_is_said_once() {
        let attachment = |claim: &str, listener: &str, host: &str| {
            let hostname = serde_json::json!({ "effective": host, "original": host });
            serde_json::json!({ "claim": claim, "listener": listener, "hostnames": [hostname] })
        };
        let attachments = [("c", "a", "b.test"), ("c", "b", "a.test"), ("c", "c", "b.test"), ("c", "d", "*")];
        let mut attachments: Vec<_> = attachments.map(|(claim, name, host)| attachment(claim, name, host)).into();
        attachments.push(attachment("other", "a", "c.test"));
        let origin = serde_json::json!({ "cluster": "local", "kind": "HTTPRoute", "name": "r", "uid": "1" });
        let route: GatewayRoute = serde_json::from_value(serde_json::json!({
            "apiVersion": "foregate.dev/v1alpha1", "kind": "GatewayRoute", "metadata": { "name": "r" },
            "spec": { "origin": origin, "attachments": attachments },
        }))
        .unwrap();
        assert_eq!(hosts_of(&route, "c"), ["b.test", "a.test"]);
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
}
