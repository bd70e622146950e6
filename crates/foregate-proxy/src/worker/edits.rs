//! Header changes that routes ask for, level by level.

use http::header::{HOST, HeaderMap};
use http::{HeaderValue, Method, Response, Uri};

use super::body::ResponseBody;
use super::exchange::Exchange;
use super::format::Scene;
use super::head;
use crate::config::action::{Action, Forward, HostRewrite, Target, WeightedCluster};
use crate::config::hcm::HttpOptions;
use crate::config::headers::{Edits, HeaderEdits};
use crate::config::route::Route;
use crate::config::vhost::VirtualHost;
use crate::snapshot::RouteTable;

/// Where a route is: the levels that change headers.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) options: &'a HttpOptions,
    pub(super) table: &'a RouteTable,
    pub(super) host: &'a VirtualHost,
    pub(super) route: &'a Route,
    pub(super) weighted: Option<&'a WeightedCluster>,
}

impl<'a> Place<'a> {
    /// The levels' changes, in the order in which they are made.
    fn levels(self, pick: fn(&HeaderEdits) -> &Edits) -> impl Iterator<Item = &'a Edits> {
        let weighted = self.weighted.map(|weighted| &weighted.edits);
        let all = [weighted, Some(&self.route.edits), Some(&self.host.edits), Some(&self.table.options.edits)];
        let most_specific_last = self.table.options.most_specific_wins;
        let ordered = if most_specific_last { [all[3], all[2], all[1], all[0]] } else { all };
        ordered.into_iter().flatten().map(pick).filter(|edits| !edits.is_empty())
    }

    fn cluster(self) -> Option<&'a str> {
        match (self.weighted, &self.route.action) {
            (Some(weighted), _) => Some(&weighted.cluster.name),
            (None, Action::Forward(forward)) => match &forward.target {
                Target::Cluster(slot) => Some(&slot.name),
                Target::Weighted { .. } => None,
            },
            (None, _) => None,
        }
    }

    /// Keeps the request as it is now, if the response's headers are to tell of it.
    pub(super) fn remember(self, exchange: &mut Exchange, (method, uri): (&Method, &Uri), headers: &HeaderMap) {
        if self.levels(|edits| &edits.response).any(Edits::has_commands) {
            exchange.request = Some(Box::new((method.clone(), uri.clone(), headers.clone())));
        }
    }
}

/// Changes a request's headers as weighted cluster, route, virtual host and route configuration say.
pub(super) fn edit_request(headers: &mut HeaderMap, line: (&Method, &Uri), place: Place<'_>, exchange: &mut Exchange) {
    for edits in place.levels(|edits| &edits.request) {
        edits.apply(headers, |parts, headers| Scene::new(exchange, place, headers, line).value(parts));
    }
    place.remember(exchange, line, headers);
}

/// Changes a response's headers as weighted cluster, route, virtual host and route configuration say.
pub(super) fn edit_response(response: &mut Response<ResponseBody>, place: Place<'_>) {
    let status = response.status();
    for edits in place.levels(|edits| &edits.response) {
        let mut headers = std::mem::take(response.headers_mut());
        let exchange = response.body().exchange();
        edits.apply(&mut headers, |parts, headers| {
            // What becomes a tunnel has told all that there is to tell.
            let exchange = exchange?;
            let (method, uri, request) = &**exchange.request.as_ref()?;
            let scene = Scene::new(exchange, place, request, (method, uri));
            Scene { status: Some(status), response: Some(headers), ..scene }.value(parts)
        });
        *response.headers_mut() = headers;
    }
}

impl<'a> Scene<'a> {
    /// What there is to see before a response.
    fn new(exchange: &'a Exchange, place: Place<'a>, request: &'a HeaderMap, line: (&'a Method, &'a Uri)) -> Self {
        Self {
            exchange,
            options: place.options,
            line,
            request,
            status: None,
            response: None,
            cluster: place.cluster(),
            route: place.route.slot.as_ref().map_or("", |slot| &slot.name),
        }
    }
}

/// Changes the host as the route, or the weighted cluster, says.
pub(super) fn rewrite_host(headers: &mut HeaderMap, forward: &Forward, weighted: Option<&WeightedCluster>) {
    let new = match (weighted.and_then(|weighted| weighted.host.as_ref()), &forward.host) {
        (Some(host), _) => Some(host.clone()),
        (None, HostRewrite::Keep) => None,
        (None, HostRewrite::Literal(host)) => Some(host.clone()),
        (None, HostRewrite::Header(name)) => headers.get(name).cloned(),
    };
    let Some(new) = new else { return };
    let old = headers.insert(HOST, new);
    if forward.append_x_forwarded_host
        && let Some(old) = old
    {
        headers.append(head::X_FORWARDED_HOST.clone(), old);
    }
}

/// Tells the endpoint what the path was.
pub(super) fn note_original_path(headers: &mut HeaderMap, options: &HttpOptions, uri: &Uri) {
    if !options.suppress_envoy_headers
        && let Some(Ok(original)) = uri.path_and_query().map(|path| HeaderValue::from_str(path.as_str()))
    {
        headers.insert(head::X_ENVOY_ORIGINAL_PATH.clone(), original);
    }
}
