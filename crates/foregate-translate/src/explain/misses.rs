//! Routes that don't take a request, nearest first.

use foregate_envoy::pb::envoy::config::route::v3 as route;

use super::matching::{Hit, Wanted, choice};
use super::normal::Seen;
use super::read::{Gateway, Table};
use super::{Explanation, NearMiss, Part, Reason, Request, RouteOrigin, precedence};

/// Near misses that are told at most: more than anybody reads, few enough for ten thousand routes.
const MOST: usize = 50;

/// Writes down who else might have taken the request.
pub(super) fn collect(
    gateway: &Gateway,
    table: &Table,
    host: Option<&route::VirtualHost>,
    hit: Option<Hit<'_>>,
    request: &Request,
    seen: &Seen,
    answer: &mut Explanation,
) {
    let wanted = Wanted { gateway, request, seen };
    let mut misses = Vec::new();
    for (index, route) in host.iter().flat_map(|host| &host.routes).enumerate() {
        let mut reasons = wanted.against(route);
        if reasons.is_empty() {
            match hit {
                Some(hit) if index > hit.index => {
                    reasons.push(Reason::new(Part::Precedence, precedence::why(hit.route, route)));
                }
                _ => continue,
            }
        }
        misses.push(miss(route, host.map_or("", |host| &host.name), reasons));
    }
    for other in table.hosts.iter().filter(|other| host.is_none_or(|host| host.name != other.name)) {
        // Of other hosts' routes only those that ask for nothing else: all others are far away.
        for route in other.routes.iter().filter(|route| wanted.against(route).is_empty()) {
            let domains = other.domains.join(", ");
            let text = match &answer.virtual_host {
                Some(chosen) if chosen.others.iter().any(|domain| other.domains.contains(domain)) => {
                    format!("it is for {domains}; {} is more specific, and takes host {}", chosen.domain, seen.host)
                }
                _ => format!("host {} isn't {domains}", seen.host),
            };
            misses.push(miss(route, &other.name, vec![Reason::new(Part::Host, text)]));
        }
    }
    misses.sort_by_key(distance);
    misses.truncate(MOST);
    answer.near_misses = misses;
}

fn miss(route: &route::Route, virtual_host: &str, reasons: Vec<Reason>) -> NearMiss {
    NearMiss { route: choice(route), virtual_host: virtual_host.to_owned(), reasons }
}

/// How far a route is from taking the request: what is easily changed counts less than another path or host.
fn distance(miss: &NearMiss) -> usize {
    let weight = |reason: &Reason| match reason.part {
        Part::Precedence => 0,
        Part::Query | Part::Header | Part::Method => 1,
        Part::Host => 2,
        Part::Path if reason.near => 2,
        Part::Path | Part::Other => 3,
    };
    miss.reasons.iter().map(weight).sum()
}

/// A route as a sentence names it.
pub(super) fn name(route: &route::Route) -> String {
    RouteOrigin::parse(&route.name).map_or_else(|| format!("route {}", route.name), |origin| origin.to_string())
}

/// Why nothing of a virtual host took the request.
pub(super) fn nothing(host: &route::VirtualHost) -> String {
    match host.routes.len() {
        0 => format!("no route is attached for {}", host.domains.join(", ")),
        1 => format!("the only route for {} doesn't match", host.domains.join(", ")),
        count => format!("none of the {count} routes for {} matches", host.domains.join(", ")),
    }
}
