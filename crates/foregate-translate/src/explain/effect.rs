//! What a route does with a request.

use core::header_value_option::HeaderAppendAction;
use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::config::route::v3 as route;
use route::virtual_host::TlsRequirementType;

use super::matching::Hit;
use super::normal::Seen;
use super::read::{Gateway, Table};
use super::{Explanation, HeaderChange, Outcome, forward, redirect};
use crate::envoy::route::MISDIRECTED;

/// The outcome.
pub(super) fn of(
    gateway: &Gateway,
    table: &Table,
    host: &route::VirtualHost,
    hit: Hit<'_>,
    seen: &Seen,
    answer: &mut Explanation,
) -> Outcome {
    if host.require_tls() != TlsRequirementType::None && seen.scheme == "http" {
        let location = format!("https://{}{}", super::normal::without_port(&seen.authority), seen.target());
        return Outcome::Redirect { status: 301, location };
    }
    let route = hit.route;
    match &route.action {
        Some(route::route::Action::DirectResponse(direct)) => respond(route, direct),
        Some(route::route::Action::Redirect(to)) => {
            Outcome::Redirect { status: redirect::status(to), location: redirect::location(gateway, to, route, seen) }
        }
        Some(route::route::Action::Route(action)) => {
            let mut forward = forward::of(gateway, action, route, seen, answer);
            // The most specific level goes first, as Envoy evaluates them.
            forward.request_headers = changes(&[
                (&route.request_headers_to_remove, &route.request_headers_to_add),
                (&host.request_headers_to_remove, &host.request_headers_to_add),
                (&table.config.request_headers_to_remove, &table.config.request_headers_to_add),
            ]);
            forward.response_headers = changes(&[
                (&route.response_headers_to_remove, &route.response_headers_to_add),
                (&host.response_headers_to_remove, &host.response_headers_to_add),
                (&table.config.response_headers_to_remove, &table.config.response_headers_to_add),
            ]);
            Outcome::Forward(Box::new(forward))
        }
        _ => Outcome::Respond { status: 500, reason: "the route's action is an extension's".to_owned() },
    }
}

fn respond(route: &route::Route, direct: &route::DirectResponseAction) -> Outcome {
    let status = u16::try_from(direct.status).unwrap_or(500);
    let reason = if status == 500 && super::RouteOrigin::parse(&route.name).is_some() {
        "the rule has no backend that can be used: see the route's condition ResolvedRefs"
    } else if status == 421 && route.name == MISDIRECTED {
        "another listener of the port has the host: a client asks again on a connection of its own for it"
    } else {
        "the route answers by itself"
    };
    Outcome::Respond { status, reason: reason.to_owned() }
}

/// Changes to headers, level by level: what is removed, then what is added.
pub(super) fn changes(levels: &[(&Vec<String>, &Vec<core::HeaderValueOption>)]) -> Vec<HeaderChange> {
    let level = |(remove, add): &(&Vec<String>, &Vec<core::HeaderValueOption>)| {
        let removed = remove.iter().cloned().map(HeaderChange::Remove);
        removed.chain(add.iter().filter_map(added)).collect::<Vec<_>>()
    };
    levels.iter().flat_map(level).collect()
}

fn added(option: &core::HeaderValueOption) -> Option<HeaderChange> {
    let header = option.header.as_ref()?;
    // `%%` is a percent sign; users' values have no commands in them.
    let (name, value) = (header.key.clone(), header.value.replace("%%", "%"));
    Some(match option.append_action() {
        HeaderAppendAction::OverwriteIfExistsOrAdd | HeaderAppendAction::OverwriteIfExists => {
            HeaderChange::Set(name, value)
        }
        HeaderAppendAction::AddIfAbsent => HeaderChange::Default(name, value),
        HeaderAppendAction::AppendIfExistsOrAdd => HeaderChange::Add(name, value),
    })
}
