//! Where a redirect leads.

use foregate_envoy::pb::envoy::config::route::v3 as route;
use route::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};

use super::forward::{prefixed, substituted};
use super::normal::{Seen, with_query, without_port};
use super::read::Gateway;

/// The status.
pub(super) fn status(to: &route::RedirectAction) -> u16 {
    match to.response_code() {
        RedirectResponseCode::MovedPermanently => 301,
        RedirectResponseCode::Found => 302,
        RedirectResponseCode::SeeOther => 303,
        RedirectResponseCode::TemporaryRedirect => 307,
        RedirectResponseCode::PermanentRedirect => 308,
    }
}

/// `Location`.
pub(super) fn location(gateway: &Gateway, to: &route::RedirectAction, route: &route::Route, seen: &Seen) -> String {
    let scheme = match &to.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) if !scheme.is_empty() => scheme.as_str(),
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => "https",
        _ => seen.scheme,
    };
    let host = if to.host_redirect.is_empty() { kept_host(to, scheme, seen) } else { &to.host_redirect };
    // The port that a scheme implies is left out (RFC 3986 §6.2.3), as the Gateway API asks for. Envoy writes it.
    let well_known = if scheme == "https" { 443 } else { 80 };
    let port = match to.port_redirect {
        0 => String::new(),
        port if port == well_known => String::new(),
        port => format!(":{port}"),
    };
    format!("{scheme}://{host}{port}{}", path(gateway, to, route, seen))
}

/// The request's host. Its port goes when another is written, or when it was the old scheme's and the scheme changes.
fn kept_host<'a>(to: &route::RedirectAction, scheme: &str, seen: &'a Seen) -> &'a str {
    let bare = without_port(&seen.authority);
    let was_default = matches!((seen.scheme, &seen.authority[bare.len()..]), ("http", ":80") | ("https", ":443"));
    if to.port_redirect != 0 || (scheme != seen.scheme && was_default) { bare } else { &seen.authority }
}

fn path(gateway: &Gateway, to: &route::RedirectAction, route: &route::Route, seen: &Seen) -> String {
    let query = seen.query.as_deref().filter(|_| !to.strip_query);
    match &to.path_rewrite_specifier {
        // A query of its own takes the place of the request's.
        Some(PathRewriteSpecifier::PathRedirect(path)) if path.contains('?') => path.clone(),
        Some(PathRewriteSpecifier::PathRedirect(path)) if !path.is_empty() => with_query(path, query),
        Some(PathRewriteSpecifier::PrefixRewrite(with)) => with_query(&prefixed(with, route, &seen.path), query),
        Some(PathRewriteSpecifier::RegexRewrite(edit)) => with_query(&substituted(gateway, edit, &seen.path), query),
        _ => with_query(&seen.path, query),
    }
}
