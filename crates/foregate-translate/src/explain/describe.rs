//! Matches in words.

use foregate_envoy::pb::envoy::config::route::v3 as route;
use foregate_envoy::pb::envoy::r#type::matcher::v3 as matcher;
use matcher::string_matcher::MatchPattern;
use route::header_matcher::HeaderMatchSpecifier as Header;
use route::query_parameter_matcher::QueryParameterMatchSpecifier as Query;
use route::route_match::PathSpecifier;

/// Everything that a route asks for: `path prefix /a, method GET, header x = "1"`.
pub(super) fn route_match(asked: &route::RouteMatch) -> String {
    let path = asked.path_specifier.as_ref().map(path);
    let headers = asked.headers.iter().map(|asked| match asked.name.as_str() {
        ":method" => format!("method {}", value_of(asked)),
        name => format!("header {name} {}", header(asked)),
    });
    let parameters = asked.query_parameters.iter().map(|asked| format!("query {} {}", asked.name, query(asked)));
    path.into_iter().chain(headers).chain(parameters).collect::<Vec<_>>().join(", ")
}

/// `prefix /a`.
pub(super) fn path(asked: &PathSpecifier) -> String {
    match asked {
        PathSpecifier::Prefix(prefix) if prefix == "/" => "any path".to_owned(),
        PathSpecifier::Prefix(prefix) => format!("beginning with {prefix}"),
        PathSpecifier::PathSeparatedPrefix(prefix) => format!("path prefix {prefix}"),
        PathSpecifier::Path(exact) => format!("exactly {exact}"),
        PathSpecifier::SafeRegex(regex) => format!("a match of {}", regex.regex),
        PathSpecifier::ConnectMatcher(_) => "CONNECT".to_owned(),
        PathSpecifier::PathMatchPolicy(_) => "an extension's match".to_owned(),
    }
}

/// The value that a header is to have, bare where it is a plain one.
pub(super) fn value_of(asked: &route::HeaderMatcher) -> String {
    match &asked.header_match_specifier {
        Some(Header::StringMatch(matcher::StringMatcher {
            match_pattern: Some(MatchPattern::Exact(exact)), ..
        })) => exact.clone(),
        _ => header(asked),
    }
}

/// `= "1"`.
#[allow(deprecated, reason = "exact_match and its like are still written by patches")]
pub(super) fn header(asked: &route::HeaderMatcher) -> String {
    let not = if asked.invert_match { "not " } else { "" };
    let rule = match &asked.header_match_specifier {
        None | Some(Header::PresentMatch(true)) => "to be there".to_owned(),
        Some(Header::PresentMatch(false)) => "to be missing".to_owned(),
        Some(Header::StringMatch(asked)) => text(asked),
        Some(Header::RangeMatch(range)) => format!("from {} to {}", range.start, range.end - 1),
        Some(Header::ExactMatch(value)) => format!("= {value:?}"),
        Some(Header::PrefixMatch(value)) => format!("beginning with {value:?}"),
        Some(Header::SuffixMatch(value)) => format!("ending with {value:?}"),
        Some(Header::ContainsMatch(value)) => format!("with {value:?} in it"),
        Some(Header::SafeRegexMatch(regex)) => format!("~ {}", regex.regex),
    };
    format!("{not}{rule}")
}

/// `= "1"`.
pub(super) fn query(asked: &route::QueryParameterMatcher) -> String {
    match &asked.query_parameter_match_specifier {
        Some(Query::StringMatch(asked)) => text(asked),
        Some(Query::PresentMatch(false)) => "to be missing".to_owned(),
        Some(Query::PresentMatch(true)) | None => "to be there".to_owned(),
    }
}

fn text(asked: &matcher::StringMatcher) -> String {
    let case = if asked.ignore_case { " in any case" } else { "" };
    let rule = match &asked.match_pattern {
        Some(MatchPattern::Exact(value)) => format!("= {value:?}"),
        Some(MatchPattern::Prefix(value)) => format!("beginning with {value:?}"),
        Some(MatchPattern::Suffix(value)) => format!("ending with {value:?}"),
        Some(MatchPattern::Contains(value)) => format!("with {value:?} in it"),
        Some(MatchPattern::SafeRegex(regex)) => format!("~ {}", regex.regex),
        Some(MatchPattern::Custom(_)) | None => "by an extension".to_owned(),
    };
    format!("{rule}{case}")
}
