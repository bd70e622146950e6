//! What the platform's objects can't say, by patches of the template.

use serde_json::Value;

use crate::case::{Case, ask, get};
use crate::objects::route;

/// Patches of routes by the name of their rule.
const PATCHES: [(&str, &str); 29] = [
    ("inverted", "match: { headers: [{ name: x-h, string_match: { exact: a }, invert_match: true }] }"),
    (
        "inverted-missing",
        "match: { headers: [{ name: x-h, string_match: { exact: a }, invert_match: true, treat_missing_header_as_empty: true }] }",
    ),
    ("present", "match: { headers: [{ name: x-h, present_match: true }] }"),
    ("absent", "match: { headers: [{ name: x-h, present_match: false }] }"),
    ("not-present", "match: { headers: [{ name: x-h, present_match: true, invert_match: true }] }"),
    ("prefix", "match: { headers: [{ name: x-h, string_match: { prefix: ab } }] }"),
    ("suffix", "match: { headers: [{ name: x-h, string_match: { suffix: yz } }] }"),
    ("contains", "match: { headers: [{ name: x-h, string_match: { contains: mid } }] }"),
    ("ignore-case", "match: { headers: [{ name: x-h, string_match: { exact: abc, ignore_case: true } }] }"),
    ("range", "match: { headers: [{ name: x-h, range_match: { start: 1, end: 10 } }] }"),
    ("empty", "match: { headers: [{ name: x-h, string_match: { exact: '' }, treat_missing_header_as_empty: true }] }"),
    ("method", "match: { headers: [{ name: ':method', string_match: { exact: PUT } }] }"),
    ("authority", "match: { headers: [{ name: ':authority', string_match: { suffix: ':81' } }] }"),
    ("path-header", "match: { headers: [{ name: ':path', string_match: { suffix: '?z' } }] }"),
    ("scheme", "match: { headers: [{ name: ':scheme', string_match: { exact: http } }] }"),
    ("query-present", "match: { query_parameters: [{ name: q, present_match: true }] }"),
    ("query-prefix", "match: { query_parameters: [{ name: q, string_match: { prefix: ab } }] }"),
    ("query-case", "match: { query_parameters: [{ name: q, string_match: { exact: AB, ignore_case: true } }] }"),
    ("case", "match: { case_sensitive: false }"),
    ("never", "match: { runtime_fraction: { default_value: { numerator: 0 } } }"),
    ("always", "match: { runtime_fraction: { default_value: { numerator: 100 } } }"),
    (
        "regex-rewrite",
        "route: { regex_rewrite: { pattern: { regex: '/([a-z-]+)/([0-9]+)' }, substitution: '/\\2/\\1' } }",
    ),
    ("host-header", "route: { host_rewrite_header: x-new-host }"),
    ("add-if-absent", "request_headers_to_add: [{ header: { key: x-h, value: new }, append_action: ADD_IF_ABSENT }]"),
    (
        "overwrite-only",
        "request_headers_to_add: [{ header: { key: x-h, value: new }, append_action: OVERWRITE_IF_EXISTS }]",
    ),
    (
        "keep-empty",
        "request_headers_to_add: [{ header: { key: x-h, value: '' }, keep_empty_value: true }, { header: { key: x-i, value: '' } }]",
    ),
    ("strip-query", "redirect: { strip_query: true }"),
    (
        "regex-redirect",
        "redirect: { regex_rewrite: { pattern: { regex: '/regex-redirect/(.*)' }, substitution: '/to/\\1' } }",
    ),
    ("attempts", "route: { retry_policy: { retry_on: '5xx,reset,retriable-4xx', num_retries: 2 } }"),
];

/// All patches, each for the rule of its name.
pub fn patch() -> String {
    let one = |(name, patch): &(&str, &str)| format!("{{{{- if eq .route.rule {name:?} }}}}\n{patch}\n{{{{- end }}}}");
    PATCHES.iter().map(one).collect::<Vec<_>>().join("\n")
}

pub fn routes() -> Vec<Value> {
    let rules: Vec<String> = PATCHES
        .iter()
        .map(|(name, patch)| {
            let action = if patch.starts_with("redirect") {
                "filters: [{ redirect: { statusCode: 302 } }]"
            } else {
                "backends: [{ backend: a, weight: 1 }]"
            };
            format!("- {{ name: {name}, matches: [{{ path: {{ type: PathPrefix, value: /{name} }} }}], {action} }}")
        })
        .collect();
    vec![route("patched", &["patched.test"], &rules.join("\n"))]
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let values = ["a", "b", "", "ab", "abc", "ABC", "xyz", "amidz", "5", "10", "0", "1", "-1", "x5", "9"];
    for (name, patch) in PATCHES {
        let path = format!("/{name}");
        all.push(get("patched.test", &path));
        if patch.contains("name: x-h") || patch.contains("key: x-h") {
            for value in values {
                all.push(ask("GET", "patched.test", &path, &[("x-h", value)], ""));
            }
            all.push(ask("GET", "patched.test", &path, &[("x-h", "a"), ("x-h", "b")], ""));
            all.push(ask("GET", "patched.test", &path, &[("x-h", "5"), ("x-h", "50")], ""));
        }
        if patch.contains("query") {
            for query in ["q", "q=", "q=ab", "q=AB", "q=abc", "x=1&q=ab", "Q=ab", "q=1&q=ab"] {
                all.push(get("patched.test", &format!("{path}?{query}")));
            }
        }
    }
    for (method, host, target) in [
        ("PUT", "patched.test", "/method"),
        ("GET", "patched.test:81", "/authority"),
        ("GET", "patched.test", "/path-header?z"),
        ("GET", "patched.test", "/CASE/x"),
        ("GET", "patched.test", "/Case"),
        ("GET", "patched.test", "/regex-rewrite/12"),
        ("GET", "patched.test", "/regex-rewrite/12/13?a=b"),
        ("GET", "patched.test", "/strip-query/x?y=1"),
        ("GET", "patched.test", "/regex-redirect/x/y?z=1"),
    ] {
        all.push(ask(method, host, target, &[], ""));
    }
    all.push(ask("GET", "patched.test", "/host-header", &[("x-new-host", "new.test")], ""));
    for wish in ["status=500", "status=409", "status=404", "fail=1", "drop"] {
        all.push(ask("GET", "patched.test", "/attempts", &[("x-do", wish)], ""));
    }
    all
}
