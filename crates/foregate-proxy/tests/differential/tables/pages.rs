//! Pages of other origins (CORS).

use serde_json::Value;

use crate::case::{Case, ask};
use crate::objects::route;

pub fn routes() -> Vec<Value> {
    vec![route(
        "pages",
        &["pages.test"],
        r#"
- { matches: [{ path: { type: PathPrefix, value: /lists } }], filters: [{ cors: { allowOrigins: ["https://www.foo.com", "https://*.bar.com", "http://*:8080"], allowMethods: [GET, OPTIONS], allowHeaders: [x-1, x-2], exposeHeaders: [x-3, x-4], allowCredentials: true, maxAgeSeconds: 3600 } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /all } }], filters: [{ cors: { allowOrigins: ["*"], allowMethods: ["*"], allowHeaders: ["*"], exposeHeaders: ["*"], allowCredentials: false } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /trusted } }], filters: [{ cors: { allowOrigins: ["*"], allowMethods: ["*"], allowHeaders: ["*"], exposeHeaders: ["*", x-3], allowCredentials: true } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /empty } }], filters: [{ cors: { allowOrigins: ["https://www.foo.com"] } }], backends: [{ backend: empty, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /dead } }], filters: [{ cors: { allowOrigins: ["https://www.foo.com"] } }], backends: [{ backend: dead, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /edited } }], filters: [{ cors: { allowOrigins: ["https://www.foo.com"] } }, { responseHeaders: { set: [{ name: x-set, value: "1" }, { name: access-control-allow-origin, value: mine }], remove: [access-control-expose-headers] } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /of-backend } }], filters: [], backends: [{ backend: a, weight: 1, filters: [{ cors: { allowOrigins: ["https://www.foo.com"], allowMethods: [PUT] } }] }] }
"#,
    )]
}

const ORIGINS: [&str; 7] = [
    "https://www.foo.com",
    "https://a.bar.com",
    "https://a.b.bar.com",
    "http://x:8080",
    "https://other.com",
    "HTTPS://WWW.FOO.COM",
    "null",
];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for path in ["/lists", "/all", "/trusted", "/empty", "/dead", "/edited", "/of-backend", "/nowhere"] {
        for origin in ORIGINS {
            all.push(ask("GET", "pages.test", path, &[("origin", origin)], ""));
            let question = [("origin", origin), ("access-control-request-method", "PUT")];
            all.push(answered_here(ask("OPTIONS", "pages.test", path, &question, "")));
        }
        for headers in [
            &[][..],
            &[("origin", "")],
            &[("origin", "https://www.foo.com")],
            &[("origin", "https://www.foo.com"), ("access-control-request-method", "")],
            &[("access-control-request-method", "PUT")],
            &[
                ("origin", "https://www.foo.com"),
                ("access-control-request-method", "get"),
                ("access-control-request-headers", "X-A, x-b"),
                ("access-control-request-private-network", "true"),
            ],
        ] {
            all.push(answered_here(ask("OPTIONS", "pages.test", path, headers, "")));
        }
        let doing = [("origin", "https://www.foo.com"), ("x-do", "header=access-control-allow-origin:theirs")];
        all.push(ask("POST", "pages.test", path, &doing, "body"));
    }
    all
}

/// Whom such a question reaches is no matter of routes: nothing to explain.
fn answered_here(case: Case) -> Case {
    Case { request: None, ..case }
}
