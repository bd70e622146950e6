//! What a route asks of a request, and which of two comes first.

use serde_json::Value;

use crate::case::{Case, ask, get};
use crate::objects::route;

pub fn routes() -> Vec<Value> {
    vec![
        route(
            "paths",
            &["paths.test"],
            r#"
- { matches: [{ path: { type: Exact, value: /exact } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: Exact, value: /exact/with/slash/ } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /prefix } }], backends: [{ backend: b, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /prefix/deep } }], backends: [{ backend: c, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /slash/ } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: RegularExpression, value: "/re/[a-z]+" } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: RegularExpression, value: "/re/[a-z]+/x|/other" } }], backends: [{ backend: b, weight: 1 }] }
- { matches: [{ path: { type: RegularExpression, value: "(?i)/insensitive" } }], backends: [{ backend: c, weight: 1 }] }
- { matches: [{ path: { type: Exact, value: "/percent%20encoded" } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: Exact, value: "/UPPER" } }], backends: [{ backend: a, weight: 1 }] }
"#,
        ),
        route(
            "headers",
            &["headers.test"],
            r#"
- { matches: [{ headers: [{ name: x-a, value: "1" }] }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ headers: [{ name: x-a, value: "1" }, { name: x-b, value: "2" }] }], backends: [{ backend: b, weight: 1 }] }
- { matches: [{ headers: [{ name: X-Upper, value: Value }] }], backends: [{ backend: c, weight: 1 }] }
- { matches: [{ headers: [{ name: x-re, type: RegularExpression, value: "v[0-9]+" }] }], backends: [{ backend: b, weight: 1 }] }
- { matches: [{ headers: [{ name: x-list, value: "a,b" }] }], backends: [{ backend: c, weight: 1 }] }
- { matches: [{ headers: [{ name: host, value: headers.test }], path: { type: Exact, value: /by-host } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ headers: [{ name: x-empty, value: "" }], path: { type: Exact, value: /empty } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ headers: [{ name: cookie, type: RegularExpression, value: ".*a=1.*" }], path: { type: Exact, value: /cookie } }], backends: [{ backend: b, weight: 1 }] }
"#,
        ),
        route(
            "queries",
            &["queries.test"],
            r#"
- { matches: [{ queryParams: [{ name: q, value: "1" }] }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ queryParams: [{ name: q, value: "1" }, { name: r, value: "2" }] }], backends: [{ backend: b, weight: 1 }] }
- { matches: [{ queryParams: [{ name: re, type: RegularExpression, value: "[a-z]*" }] }], backends: [{ backend: c, weight: 1 }] }
- { matches: [{ queryParams: [{ name: "sp ace", value: "a b" }] }], backends: [{ backend: c, weight: 1 }] }
- { matches: [{ queryParams: [{ name: Case, value: "Case" }] }], backends: [{ backend: b, weight: 1 }] }
"#,
        ),
        route(
            "precedence",
            &["precedence.test"],
            r#"
- { matches: [{ path: { type: PathPrefix, value: /p } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /p }, method: GET }], backends: [{ backend: b, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /p }, headers: [{ name: x-a, value: "1" }] }], backends: [{ backend: c, weight: 1 }] }
- { matches: [{ path: { type: Exact, value: /p/exact } }], backends: [{ backend: c, weight: 1 }] }
- { matches: [{ path: { type: RegularExpression, value: "/p/re.*" } }], backends: [{ backend: c, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /p }, queryParams: [{ name: q, value: "1" }] }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /or } }, { headers: [{ name: x-or, value: "1" }] }], backends: [{ backend: b, weight: 1 }] }
"#,
        ),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for target in [
        "/exact",
        "/exact/",
        "/exactly",
        "/exact?x=1",
        "/Exact",
        "/exact/with/slash/",
        "/exact/with/slash",
        "/prefix",
        "/prefix/",
        "/prefix/x",
        "/prefixed",
        "/prefix?x",
        "/prefix/deep",
        "/prefix/deep/",
        "/prefix/deeper",
        "/prefix/deep/x/y",
        "/slash",
        "/slash/",
        "/slash/x",
        "/slashes",
        "/re/abc",
        "/re/ABC",
        "/re/abc/",
        "/re/abc/x",
        "/re/abc1",
        "/re/",
        "/other",
        "/other/x",
        "/INSENSITIVE",
        "/insensitive",
        "/insensitive?a",
        "/percent%20encoded",
        "/percent encoded",
        "/percent%2520encoded",
        "/UPPER",
        "/upper",
        "/",
        "/nothing",
        "/prefix/%64eep",
        "/%70refix",
    ] {
        if !target.contains(' ') {
            all.push(get("paths.test", target));
        }
    }
    for headers in [
        &[("x-a", "1")][..],
        &[("x-a", "2")],
        &[("X-A", "1")],
        &[("x-a", " 1 ")],
        &[("x-a", "1"), ("x-b", "2")],
        &[("x-a", "1"), ("x-b", "3")],
        &[("x-a", "1"), ("x-a", "2")],
        &[("x-a", "2"), ("x-a", "1")],
        &[("x-upper", "Value")],
        &[("x-upper", "value")],
        &[("x-re", "v12")],
        &[("x-re", "v")],
        &[("x-re", "av12")],
        &[("x-re", "v12b")],
        &[("x-list", "a,b")],
        &[("x-list", "a"), ("x-list", "b")],
        &[("x-list", "a, b")],
        &[("x-a", "")],
        &[],
    ] {
        all.push(ask("GET", "headers.test", "/", headers, ""));
    }
    all.push(get("headers.test", "/by-host"));
    all.push(get("Headers.Test", "/by-host"));
    all.push(ask("GET", "headers.test", "/empty", &[("x-empty", "")], ""));
    all.push(ask("GET", "headers.test", "/empty", &[("x-empty", "x")], ""));
    all.push(ask("GET", "headers.test", "/cookie", &[("cookie", "b=2; a=1")], ""));
    all.push(ask("GET", "headers.test", "/cookie", &[("cookie", "b=2"), ("cookie", "a=1")], ""));
    for target in [
        "/?q=1",
        "/?q=2",
        "/?q=1&r=2",
        "/?r=2&q=1",
        "/?q=1&q=2",
        "/?q=2&q=1",
        "/?q",
        "/?q=",
        "/?Q=1",
        "/?re=abc",
        "/?re=ABC",
        "/?re=",
        "/?re",
        "/?sp%20ace=a%20b",
        "/?sp+ace=a+b",
        "/?sp%20ace=a+b",
        "/?Case=Case",
        "/?case=Case",
        "/?q=%31",
        "/?%71=1",
        "/?q=1#frag",
        "/?&&q=1",
        "/?q=1=1",
        "/??q=1",
        "/?x=q=1",
        "/",
        "/?",
        "/?q=1;r=2",
    ] {
        all.push(get("queries.test", target));
    }
    for (method, target, headers) in [
        ("GET", "/p", &[][..]),
        ("POST", "/p", &[]),
        ("GET", "/p", &[("x-a", "1")]),
        ("POST", "/p", &[("x-a", "1")]),
        ("GET", "/p/exact", &[("x-a", "1")]),
        ("GET", "/p/regex", &[]),
        ("POST", "/p?q=1", &[]),
        ("GET", "/p?q=1", &[]),
        ("POST", "/p?q=1", &[("x-a", "1")]),
        ("GET", "/or", &[]),
        ("GET", "/else", &[("x-or", "1")]),
        ("GET", "/else", &[]),
        ("HEAD", "/p", &[]),
    ] {
        all.push(ask(method, "precedence.test", target, headers, ""));
    }
    all
}
