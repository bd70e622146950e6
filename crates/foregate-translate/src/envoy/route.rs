//! Routes: one Envoy route per rule and match.

use bytes::Bytes;
use foregate_envoy::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use foregate_envoy::pb::envoy::config::route::v3 as pb;
use prost::Message;

use super::{
    check, common, cors, ext_authz, filters, headers, matches, mirror, patch, redirect, retries, rewrite, shares,
    weights,
};
use crate::Problem;
use crate::ir::{Action, Destination, Entry, Forward, Match, Rule};
use crate::resolve::precedence::MatchRank;

/// Name of the message.
pub(crate) const TYPE: &str = "envoy.config.route.v3.Route";
/// Name of the route that answers misdirected requests.
pub(crate) const MISDIRECTED: &str = "misdirected";
/// `VirtualHost.routes`: field 3, length-delimited.
const ROUTES_TAG: u8 = 3 << 3 | 2;

/// One encoded route.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Compiled {
    pub rank: MatchRank,
    /// Position of the rule in its route, then of the match in its rule, then of the share in the match.
    pub position: (u32, u32, u32),
    /// As an element of `VirtualHost.routes`, tag and length included: virtual hosts are concatenations.
    pub element: Bytes,
}

/// Compiles and checks every route of an entry. `counted`: the engine counts a route's requests only if it is told to.
pub(crate) fn compile(
    entry: &Entry,
    counted: bool,
    patch: Option<&patch::RoutePatch<'_>>,
) -> Result<Vec<Compiled>, Problem> {
    let mut compiled = Vec::with_capacity(entry.rules.len());
    for (at, rule) in (0u32..).zip(&entry.rules) {
        for (index, matched) in (0u32..).zip(&rule.matches) {
            let field = format!("spec.rules[{at}]");
            for (share, mut route) in (0u32..).zip(build(entry, rule, matched, index, &field)?) {
                if counted {
                    route.stat_prefix = stat_prefix(&route.name);
                }
                let mut body = route.encode_to_vec();
                check(TYPE, &body, &field)?;
                // The encoder writes a oneof where its first member would be; what is read of it again would be sorted.
                foregate_envoy::canonical::sort(TYPE, &mut body);
                if let Some(patch) = patch {
                    body.extend_from_slice(&patch.render(entry, rule, matched, index)?);
                    check(TYPE, &body, patch::ROUTE_FIELD).map_err(Problem::into_template)?;
                    body = patch::merged(TYPE, body);
                }
                let position = (at, index, share);
                compiled.push(Compiled { rank: MatchRank::of(matched), position, element: element(&body) });
            }
        }
    }
    Ok(compiled)
}

/// The virtual host that answers requests on a connection whose certificate was asked for by another name (RFC 9110,
/// 15.5.20): a client that has come by that way makes a new connection.
pub(crate) fn misdirected(name: &str, domains: &[String]) -> Bytes {
    let route = pb::Route {
        name: MISDIRECTED.to_owned(),
        r#match: Some(pb::RouteMatch {
            path_specifier: Some(pb::route_match::PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        }),
        action: Some(pb::route::Action::DirectResponse(pb::DirectResponseAction { status: 421, ..Default::default() })),
        ..Default::default()
    };
    let host =
        pb::VirtualHost { name: name.to_owned(), domains: domains.to_vec(), routes: vec![route], ..Default::default() };
    let mut body = host.encode_to_vec();
    foregate_envoy::canonical::sort(super::virtual_host::TYPE, &mut body);
    body.into()
}

/// The route's name: whose rule and match it is.
pub(crate) fn name(entry: &Entry, rule: &Rule, index: u32) -> String {
    format!("{}/{}/{index}", entry.route, rule.name)
}

/// The route's name, for Envoy's counters: these are parted at dots, and no name has an underscore in it.
fn stat_prefix(name: &str) -> String {
    name.replace('.', "_")
}

/// One route; or one per share, where one of several asks for what only a whole route can have.
fn build(entry: &Entry, rule: &Rule, matched: &Match, index: u32, field: &str) -> Result<Vec<pb::Route>, Problem> {
    let mut route = pb::Route {
        name: name(entry, rule, index),
        r#match: Some(matches::build(matched)),
        request_headers_to_add: headers::to_add(&rule.request_headers),
        request_headers_to_remove: rule.request_headers.remove.clone(),
        response_headers_to_add: headers::to_add(&rule.response_headers),
        response_headers_to_remove: rule.response_headers.remove.clone(),
        ..Default::default()
    };
    if let Some(auth) = &rule.auth {
        ext_authz::ask(auth, &mut route.typed_per_filter_config);
    }
    match &rule.action {
        Action::Respond(status) => {
            let response = pb::DirectResponseAction { status: u32::from(*status), ..Default::default() };
            Ok(vec![pb::Route { action: Some(pb::route::Action::DirectResponse(response)), ..route }])
        }
        Action::Redirect(to) => {
            let redirect = redirect::build(to, &matched.path, field)?;
            Ok(vec![pb::Route { action: Some(pb::route::Action::Redirect(redirect)), ..route }])
        }
        Action::Forward(to) if to.destinations.iter().any(Destination::is_apart) => {
            shares::split(to).into_iter().map(|(part, share)| forward(&part, share, matched, &route, field)).collect()
        }
        Action::Forward(to) => Ok(vec![forward(to, None, matched, &route, field)?]),
    }
}

fn forward(
    to: &Forward,
    share: Option<RuntimeFractionalPercent>,
    matched: &Match,
    route: &pb::Route,
    field: &str,
) -> Result<pb::Route, Problem> {
    let mut action = pb::RouteAction {
        // Always there: Envoy's default is 15 seconds, the Gateway API's is none.
        timeout: Some(common::millis(to.timeout_millis)),
        retry_policy: to.retries.as_ref().map(retries::build),
        request_mirror_policies: to.mirrors.iter().map(mirror::build).collect(),
        host_rewrite_specifier: to.hostname.clone().map(pb::route_action::HostRewriteSpecifier::HostRewriteLiteral),
        ..Default::default()
    };
    weights::apply(&mut action, &to.destinations, to.unresolved_status);
    if let Some(edit) = &to.path {
        rewrite::apply(&mut action, edit, &matched.path, field)?;
    }
    let mut route = pb::Route { action: Some(pb::route::Action::Route(action)), ..route.clone() };
    if let Some(matched) = &mut route.r#match {
        matched.runtime_fraction = share;
    }
    if let Some(cors) = &to.cors {
        cors::allow(cors, &mut route.typed_per_filter_config);
    }
    let alone = match to.destinations.as_slice() {
        [alone] => alone.session.as_ref(),
        _ => None,
    };
    if let Some(session) = to.session.as_ref().or(alone) {
        filters::keep(session, &mut route.typed_per_filter_config);
    }
    Ok(route)
}

fn element(body: &[u8]) -> Bytes {
    let mut element = Vec::with_capacity(body.len() + 6);
    element.push(ROUTES_TAG);
    // A Vec grows as needed: this can't fail.
    let _ = prost::encode_length_delimiter(body.len(), &mut element);
    element.extend_from_slice(body);
    element.into()
}
