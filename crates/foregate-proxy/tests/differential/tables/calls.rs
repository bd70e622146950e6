//! gRPC, and HTTP/2 to a backend of HTTP/2.

use serde_json::Value;

use crate::case::{Case, ask};
use crate::objects::route;

pub fn routes() -> Vec<Value> {
    vec![route(
        "calls",
        &["calls.test"],
        r#"
- { matches: [{ path: { type: Exact, value: /shop.Cart/Get }, method: POST }], backends: [{ backend: g, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /shop.Cart }, headers: [{ name: x-version, value: v2 }] }], backends: [{ backend: g, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /shop.Dead } }], backends: [{ backend: dead, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /shop.Empty } }], backends: [{ backend: empty, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /shop.None } }], backends: [{ weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /shop.Slow } }], backends: [{ backend: g, weight: 1 }], requestTimeoutMillis: 100 }
- { matches: [{ path: { type: PathPrefix, value: /shop.Http1 } }], backends: [{ backend: a, weight: 1 }] }
- { matches: [{ path: { type: PathPrefix, value: /shop.Moved } }], filters: [{ redirect: { hostname: new.test, statusCode: 302 } }] }
- { matches: [{ path: { type: PathPrefix, value: /plain } }], backends: [{ backend: g, weight: 1 }] }
"#,
    )]
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let call = |target: &str, wish: &str, body: &str| {
        let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("x-do", wish)];
        ask("POST", "calls.test", target, &headers, body)
    };
    for wish in [
        "message=hello;trailers=0",
        "message=a;message=b;message=c;trailers=0",
        "trailers=5",
        "only=5",
        "only=0",
        "message=x",
        "status=404",
        "status=503",
        "status=503;trailers=14",
        "reset",
        "",
        "message=x;trailers=2",
    ] {
        all.push(call("/shop.Cart/Get", wish, "a message"));
        all.push(call("/shop.Cart/Get", wish, ""));
    }
    for target in [
        "/shop.Cart/Put",
        "/shop.Unknown/Get",
        "/shop.Dead/Get",
        "/shop.Empty/Get",
        "/shop.None/Get",
        "/shop.Moved/Get",
        "/",
    ] {
        all.push(call(target, "", "a message"));
    }
    all.push(call("/shop.Slow/Get", "hang", "a message"));
    all.push(call("/shop.Http1/Get", "", "a message"));
    all.push(call("/shop.Http1/Get", "trailers", "a message"));
    let mut with_trailers = call("/shop.Cart/Get", "message=x;trailers=0", "a message");
    with_trailers.trailers = vec![("x-checksum", "1")];
    with_trailers.name.push_str(" with trailers");
    all.push(with_trailers.clone());
    with_trailers.request.as_mut().unwrap().path = "/shop.Http1/Get".to_owned();
    with_trailers.name.push_str(" to HTTP/1.1");
    all.push(with_trailers);
    all.push(ask(
        "POST",
        "calls.test",
        "/shop.Cart/Other",
        &[("content-type", "application/grpc+proto"), ("te", "trailers"), ("x-version", "v2")],
        "m",
    ));
    all.push(ask("POST", "calls.test", "/shop.Cart/Get", &[("content-type", "application/grpc-web")], "m"));
    for (header, value) in [
        ("grpc-timeout", "1S"),
        ("grpc-timeout", "bad"),
        ("grpc-encoding", "gzip"),
        ("grpc-accept-encoding", "identity"),
    ] {
        all.push(ask(
            "POST",
            "calls.test",
            "/shop.Cart/Get",
            &[("content-type", "application/grpc"), ("te", "trailers"), (header, value)],
            "m",
        ));
    }
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        all.push(ask(
            method,
            "calls.test",
            "/plain/x?y=1",
            &[("x-do", "message=ok")],
            if method == "POST" { "body" } else { "" },
        ));
        all.push(ask(method, "calls.test", "/plain", &[("x-do", "status=204")], ""));
    }
    for headers in [
        &[("cookie", "a=1"), ("cookie", "b=2")][..],
        &[("x-a", "1"), ("x-a", "2")],
        &[("x-forwarded-for", "192.0.2.1")],
        &[("user-agent", "")],
        &[("x-empty", "")],
    ] {
        all.push(ask("GET", "calls.test", "/plain/headers", headers, ""));
    }
    all
}
