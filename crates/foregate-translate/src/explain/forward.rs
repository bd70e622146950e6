//! Requests on their way to a backend: shares, rewrites, limits.

use foregate_envoy::pb::envoy::config::route::v3 as route;
use foregate_envoy::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use foregate_envoy::pb::envoy::r#type::v3::FractionalPercent;
use foregate_envoy::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use route::route_action::{ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier};
use route::route_match::PathSpecifier;

use super::effect::changes;
use super::normal::{Seen, with_query};
use super::read::Gateway;
use super::{Explanation, Forward, Share};

/// Envoy's default for a whole request.
const DEFAULT_TIMEOUT_MILLIS: u64 = 15_000;

/// Where an action sends a request, and in which form.
pub(super) fn of(
    gateway: &Gateway,
    action: &route::RouteAction,
    route: &route::Route,
    seen: &Seen,
    answer: &mut Explanation,
) -> Forward {
    let host = match &action.host_rewrite_specifier {
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => host.clone(),
        Some(_) => {
            answer.caveats.push("the backend's host is rewritten by more than a plain name".to_owned());
            seen.authority.clone()
        }
        None => seen.authority.clone(),
    };
    let mirror = |policy: &route::route_action::RequestMirrorPolicy| {
        let share = policy.runtime_fraction.as_ref().and_then(|it| it.default_value.as_ref());
        (policy.cluster.clone(), share.map_or(100.0, percent))
    };
    Forward {
        backends: shares(gateway, action, answer),
        host,
        path: with_query(&rewritten(gateway, action, route, &seen.path), seen.query.as_deref()),
        mirrors: action.request_mirror_policies.iter().map(mirror).collect(),
        timeout_millis: action.timeout.as_ref().map_or(DEFAULT_TIMEOUT_MILLIS, millis),
        retries: action
            .retry_policy
            .as_ref()
            .map_or(0, |policy| policy.num_retries.as_ref().map_or(1, |number| number.value)),
        ..Forward::default()
    }
}

fn shares(gateway: &Gateway, action: &route::RouteAction, answer: &mut Explanation) -> Vec<Share> {
    match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(cluster)) => vec![share(gateway, action, cluster, 100.0)],
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let weight = |it: &route::weighted_cluster::ClusterWeight| it.weight.as_ref().map_or(0, |it| it.value);
            let total: f64 = weighted.clusters.iter().map(|it| f64::from(weight(it))).sum();
            let one = |it: &route::weighted_cluster::ClusterWeight| Share {
                host: it.host_rewrite_specifier.as_ref().map(|specifier| match specifier {
                    route::weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host) => {
                        host.clone()
                    }
                }),
                request_headers: changes(&[(&it.request_headers_to_remove, &it.request_headers_to_add)]),
                response_headers: changes(&[(&it.response_headers_to_remove, &it.response_headers_to_add)]),
                ..share(gateway, action, &it.name, f64::from(weight(it)) * 100.0 / total.max(1.0))
            };
            weighted.clusters.iter().map(one).collect()
        }
        _ => {
            answer.caveats.push("the cluster is chosen by an extension or a header, which explain doesn't know".into());
            Vec::new()
        }
    }
}

fn share(gateway: &Gateway, action: &route::RouteAction, cluster: &str, percent: f64) -> Share {
    let endpoints = gateway.endpoints.get(cluster);
    let status = if !gateway.clusters.contains(cluster) {
        Some(match action.cluster_not_found_response_code() {
            ClusterNotFoundResponseCode::ServiceUnavailable => 503,
            ClusterNotFoundResponseCode::NotFound => 404,
            ClusterNotFoundResponseCode::InternalServerError => 500,
        })
    } else {
        endpoints.is_none_or(Vec::is_empty).then_some(503)
    };
    let endpoints = endpoints.cloned().unwrap_or_default();
    Share { cluster: cluster.to_owned(), percent, endpoints, status, ..Share::default() }
}

/// The path as the action rewrites it.
fn rewritten(gateway: &Gateway, action: &route::RouteAction, route: &route::Route, path: &str) -> String {
    if let Some(edit) = &action.regex_rewrite {
        return substituted(gateway, edit, path);
    }
    if action.prefix_rewrite.is_empty() { path.to_owned() } else { prefixed(&action.prefix_rewrite, route, path) }
}

/// The path with the part that matched replaced.
pub(super) fn prefixed(with: &str, route: &route::Route, path: &str) -> String {
    let matched = match route.r#match.as_ref().and_then(|it| it.path_specifier.as_ref()) {
        Some(PathSpecifier::Prefix(text) | PathSpecifier::Path(text) | PathSpecifier::PathSeparatedPrefix(text)) => {
            text.len()
        }
        _ => path.len(),
    };
    format!("{with}{}", path.get(matched..).unwrap_or_default())
}

/// The path with what an expression matches replaced, wherever it is.
pub(super) fn substituted(gateway: &Gateway, edit: &RegexMatchAndSubstitute, path: &str) -> String {
    let pattern = edit.pattern.as_ref().map(|pattern| pattern.regex.as_str()).unwrap_or_default();
    let Some(regex) = gateway.regex(pattern) else { return path.to_owned() };
    regex.replace_all(path, |found: &regex::Captures<'_>| replacement(&edit.substitution, found)).into_owned()
}

/// RE2's notation: `\1` is a group, `\\` a backslash.
fn replacement(text: &str, found: &regex::Captures<'_>) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                let group = digit.to_digit(10).and_then(|group| found.get(group as usize));
                out.push_str(group.map_or("", |group| group.as_str()));
            }
            ('\\', Some(other)) => out.push(other),
            (other, _) => out.push(other),
        }
    }
    out
}

fn millis(duration: &foregate_envoy::pb::google::protobuf::Duration) -> u64 {
    let seconds = u64::try_from(duration.seconds).unwrap_or(0);
    seconds.saturating_mul(1000) + u64::try_from(duration.nanos / 1_000_000).unwrap_or(0)
}

/// A share, of 100.
pub(super) fn percent(fraction: &FractionalPercent) -> f64 {
    let of = match fraction.denominator() {
        DenominatorType::Hundred => 100.0,
        DenominatorType::TenThousand => 10_000.0,
        DenominatorType::Million => 1_000_000.0,
    };
    f64::from(fraction.numerator) * 100.0 / of
}
