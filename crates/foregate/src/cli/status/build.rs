//! From objects to a tree: gateway → listener → route → rule → backend.

use foregate_api::condition;
use foregate_api::gateway::{Gateway, RouteParentStatus};
use foregate_api::route::{RouteBackend, RouteFilter, RouteRule};
use foregate_api::{GatewayClaim, GatewayRoute};
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
    // Of other clusters' Gateways only the claims are here.
    for claim in &world.claims {
        let origin = &claim.spec.origin;
        let name = format!("{}/{}", origin.namespace, origin.name);
        if origin.cluster != foregate_api::LOCAL_CLUSTER || !world.has_gateway(&name) {
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

/// A Gateway of another cluster, as far as the platform knows it.
fn of_claim(world: &World, name: &str, claim: &GatewayClaim) -> Node {
    let status = claim.status.clone().unwrap_or_default();
    let what = format!("Gateway {name} of cluster {}", claim.spec.origin.cluster);
    let mut node = match trouble(&status.conditions, &["Bound", "Programmed"]) {
        Some(message) => Node::new(what, message).state(State::Broken),
        None => Node::new(what, format!("serves at {}", status.addresses.join(", "))),
    };
    node.parts.extend(of_platform(world, claim));
    for listener in &claim.spec.listeners {
        let found = status.listeners.iter().find(|it| it.name == listener.name);
        let conditions = found.map(|it| it.conditions.as_slice()).unwrap_or_default();
        let protocol = format!("{:?}", listener.protocol).to_uppercase();
        let facts = (protocol, listener.port, listener.hostname.as_deref());
        node.parts.push(of_listener(world, (name, claim), &listener.name, facts, conditions));
    }
    node
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
        None => Node::new(what, says),
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
    node.parts.extend(of_platform(world, claim));
    for listener in &gateway.spec.listeners {
        let found = status.listeners.iter().find(|it| it.name == listener.name);
        let conditions = found.map(|it| it.conditions.as_slice()).unwrap_or_default();
        let protocol = serde_json::to_value(&listener.protocol).unwrap_or_default();
        let protocol = protocol.as_str().unwrap_or_default().to_owned();
        let facts = (protocol, listener.port, listener.hostname.as_deref());
        node.parts.push(of_listener(world, (name, claim), &listener.name, facts, conditions));
    }
    node.parts.extend(refused(world, name));
    node
}

/// Instances that don't serve, and whether the gateway is held.
fn of_platform(world: &World, claim: &GatewayClaim) -> Vec<Node> {
    let namespace = claim.namespace().unwrap_or_default();
    let Some(proxy) = claim.status.as_ref().and_then(|status| status.proxy.clone()) else { return Vec::new() };
    let mut parts = Vec::new();
    let held = world.proxies.iter().find(|it| it.namespace().as_deref() == Some(&namespace) && it.name_any() == proxy);
    if let Some(revision) = held.and_then(|it| it.spec.pinned_revision.as_ref()).filter(|it| !it.is_empty()) {
        let says = format!("at {}: changes since then don't serve", in_words(revision));
        let origin = &claim.spec.origin;
        let next = format!("`foregate unpin {}/{}` serves the present configuration", origin.namespace, origin.name);
        parts.push(Node::new("held", says).state(State::Attention).next(next));
    }
    for instance in world.instances_of(&namespace, &proxy) {
        let what = format!("instance {} on {}", instance.name, instance.node);
        if !instance.message.is_empty() {
            parts.push(Node::new(what, instance.message).state(State::Broken));
        } else if !instance.connected {
            let next = "see that the node runs: `foregate get gatewaynodes`";
            parts.push(Node::new(what, "isn't connected").state(State::Broken).next(next));
        } else if !instance.refusal.is_empty() {
            let names: Vec<String> = instance.refused.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
            let says = format!("refused {}: {}", names.join(", "), instance.refusal);
            parts.push(Node::new(what, says).state(State::Attention));
        } else if !instance.ready {
            parts.push(Node::new(what, "is applying its configuration").state(State::Attention));
        }
    }
    parts
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

/// What a route's status says for a Gateway.
fn parent<'a>(route: &'a UserRoute, gateway: &str) -> Option<&'a RouteParentStatus> {
    route.status.parents.iter().find(|status| {
        let parent = &status.parent_ref;
        let namespace = parent.namespace.as_deref().unwrap_or(&route.namespace);
        parent.is_gateway() && format!("{namespace}/{}", parent.name) == gateway
    })
}

fn of_route(world: &World, gateway: &str, claim: &GatewayClaim, route: &GatewayRoute) -> Node {
    let what = route.spec.origin.display();
    let said = world.user_route(route).and_then(|user| parent(user, gateway));
    let conditions = said.map(|said| said.conditions.as_slice()).unwrap_or_default();
    let refused = route.status.as_ref().and_then(|status| trouble(&status.conditions, &["Accepted"]));
    let hosts: Vec<&str> = route
        .spec
        .attachments
        .iter()
        .filter(|it| it.claim == claim.name_any())
        .flat_map(|it| &it.hostnames)
        .map(|it| it.effective.as_str())
        .filter(|host| *host != "*")
        .collect();
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
    if rule.matches.is_empty() { "/".to_owned() } else { rule.matches.iter().map(one).collect::<Vec<_>>().join(" or ") }
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
        let conditions = &parent(route, gateway)?.conditions;
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
