//! Header changes that routes ask for, level by level.

use http::header::{HOST, HeaderMap};
use http::{HeaderValue, Uri};

use super::forward::Job;
use super::head;
use crate::config::action::{Forward, HostRewrite, WeightedCluster};
use crate::config::hcm::HttpOptions;
use crate::config::headers::Edits;
use crate::config::route::Route;
use crate::config::vhost::VirtualHost;
use crate::snapshot::RouteTable;

/// Changes a request's headers as weighted cluster, route, virtual host and route configuration say.
pub(super) fn edit_request(headers: &mut HeaderMap, job: &Job<'_>, weighted: Option<&WeightedCluster>) {
    let weighted = weighted.map(|weighted| &weighted.edits.request);
    let levels = [
        weighted,
        Some(&job.route.edits.request),
        Some(&job.host.edits.request),
        Some(&job.table.options.edits.request),
    ];
    apply_levels(headers, job.table, levels);
}

/// Changes a response's headers as route, virtual host and route configuration say.
pub(super) fn edit_response(
    headers: &mut HeaderMap,
    table: &RouteTable,
    host: &VirtualHost,
    route: &Route,
    weighted: Option<&WeightedCluster>,
) {
    let weighted = weighted.map(|weighted| &weighted.edits.response);
    let levels =
        [weighted, Some(&route.edits.response), Some(&host.edits.response), Some(&table.options.edits.response)];
    apply_levels(headers, table, levels);
}

fn apply_levels(headers: &mut HeaderMap, table: &RouteTable, levels: [Option<&Edits>; 4]) {
    let busy = levels.into_iter().flatten().filter(|edits| !edits.is_empty());
    if table.options.most_specific_wins {
        busy.rev().for_each(|edits| edits.apply(headers));
    } else {
        busy.for_each(|edits| edits.apply(headers));
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
