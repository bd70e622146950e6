//! From objects to a tree: route → rule → backend.

use std::collections::HashSet;

use foregate_api::gateway::RouteParentStatus;
use foregate_api::route::{RouteBackend, RouteFilter, RouteRule};
use foregate_api::{GatewayClaim, GatewayRoute};
use kube::ResourceExt as _;

use super::build::trouble;
use super::read::{UserRoute, World};
use super::tree::{Node, State};
use crate::cli::backends;
use crate::cli::output::count;

/// The routes of a listener of a claim.
pub fn routes_of<'a>(world: &'a World, claim: &GatewayClaim, listener: &str) -> Vec<&'a GatewayRoute> {
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

/// A route as it is attached to a claim of a Gateway or ListenerSet.
pub fn of_route(world: &World, gateway: &str, claim: &GatewayClaim, route: &GatewayRoute) -> Node {
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
pub fn refused(world: &World, gateway: &str) -> Vec<Node> {
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
pub fn orphan(world: &World, route: &UserRoute) -> Option<Node> {
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
}
