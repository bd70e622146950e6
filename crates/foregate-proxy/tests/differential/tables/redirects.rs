//! Redirects.

use serde_json::Value;

use crate::case::{Case, ask, get};
use crate::objects::route;

pub fn routes() -> Vec<Value> {
    vec![route(
        "redirects",
        &["redirect.test"],
        r#"
- { matches: [{ path: { type: PathPrefix, value: /plain } }], filters: [{ redirect: { statusCode: 302 } }] }
- { matches: [{ path: { type: PathPrefix, value: /https } }], filters: [{ redirect: { scheme: https, statusCode: 301 } }] }
- { matches: [{ path: { type: PathPrefix, value: /http } }], filters: [{ redirect: { scheme: http, statusCode: 301 } }] }
- { matches: [{ path: { type: PathPrefix, value: /host } }], filters: [{ redirect: { hostname: other.test, statusCode: 302 } }] }
- { matches: [{ path: { type: PathPrefix, value: /port } }], filters: [{ redirect: { port: 8443, statusCode: 302 } }] }
- { matches: [{ path: { type: PathPrefix, value: /https-port } }], filters: [{ redirect: { scheme: https, port: 8443, statusCode: 307 } }] }
- { matches: [{ path: { type: PathPrefix, value: /https-443 } }], filters: [{ redirect: { scheme: https, port: 443, statusCode: 308 } }] }
- { matches: [{ path: { type: PathPrefix, value: /http-80 } }], filters: [{ redirect: { scheme: http, port: 80, statusCode: 303 } }] }
- { matches: [{ path: { type: PathPrefix, value: /full } }], filters: [{ redirect: { path: { replaceFullPath: /new/path }, statusCode: 302 } }] }
- { matches: [{ path: { type: PathPrefix, value: /full-query } }], filters: [{ redirect: { path: { replaceFullPath: "/new?a=b" }, statusCode: 302 } }] }
- { matches: [{ path: { type: PathPrefix, value: /cut } }], filters: [{ redirect: { path: { replacePrefixMatch: /new }, statusCode: 302 } }] }
- { matches: [{ path: { type: PathPrefix, value: /whole } }], filters: [{ redirect: { path: { replacePrefixMatch: / }, statusCode: 302 } }] }
- { matches: [{ path: { type: PathPrefix, value: /slash/ } }], filters: [{ redirect: { path: { replacePrefixMatch: /new/ }, statusCode: 302 } }] }
- { matches: [{ path: { type: PathPrefix, value: /empty } }], filters: [{ redirect: { path: { replacePrefixMatch: "" }, statusCode: 302 } }] }
- { matches: [{ path: { type: PathPrefix, value: /all } }], filters: [{ redirect: { scheme: https, hostname: all.test, port: 444, path: { replaceFullPath: /all-new }, statusCode: 301 } }] }
- matches: [{ path: { type: PathPrefix, value: /edited } }]
  filters:
  - { responseHeaders: { set: [{ name: x-set, value: "1" }] } }
  - { redirect: { statusCode: 302 } }
"#,
    )]
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for target in [
        "/plain",
        "/plain/x",
        "/plain?x=1",
        "/plain/x?y=1&z=%20",
        "/plain/%2f",
        "/plain//x",
        "/plain/../plain/y",
        "/https",
        "/https/x?y",
        "/http",
        "/http/x",
        "/host",
        "/host/x?y=1",
        "/port",
        "/port/x",
        "/https-port/x",
        "/https-443/x",
        "/http-80/x",
        "/full",
        "/full/x",
        "/full?x=1",
        "/full/x?y=1",
        "/full-query",
        "/full-query?x=1",
        "/cut",
        "/cut/",
        "/cut/x",
        "/cut/x/y?z=1",
        "/cut?z=1",
        "/cutter",
        "/whole",
        "/whole/",
        "/whole/x",
        "/whole?x=1",
        "/slash",
        "/slash/",
        "/slash/x",
        "/empty",
        "/empty/",
        "/empty/x",
        "/empty?x=1",
        "/all",
        "/all/x?y=1",
        "/edited",
        "/plain/?",
        "/plain?",
        "/plain/a%2Fb",
        "/plain/%41",
        "/plain/\u{e9}",
        "/cut/%zz",
        "/plain/a;b=c",
        "/plain/'\"<>",
    ] {
        all.push(get("redirect.test", target));
    }
    for host in ["redirect.test:80", "redirect.test:8080", "REDIRECT.test", "redirect.test:443"] {
        for target in ["/plain/x", "/https/x", "/host/x", "/port/x", "/http/x"] {
            all.push(get(host, target));
        }
    }
    for method in ["POST", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        all.push(ask(method, "redirect.test", "/plain/x", &[], ""));
    }
    all.push(ask("POST", "redirect.test", "/plain/x", &[], "a body that nobody reads"));
    all.push(ask("GET", "redirect.test", "/plain/x", &[("x-forwarded-proto", "https")], ""));
    all.push(ask("GET", "redirect.test", "/plain/x", &[("x-forwarded-host", "other.test")], ""));
    all
}
