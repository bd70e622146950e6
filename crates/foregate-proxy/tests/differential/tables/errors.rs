//! What backends do wrong, timeouts, retries.

use serde_json::Value;

use crate::case::{Case, ask, get};
use crate::objects::route;

pub fn routes() -> Vec<Value> {
    vec![route(
        "errors",
        &["error.test"],
        r#"
- { matches: [{ path: { type: PathPrefix, value: /dead } }], backends: [{ backend: dead, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /empty } }], backends: [{ backend: empty, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /timeout } }], backends: [{ backend: a, weight: 1 }], requestTimeoutMillis: 2000 }
- { matches: [{ path: { type: PathPrefix, value: /backend-timeout } }], backends: [{ backend: a, weight: 1 }], requestTimeoutMillis: 60000, backendTimeoutMillis: 1000 }
- { matches: [{ path: { type: PathPrefix, value: /retry } }], backends: [{ backend: a, weight: 1 }], retry: { attempts: 2, codes: [503], backoffMillis: 1 } }
- { matches: [{ path: { type: PathPrefix, value: /retry-500 } }], backends: [{ backend: a, weight: 1 }], retry: { attempts: 1, codes: [500, 502], backoffMillis: 1 } }
- { matches: [{ path: { type: PathPrefix, value: /retry-dead } }], backends: [{ backend: dead, weight: 1 }], retry: { attempts: 2, codes: [503], backoffMillis: 1 } }
- { matches: [{ path: { type: PathPrefix, value: /retry-edited } }], filters: [{ requestHeaders: { add: [{ name: x-add, value: once }] } }, { rewrite: { path: { replacePrefixMatch: /new } } }], backends: [{ backend: a, weight: 1 }], retry: { attempts: 2, codes: [503], backoffMillis: 1 } }
- { matches: [{ path: { type: PathPrefix, value: / } }], backends: [{ backend: a, weight: 1 }] }
"#,
    )]
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let wish = |target: &str, wish: &str| ask("GET", "error.test", target, &[("x-do", wish)], "");
    for target in ["/dead", "/empty"] {
        for method in ["GET", "POST", "HEAD"] {
            all.push(ask(method, "error.test", target, &[], if method == "POST" { "body" } else { "" }));
        }
    }
    all.push(wish("/timeout", "hang"));
    all.push(get("error.test", "/timeout"));
    all.push(wish("/backend-timeout", "hang"));
    for (target, what) in [
        ("/retry", "status=503"),
        ("/retry/1", "fail=1"),
        ("/retry/2", "fail=2"),
        ("/retry/3", "fail=3"),
        ("/retry", "status=500"),
        ("/retry", "status=200"),
        ("/retry-500", "status=500"),
        ("/retry-500", "status=502"),
        ("/retry-500", "status=503"),
        ("/retry", "drop"),
        ("/retry-dead", ""),
        ("/retry-edited/x", "fail=2"),
    ] {
        all.push(wish(target, what));
        all.push(ask("POST", "error.test", target, &[("x-do", what)], "a body that is sent again"));
    }
    for status in [
        200, 201, 202, 203, 204, 205, 206, 207, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 406,
        409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503,
        504, 505, 511, 599, 600, 700, 999,
    ] {
        all.push(wish("/status", &format!("status={status}")));
        all.push(ask("HEAD", "error.test", "/status", &[("x-do", &format!("status={status}"))], ""));
    }
    for what in [
        "chunked",
        "trailers",
        "close",
        "none;status=204",
        "none;status=304",
        "size=0",
        "size=100000",
        "chunked;size=100000",
        "close;size=70000",
        "drop",
        "raw=garbage||",
        "raw=HTTP/1.1 200 OK||||",
        "raw=HTTP/1.1 200||content-length: 0||||",
        "raw=HTTP/1.1 abc OK||||",
        "raw=HTTP/1.1 99 Low||||",
        "raw=HTTP/1.0 200 OK||content-length: 2||||ok",
        "raw=HTTP/1.1 200 OK||content-length: 10||||short",
        "raw=HTTP/1.1 200 OK||content-length: 2||content-length: 2||||ok",
        "raw=HTTP/1.1 200 OK||content-length: 2||content-length: 3||||ok",
        "raw=HTTP/1.1 200 OK||content-length: x||||ok",
        "raw=HTTP/1.1 200 OK||content-length: -1||||ok",
        "raw=HTTP/1.1 200 OK||transfer-encoding: chunked||content-length: 2||||2||ok||0||||",
        "raw=HTTP/1.1 200 OK||transfer-encoding: gzip, chunked||||2||ok||0||||",
        "raw=HTTP/1.1 200 OK||transfer-encoding: chunked||||2||ok",
        "raw=HTTP/1.1 200 OK||transfer-encoding: chunked||||zz||ok",
        "raw=HTTP/1.1 200 OK||transfer-encoding: chunked||||2;ext~1||ok||0||||",
        "raw=HTTP/1.1 200 OK||bad header||content-length: 0||||",
        "raw=HTTP/1.1 200 OK||bad name : x||content-length: 0||||",
        "raw=HTTP/1.1 200 OK||x-a: 1|| folded||content-length: 0||||",
        "raw=HTTP/1.1 200 OK||connection: x-hop||x-hop: 1||content-length: 0||||",
        "raw=HTTP/1.1 200 OK||keep-alive: timeout~5||proxy-connection: x||content-length: 0||||",
        "raw=HTTP/1.1 200 OK||upgrade: h2c||content-length: 0||||",
        "raw=HTTP/1.1 200 OK||set-cookie: a~1||set-cookie: b~2||content-length: 0||||",
        "raw=HTTP/1.1 200 OK||X-Mixed: Case||content-length: 0||||",
        "raw=HTTP/1.1 200 OK||x-empty:||content-length: 0||||",
        "raw=HTTP/1.1 200 OK||date: Mon, 01 Jan 2001 00:00:00 GMT||server: theirs||via: 1.1 x||content-length: 0||||",
        "raw=HTTP/1.1 100 Continue||||HTTP/1.1 200 OK||content-length: 0||||",
        "raw=HTTP/1.1 103 Early Hints||link: x||||HTTP/1.1 200 OK||content-length: 0||||",
        "raw=HTTP/1.1 101 Switching||connection: upgrade||upgrade: x||||",
        "raw=HTTP/2 200 OK||content-length: 0||||",
        "raw=HTTP/3.7 200 OK||content-length: 0||||",
        "header=x-a: \u{e9}",
        "header=x-big: ",
        "header=content-encoding: gzip",
        "header=x-envoy-upstream-service-time: 7",
        "header=x-envoy-immediate-health-check-fail: 1",
        "header=alt-svc: h3",
        "header=strict-transport-security: x",
        "header=location: http://error.test/",
        "header=www-authenticate: Basic",
    ] {
        let what =
            if what == "header=x-big: " { format!("header=x-big: {}", "b".repeat(20_000)) } else { what.to_owned() };
        all.push(wish("/answers", &what));
    }
    all.push(ask("HEAD", "error.test", "/", &[("x-do", "chunked")], ""));
    all.push(ask("HEAD", "error.test", "/", &[("x-do", "none")], ""));
    all
}
