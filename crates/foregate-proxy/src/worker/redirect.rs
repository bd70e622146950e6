//! `location` of redirects.

use http::{HeaderValue, Response};

use super::body::ResponseBody;
use super::exchange::Exchange;
use super::local::LocalReply;
use crate::config::action::{Redirect, RedirectPath};
use crate::routing::matchers::PathMatcher;
use crate::routing::request::RequestView;

/// Where a request is redirected to.
pub(super) fn location(redirect: &Redirect, request: &RequestView<'_>, matcher: &PathMatcher) -> String {
    let scheme = redirect.scheme.as_deref().unwrap_or(request.scheme);
    let (host, port) = split_port(request.authority);
    let mut out = String::with_capacity(64 + request.path.len());
    out.push_str(scheme);
    out.push_str("://");
    out.push_str(redirect.host.as_deref().unwrap_or(host));
    let default = match scheme {
        "https" => 443,
        _ => 80,
    };
    match (redirect.port, port) {
        (Some(port), _) if port == default => {}
        (Some(port), _) => {
            out.push(':');
            out.push_str(&port.to_string());
        }
        // The old port stays with the old host, unless it is the default of the old scheme and that changes.
        (None, Some(port)) if redirect.host.is_none() && !is_default_of(port, request.scheme, scheme) => {
            out.push(':');
            out.push_str(port);
        }
        (None, _) => {}
    }
    let mut query = if redirect.strip_query { None } else { request.query };
    match &redirect.path {
        RedirectPath::Full(path) => {
            if !path.starts_with('/') {
                out.push('/');
            }
            out.push_str(path);
            if path.contains('?') {
                query = None;
            }
        }
        RedirectPath::Rewrite(rewrite) => out.push_str(&rewrite.apply(request.path, matcher)),
    }
    if let Some(query) = query {
        out.push('?');
        out.push_str(query);
    }
    out
}

fn is_default_of(port: &str, before: &str, after: &str) -> bool {
    before != after && matches!((before, port), ("http", "80") | ("https", "443"))
}

/// A host and its port; the colons of an IPv6 address in brackets aren't one.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !host.is_empty() => {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}

/// The response.
pub(super) fn respond(redirect: &Redirect, location: &str, exchange: Box<Exchange>) -> Response<ResponseBody> {
    let reply = LocalReply::new(redirect.status, "", None);
    LocalReply { location: HeaderValue::from_str(location).ok(), ..reply }.into_response(exchange)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use foregate_envoy::pb::envoy::config::route::v3 as route;
    use http::{HeaderMap, Method};
    use route::redirect_action::{PathRewriteSpecifier as Path, SchemeRewriteSpecifier as Scheme};

    use super::*;
    use crate::config::action::redirect;
    use crate::routing::matchers::PathMatch;

    fn redirected(action: route::RedirectAction, authority: &str) -> String {
        let request = RequestView {
            luck: Default::default(),
            method: &Method::GET,
            authority,
            scheme: "http",
            path: "/old/x",
            query: Some("q=1"),
            headers: &HeaderMap::new(),
        };
        let matcher = PathMatcher { kind: PathMatch::PathSeparatedPrefix("/old".into()), case_sensitive: true };
        location(&redirect(action).unwrap(), &request, &matcher)
    }

    #[test]
    fn locations() {
        let base = route::RedirectAction::default;
        let https = || Some(Scheme::SchemeRedirect("https".into()));
        for (action, authority, want) in [
            (base(), "a:8080", "http://a:8080/old/x?q=1"),
            (route::RedirectAction { scheme_rewrite_specifier: https(), ..base() }, "a:80", "https://a/old/x?q=1"),
            (
                route::RedirectAction { scheme_rewrite_specifier: https(), ..base() },
                "a:8080",
                "https://a:8080/old/x?q=1",
            ),
            (
                route::RedirectAction { scheme_rewrite_specifier: https(), port_redirect: 443, ..base() },
                "a:8080",
                "https://a/old/x?q=1",
            ),
            (route::RedirectAction { port_redirect: 8443, ..base() }, "a", "http://a:8443/old/x?q=1"),
            (route::RedirectAction { host_redirect: "b".into(), ..base() }, "a:8080", "http://b/old/x?q=1"),
            (route::RedirectAction { strip_query: true, ..base() }, "[::1]:81", "http://[::1]:81/old/x"),
            (
                route::RedirectAction { path_rewrite_specifier: Some(Path::PathRedirect("/n?z".into())), ..base() },
                "a",
                "http://a/n?z",
            ),
            (
                route::RedirectAction { path_rewrite_specifier: Some(Path::PrefixRewrite("/new".into())), ..base() },
                "a",
                "http://a/new/x?q=1",
            ),
        ] {
            assert_eq!(redirected(action.clone(), authority), want, "{action:?} of {authority}");
        }
    }
}
