//! `RouteMatch`: what a route asks of a request.

use foregate_envoy::pb::envoy::config::route::v3 as route;

use super::headers::header_name;
use super::parts::{boolean, runtime_fraction, text_matcher, whole_regex};
use super::refusal::{At, Refusal, nothing_left};
use crate::routing::matchers::{
    HeaderCheck, HeaderMatcher, HeaderSource, PathMatch, PathMatcher, QueryMatcher, RouteMatcher, TextMatch,
    TextMatcher,
};

/// Compiles a match.
pub(crate) fn compile(mut message: route::RouteMatch) -> Result<RouteMatcher, Refusal> {
    use route::route_match::PathSpecifier;
    let case_sensitive = boolean(&mut message.case_sensitive).unwrap_or(true);
    let kind = match message.path_specifier.take() {
        Some(PathSpecifier::Path(path)) => PathMatch::Exact(path.into()),
        Some(PathSpecifier::Prefix(prefix)) => PathMatch::Prefix(prefix.into()),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            if !prefix.starts_with('/') || prefix.ends_with('/') || prefix.contains(['?', '#']) {
                return Err(Refusal::field(
                    "path_separated_prefix",
                    "must begin with a slash, not end with one, and hold no ? and no #",
                ));
            }
            PathMatch::PathSeparatedPrefix(prefix.into())
        }
        Some(PathSpecifier::SafeRegex(regex)) => PathMatch::Regex(whole_regex(regex).at("safe_regex")?),
        Some(PathSpecifier::ConnectMatcher(_)) => return Err(Refusal::unsupported("connect_matcher")),
        Some(PathSpecifier::PathMatchPolicy(_)) => return Err(Refusal::unsupported("path_match_policy")),
        None => return Err(Refusal::new("must say which paths match")),
    };
    let mut headers = Vec::new();
    for (index, header) in std::mem::take(&mut message.headers).into_iter().enumerate() {
        headers.push(header_matcher(header).at(format_args!("headers[{index}]"))?);
    }
    let mut query = Vec::new();
    for (index, parameter) in std::mem::take(&mut message.query_parameters).into_iter().enumerate() {
        query.push(query_matcher(parameter).at(format_args!("query_parameters[{index}]"))?);
    }
    let fraction = message.runtime_fraction.take().map(runtime_fraction).transpose().at("runtime_fraction")?;
    nothing_left(&message)?;
    Ok(RouteMatcher { path: PathMatcher { kind, case_sensitive }, headers, query, fraction })
}

/// Compiles a header matcher.
pub(crate) fn header_matcher(mut message: route::HeaderMatcher) -> Result<HeaderMatcher, Refusal> {
    let name = std::mem::take(&mut message.name);
    let source = match &*name {
        ":method" => HeaderSource::Method,
        ":authority" => HeaderSource::Authority,
        ":path" => HeaderSource::Path,
        ":scheme" => HeaderSource::Scheme,
        _ if name.eq_ignore_ascii_case("host") => HeaderSource::Authority,
        _ => HeaderSource::Header(header_name(&name).at("name")?),
    };
    let check = header_check(message.header_match_specifier.take())?;
    let invert = std::mem::take(&mut message.invert_match);
    let missing_is_empty = std::mem::take(&mut message.treat_missing_header_as_empty);
    nothing_left(&message)?;
    Ok(HeaderMatcher { source, check, invert, missing_is_empty })
}

#[allow(deprecated, reason = "exact_match and its like are still written by many")]
fn header_check(specifier: Option<route::header_matcher::HeaderMatchSpecifier>) -> Result<HeaderCheck, Refusal> {
    use route::header_matcher::HeaderMatchSpecifier as Specifier;
    let text = |kind| Ok(HeaderCheck::Text(TextMatcher { kind, ignore_case: false }));
    match specifier {
        None => Ok(HeaderCheck::Present(true)),
        Some(Specifier::PresentMatch(present)) => Ok(HeaderCheck::Present(present)),
        Some(Specifier::StringMatch(matcher)) => Ok(HeaderCheck::Text(text_matcher(matcher).at("string_match")?)),
        Some(Specifier::RangeMatch(range)) => Ok(HeaderCheck::Range(range.start, range.end)),
        Some(Specifier::ExactMatch(value)) => text(TextMatch::Exact(value.into())),
        Some(Specifier::PrefixMatch(value)) => text(TextMatch::Prefix(value.into())),
        Some(Specifier::SuffixMatch(value)) => text(TextMatch::Suffix(value.into())),
        Some(Specifier::ContainsMatch(value)) => text(TextMatch::Contains(value.into())),
        Some(Specifier::SafeRegexMatch(regex)) => text(TextMatch::Regex(whole_regex(regex).at("safe_regex_match")?)),
    }
}

fn query_matcher(mut message: route::QueryParameterMatcher) -> Result<QueryMatcher, Refusal> {
    use route::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let name = std::mem::take(&mut message.name).into();
    let check = match message.query_parameter_match_specifier.take() {
        Some(Specifier::StringMatch(matcher)) => Ok(text_matcher(matcher).at("string_match")?),
        Some(Specifier::PresentMatch(present)) => Err(present),
        None => Err(true),
    };
    nothing_left(&message)?;
    Ok(QueryMatcher { name, check })
}
