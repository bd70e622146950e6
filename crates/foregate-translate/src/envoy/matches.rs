//! Matches: path, method, headers, query parameters.

use foregate_envoy::pb::envoy::config::route::v3 as route;
use foregate_envoy::pb::envoy::r#type::matcher::v3 as matcher;

use super::common::regex;
use crate::ir::{Match, Path, TextMatch, ValueMatch};

/// One `RouteMatch`.
pub(super) fn build(matched: &Match) -> route::RouteMatch {
    let method = matched.method.as_ref().map(|method| header(":method", exact(method)));
    let headers = matched.headers.iter().map(|matched| header(&matched.name, text(matched)));
    route::RouteMatch {
        path_specifier: Some(path(&matched.path)),
        headers: method.into_iter().chain(headers).collect(),
        query_parameters: matched.query.iter().map(query).collect(),
        ..Default::default()
    }
}

fn path(path: &Path) -> route::route_match::PathSpecifier {
    use route::route_match::PathSpecifier;
    match path {
        Path::Any => PathSpecifier::Prefix("/".to_owned()),
        Path::Exact(path) => PathSpecifier::Path(path.clone()),
        Path::Prefix(path) => PathSpecifier::PathSeparatedPrefix(path.clone()),
        Path::Regex(pattern) => PathSpecifier::SafeRegex(regex(pattern)),
    }
}

fn header(name: &str, value: matcher::StringMatcher) -> route::HeaderMatcher {
    let specifier = route::header_matcher::HeaderMatchSpecifier::StringMatch(value);
    route::HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..Default::default() }
}

fn query(matched: &ValueMatch) -> route::QueryParameterMatcher {
    let specifier = route::query_parameter_matcher::QueryParameterMatchSpecifier::StringMatch(text(matched));
    route::QueryParameterMatcher { name: matched.name.clone(), query_parameter_match_specifier: Some(specifier) }
}

fn text(matched: &ValueMatch) -> matcher::StringMatcher {
    match &matched.value {
        TextMatch::Exact(value) => exact(value),
        TextMatch::Regex(pattern) => {
            let pattern = matcher::string_matcher::MatchPattern::SafeRegex(regex(pattern));
            matcher::StringMatcher { match_pattern: Some(pattern), ..Default::default() }
        }
    }
}

fn exact(value: &str) -> matcher::StringMatcher {
    let pattern = matcher::string_matcher::MatchPattern::Exact(value.to_owned());
    matcher::StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}
