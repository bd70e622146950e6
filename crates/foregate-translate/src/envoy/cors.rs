//! CORS: which pages may read responses (the Fetch standard's protocol, GEP-1767).

use foregate_api::route::Cors;
use foregate_envoy::pb;
use foregate_envoy::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use foregate_envoy::pb::envoy::r#type::matcher::v3 as matcher;
use matcher::string_matcher::MatchPattern;

use super::common::regex;
use super::filters::{self, PerFilter};

/// Says to the listener's filter what a route allows.
pub(super) fn allow(cors: &Cors, into: &mut PerFilter) {
    // With credentials a browser takes `*` for the name of a header: Envoy answers methods and headers with those that
    // were asked for, but doesn't know which the response will have.
    let exposed = cors.expose_headers.iter().filter(|name| !(cors.allow_credentials && *name == "*"));
    let policy = CorsPolicy {
        allow_origin_string_match: cors.allow_origins.iter().map(|origin| matching(origin)).collect(),
        allow_methods: list(cors.allow_methods.iter()),
        allow_headers: list(cors.allow_headers.iter()),
        expose_headers: list(exposed),
        max_age: cors.max_age_seconds.map(|seconds| seconds.to_string()).unwrap_or_default(),
        allow_credentials: Some(pb::google::protobuf::BoolValue { value: cors.allow_credentials }),
        // A page that isn't allowed gets its answer from here, not from a backend that knows nothing of it.
        forward_not_matching_preflights: Some(pb::google::protobuf::BoolValue { value: false }),
        ..Default::default()
    };
    into.insert(filters::CORS.to_owned(), filters::any(&policy));
}

/// What is among others says nothing more than `*` does.
fn list<'a>(names: impl Iterator<Item = &'a String> + Clone) -> String {
    if names.clone().any(|name| name == "*") {
        return "*".to_owned();
    }
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// One origin; a `*` as its host's first label stands for any number of labels.
fn matching(origin: &str) -> matcher::StringMatcher {
    let pattern = match (origin, without_default_port(origin)) {
        ("*", _) => MatchPattern::SafeRegex(regex(".*")),
        (_, bare) => match bare.split_once('*') {
            Some((before, after)) => {
                let (before, after) = (::regex::escape(before), ::regex::escape(after));
                MatchPattern::SafeRegex(regex(format!("{before}[^/:]+{after}")))
            }
            None => MatchPattern::Exact(bare.to_owned()),
        },
    };
    matcher::StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}

/// Browsers leave a scheme's own port out.
fn without_default_port(origin: &str) -> &str {
    let port = if origin.starts_with("https://") { ":443" } else { ":80" };
    origin.strip_suffix(port).unwrap_or(origin)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn origins() {
        // allowed, asked, whether it matches
        for (allowed, origin, expected) in [
            ("*", "https://a.com", true),
            ("*", "null", true),
            ("https://a.com", "https://a.com", true),
            ("https://a.com", "http://a.com", false),
            ("https://a.com", "https://a.com:8443", false),
            ("https://a.com", "https://a.com.evil", false),
            ("https://a.com:443", "https://a.com", true),
            ("http://a.com:80", "http://a.com", true),
            ("http://a.com:443", "http://a.com:443", true),
            ("https://*.a.com", "https://b.a.com", true),
            ("https://*.a.com", "https://c.b.a.com", true),
            ("https://*.a.com", "https://a.com", false),
            ("https://*.a.com", "https://:443.a.com", false),
            ("https://*.a.com", "https://baxcom", false),
            ("https://*.a.com", "https://b.a.com:8443", false),
            ("https://*.a.com", "https://b.a.com.evil", false),
            ("https://*.a.com", "https://evil/b.a.com", false),
            ("https://*.a.com:8443", "https://b.a.com:8443", true),
            ("https://*", "https://anything", true),
            ("https://*", "https://anything:8443", false),
            ("https://*:8443", "https://anything:8443", true),
            ("https://*", "http://anything", false),
        ] {
            let matches = match matching(allowed).match_pattern.unwrap() {
                MatchPattern::Exact(exact) => exact == origin,
                MatchPattern::SafeRegex(pattern) => {
                    ::regex::Regex::new(&format!("^(?:{})$", pattern.regex)).unwrap().is_match(origin)
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(matches, expected, "{allowed} of {origin}");
        }
    }
}
