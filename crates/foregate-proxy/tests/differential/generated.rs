//! Route tables and requests, made at random. The seed is fixed: what fails, fails again.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use super::case::{Case, ask};
use super::objects::route;

/// Tables, and requests to each.
const TABLES: usize = 25;
const REQUESTS: usize = 40;

/// A table of routes, and the requests to it.
pub struct Generated {
    pub routes: Vec<Value>,
    pub cases: Vec<Case>,
}

/// All tables.
pub fn all() -> Vec<Generated> {
    let mut runner = TestRunner::deterministic();
    let mut some = |count: usize| -> Vec<Generated> {
        (0..count)
            .map(|table| {
                let rules = prop::collection::vec(prop::collection::vec(rule(), 1..5), 4)
                    .new_tree(&mut runner)
                    .unwrap()
                    .current();
                let mut routes: Vec<Value> = rules
                    .iter()
                    .zip(HOSTS)
                    .enumerate()
                    .map(|(at, (rules, hosts))| route(&format!("generated-{at}"), hosts, &rules.join("\n")))
                    .collect();
                routes.push(ready(table));
                let requests = prop::collection::vec(request(), REQUESTS).new_tree(&mut runner).unwrap().current();
                Generated { routes, cases: requests.into_iter().map(|case| case.named_in(table)).collect() }
            })
            .collect()
    };
    some(TABLES)
}

/// Says which table serves.
fn ready(table: usize) -> Value {
    route(
        "ready",
        &["ready.test"],
        &format!(
            "- {{ matches: [{{}}], filters: [{{ redirect: {{ path: {{ replaceFullPath: /{table} }}, statusCode: 302 }} }}] }}"
        ),
    )
}

const HOSTS: [&[&str]; 4] = [&["gen.test"], &["*.gen.test", "other.gen.test"], &["gen.test", "*.x.gen.test"], &["*"]];

fn path() -> impl Strategy<Value = &'static str> {
    select(vec!["/", "/a", "/a/b", "/a/b/c", "/b", "/ab", "/a/", "/A", "/x%2fy", "/a-b", "/a.b"])
}

fn word() -> impl Strategy<Value = &'static str> {
    select(vec!["1", "2", "12", "", "a", "A", "a,b"])
}

/// A rule in YAML.
fn rule() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        3 => path().prop_map(|path| format!("path: {{ type: PathPrefix, value: \"{path}\" }}")),
        2 => path().prop_map(|path| format!("path: {{ type: Exact, value: \"{path}\" }}")),
        1 => select(vec!["/a.*", "/[ab]+", "/a/(b|c)/?", "/.*b", "/a/?"])
            .prop_map(|regex| format!("path: {{ type: RegularExpression, value: \"{regex}\" }}")),
    ];
    let method = prop_oneof![4 => Just(String::new()), 1 => select(vec!["GET", "POST", "HEAD"]).prop_map(|m| format!(", method: {m}"))];
    let header = prop_oneof![
        3 => Just(String::new()),
        1 => word().prop_map(|value| format!(", headers: [{{ name: x-h, value: \"{value}\" }}]")),
        1 => select(vec!["[0-9]+", "a|b", ".*"]).prop_map(|regex| format!(", headers: [{{ name: x-h, type: RegularExpression, value: \"{regex}\" }}]")),
    ];
    let query = prop_oneof![3 => Just(String::new()), 1 => word().prop_map(|value| format!(", queryParams: [{{ name: q, value: \"{value}\" }}]"))];
    let action = prop_oneof![
        4 => select(vec!["a", "b", "c"]).prop_map(|backend| format!("backends: [{{ backend: {backend}, weight: 1 }}]")),
        1 => Just("backends: [{ backend: a, weight: 0 }, { backend: b, weight: 3 }]".to_owned()),
        1 => Just("backends: [{ weight: 1 }]".to_owned()),
        1 => select(vec!["/new", "/", "/new/"]).prop_map(|path| {
            format!("filters: [{{ rewrite: {{ path: {{ replacePrefixMatch: \"{path}\" }} }} }}], backends: [{{ backend: c, weight: 1 }}]")
        }),
        1 => select(vec!["statusCode: 302", "scheme: https, port: 8443, statusCode: 301", "hostname: to.test, statusCode: 307",
            "path: { replacePrefixMatch: /to }, statusCode: 303", "path: { replaceFullPath: /to }, statusCode: 308"])
            .prop_map(|redirect| format!("filters: [{{ redirect: {{ {redirect} }} }}]")),
        1 => word().prop_map(|value| {
            format!("filters: [{{ requestHeaders: {{ set: [{{ name: x-h, value: \"{value}\" }}], add: [{{ name: x-i, value: \"{value}\" }}], remove: [x-j] }} }}], backends: [{{ backend: a, weight: 1 }}]")
        }),
        1 => word().prop_map(|value| {
            format!("filters: [{{ responseHeaders: {{ set: [{{ name: x-h, value: \"{value}\" }}], remove: [x-backend] }} }}], backends: [{{ backend: a, weight: 1 }}]")
        }),
    ];
    (path, method, header, query, action).prop_map(|(path, method, header, query, action)| {
        // A prefix can be replaced where there is one alone.
        let action =
            if path.contains("PathPrefix") { action } else { action.replace("replacePrefixMatch", "replaceFullPath") };
        format!("- {{ matches: [{{ {path}{method}{header}{query} }}], {action} }}")
    })
}

fn request() -> impl Strategy<Value = Case> {
    let host = select(vec![
        "gen.test",
        "GEN.test",
        "gen.test:81",
        "other.gen.test",
        "a.gen.test",
        "a.x.gen.test",
        "x.gen.test",
        "unknown.test",
        "gen.test.",
        "b.a.gen.test",
    ]);
    let tail = select(vec![
        "", "", "", "/", "//", "/.", "/..", "/../a", "/%2e%2e", "%20", "/c", "?", "?q=1", "?q=2&q=1", "?q=12", "?q=",
        "?q", "?x=1&q=a", ";x", "%2f", "/%61",
    ]);
    let method = select(vec!["GET", "GET", "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"]);
    let header = prop_oneof![
        2 => Just(Vec::new()),
        2 => word().prop_map(|value| vec![("x-h", value)]),
        1 => (word(), word()).prop_map(|(one, two)| vec![("x-h", one), ("X-H", two)]),
        1 => word().prop_map(|value| vec![("x-i", value), ("x-j", "gone?")]),
    ];
    (host, path(), tail, method, header, prop::bool::weighted(0.2)).prop_map(
        |(host, path, tail, method, headers, body)| {
            let target = format!("{}{tail}", if tail.starts_with('/') { path.trim_end_matches('/') } else { path });
            let body = if body && ["POST", "PUT", "DELETE"].contains(&method) { "a body" } else { "" };
            ask(method, host, &target, &headers, body)
        },
    )
}

impl Case {
    fn named_in(mut self, table: usize) -> Self {
        self.name = format!("table {table}: {}", self.name);
        self
    }
}
