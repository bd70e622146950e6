//! `Route`: a match, an action and header changes.

use std::sync::Arc;

use foregate_envoy::pb::envoy::config::route::v3 as route;

use super::action::{self, Action};
use super::headers::{HeaderEdits, take_edits};
use super::matching;
use super::per_filter::{self, PerFilter};
use super::refusal::{At, Refusal, nothing_left};
use crate::routing::matchers::RouteMatcher;
use crate::slots::{Numbers, Slot};

/// A compiled route.
#[derive(Debug)]
pub(crate) struct Route {
    /// Its name, for the access log, and its number, for what is counted of it; `None`: it has no name.
    pub(crate) slot: Option<Arc<Slot>>,
    /// What it asks.
    pub(crate) matcher: RouteMatcher,
    /// What it does.
    pub(crate) action: Action,
    /// Header changes.
    pub(crate) edits: HeaderEdits,
    /// What it says to filters.
    pub(crate) filters: PerFilter,
    /// How much of a request's body may be kept for sending it again.
    pub(crate) buffer_limit: Option<u64>,
}

/// Compiles a route.
pub(crate) fn compile(mut message: route::Route, numbers: &mut Numbers) -> Result<Route, Refusal> {
    let matcher = message.r#match.take().ok_or_else(|| Refusal::field("match", "must be set"))?;
    let matcher = matching::compile(matcher).at("match")?;
    let action = match message.action.take() {
        Some(route::route::Action::Route(action)) => {
            Action::Forward(Box::new(action::forward(action, &mut numbers.clusters).at("route")?))
        }
        Some(route::route::Action::Redirect(action)) => {
            Action::Redirect(Box::new(action::redirect(action).at("redirect")?))
        }
        Some(route::route::Action::DirectResponse(action)) => action::direct(action).at("direct_response")?,
        Some(route::route::Action::FilterAction(_)) => return Err(Refusal::unsupported("filter_action")),
        Some(route::route::Action::NonForwardingAction(_)) => {
            return Err(Refusal::unsupported("non_forwarding_action"));
        }
        None => return Err(Refusal::new("must have an action")),
    };
    let filters = per_filter::of_route(std::mem::take(&mut message.typed_per_filter_config), &mut numbers.clusters)?;
    // Metadata is for whoever reads the configuration, it changes nothing here.
    message.metadata = None;
    // A name for Envoy's counters. Here a route is counted under its own.
    message.stat_prefix.clear();
    let name = std::mem::take(&mut message.name);
    let route = Route {
        slot: (!name.is_empty()).then(|| numbers.routes.slot(&name)),
        matcher,
        action,
        edits: take_edits!(message)?,
        filters,
        buffer_limit: take_buffer_limit!(message),
    };
    nothing_left(&message)?;
    Ok(route)
}

/// Takes both fields for a bound on what is kept of a body.
macro_rules! take_buffer_limit {
    ($message:expr) => {{
        #[allow(deprecated, reason = "still written by many")]
        $crate::config::route::buffer_limit(
            &mut $message.per_request_buffer_limit_bytes,
            &mut $message.request_body_buffer_limit,
        )
    }};
}
pub(crate) use take_buffer_limit;

/// The newer field wins over the older.
pub(crate) fn buffer_limit(
    older: &mut Option<foregate_envoy::pb::google::protobuf::UInt32Value>,
    newer: &mut Option<foregate_envoy::pb::google::protobuf::UInt64Value>,
) -> Option<u64> {
    let older = older.take().map(|limit| u64::from(limit.value));
    newer.take().map(|limit| limit.value).or(older)
}

#[cfg(test)]
impl Route {
    /// A route that answers 200.
    pub(crate) fn for_test(matcher: RouteMatcher) -> Self {
        Self {
            slot: None,
            matcher,
            action: Action::Direct(http::StatusCode::OK, bytes::Bytes::new()),
            edits: HeaderEdits::default(),
            filters: PerFilter::default(),
            buffer_limit: None,
        }
    }
}
