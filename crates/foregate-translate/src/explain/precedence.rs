//! Why one route comes before another.

use foregate_envoy::pb::envoy::config::route::v3 as route;
use route::route_match::PathSpecifier;

use super::RouteOrigin;

/// Why `first` comes before `second`, in the words of the Gateway API's precedence.
pub(super) fn why(first: &route::Route, second: &route::Route) -> String {
    let none = route::RouteMatch::default();
    let (a, b) = (first.r#match.as_ref().unwrap_or(&none), second.r#match.as_ref().unwrap_or(&none));
    let (path_a, path_b) = (path(a), path(b));
    let by = if path_a.0 != path_b.0 {
        format!("{} goes before {}", kind(path_a.0), kind(path_b.0))
    } else if path_a.1 != path_b.1 {
        "its path is longer".to_owned()
    } else if has_method(a) != has_method(b) {
        "it matches the method".to_owned()
    } else if headers(a) != headers(b) {
        "it matches more headers".to_owned()
    } else if a.query_parameters.len() != b.query_parameters.len() {
        "it matches more query parameters".to_owned()
    } else {
        let object = |route: &route::Route| {
            RouteOrigin::parse(&route.name).map(|origin| (origin.kind, origin.namespace, origin.name))
        };
        if object(first) == object(second) { "its rule stands first" } else { "its route is older, or first by name" }
            .to_owned()
    };
    format!("it matches too, but {} comes first: {by}", super::misses::name(first))
}

/// Kind, smaller first, and length.
fn path(asked: &route::RouteMatch) -> (u8, usize) {
    match &asked.path_specifier {
        Some(PathSpecifier::Path(path)) => (0, path.len()),
        Some(PathSpecifier::Prefix(path)) if path == "/" => (3, 0),
        Some(PathSpecifier::PathSeparatedPrefix(path) | PathSpecifier::Prefix(path)) => (1, path.len()),
        Some(PathSpecifier::SafeRegex(regex)) => (2, regex.regex.len()),
        _ => (4, 0),
    }
}

const fn kind(kind: u8) -> &'static str {
    match kind {
        0 => "an exact path",
        1 => "a path prefix",
        2 => "an expression",
        3 => "any path",
        _ => "another match",
    }
}

fn has_method(asked: &route::RouteMatch) -> bool {
    asked.headers.iter().any(|header| header.name == ":method")
}

fn headers(asked: &route::RouteMatch) -> usize {
    asked.headers.iter().filter(|header| header.name != ":method").count()
}
