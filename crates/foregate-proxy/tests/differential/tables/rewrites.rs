//! Rewrites of host and path.

use serde_json::Value;

use crate::case::{Case, ask, get};
use crate::objects::route;

pub fn routes() -> Vec<Value> {
    vec![route(
        "rewrites",
        &["rewrite.test"],
        r#"
- { matches: [{ path: { type: PathPrefix, value: /host } }], filters: [{ rewrite: { hostname: new.test } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /full } }], filters: [{ rewrite: { path: { replaceFullPath: /new } } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /cut } }], filters: [{ rewrite: { path: { replacePrefixMatch: /new } } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /whole } }], filters: [{ rewrite: { path: { replacePrefixMatch: / } } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /slash/ } }], filters: [{ rewrite: { path: { replacePrefixMatch: /new/ } } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /empty } }], filters: [{ rewrite: { path: { replacePrefixMatch: "" } } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /both } }], filters: [{ rewrite: { hostname: both.test, path: { replacePrefixMatch: /to } } }], backends: [{ backend: b, weight: 1 }] }
- { matches: [{ path: { type: Exact, value: /exact } }], filters: [{ rewrite: { path: { replaceFullPath: /exactly } } }], backends: [{ backend: b, weight: 1 }] }
- { matches: [{ path: { type: RegularExpression, value: "/re/[0-9]+" } }], filters: [{ rewrite: { path: { replaceFullPath: /number } } }], backends: [{ backend: c, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /backslash } }], filters: [{ rewrite: { path: { replaceFullPath: "/a\\1b" } } }], backends: [{ backend: c, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /query } }], filters: [{ rewrite: { path: { replaceFullPath: "/a?b=c" } } }], backends: [{ backend: c, weight: 1 }] }
"#,
    )]
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for target in [
        "/host",
        "/host/x?y=1",
        "/full",
        "/full/x",
        "/full/x?y=1",
        "/full?",
        "/cut",
        "/cut/",
        "/cut/x",
        "/cut/x/",
        "/cut?x=1",
        "/cut/?x=1",
        "/cut/x?y=1",
        "/cut/a%20b",
        "/cut/%2e%2e",
        "/cut//x",
        "/cut/a//b",
        "/whole",
        "/whole/",
        "/whole/x",
        "/whole?x=1",
        "/whole/x?y=1",
        "/whole//x",
        "/slash",
        "/slash/",
        "/slash/x",
        "/slash?x",
        "/empty",
        "/empty/",
        "/empty/x",
        "/empty?x=1",
        "/both",
        "/both/x?y",
        "/exact",
        "/exact?x=1",
        "/re/12",
        "/re/12?x=1",
        "/backslash",
        "/query",
        "/query?x=1",
    ] {
        all.push(get("rewrite.test", target));
    }
    all.push(get("rewrite.test:8080", "/host/x"));
    all.push(get("REWRITE.test:8080", "/cut/x"));
    all.push(ask("POST", "rewrite.test", "/both/x", &[], "body"));
    all
}
