//! Request headers: what is passed on, what is added, what is taken away, what is too much.

use crate::case::{Case, ask, raw};

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for headers in [
        &[("x-a", "1"), ("x-a", "2"), ("X-A", "3")][..],
        &[("x-empty", "")],
        &[("x-tab", "a\tb")],
        &[("x-utf8", "\u{e9}")],
        &[("connection", "close")],
        &[("connection", "keep-alive")],
        &[("connection", "x-hop, keep-alive"), ("x-hop", "1")],
        &[("connection", "X-Hop"), ("x-hop", "1"), ("x-hopper", "1")],
        &[("connection", "te, close"), ("te", "trailers")],
        &[("connection", "host")],
        &[("connection", "x-forwarded-for"), ("x-forwarded-for", "192.0.2.9")],
        &[("connection", "content-length")],
        &[("connection", "upgrade"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA")],
        &[("connection", "upgrade"), ("upgrade", "unknown")],
        &[("upgrade", "websocket")],
        &[("keep-alive", "timeout=5")],
        &[("proxy-connection", "keep-alive")],
        &[("proxy-authorization", "Basic x")],
        &[("te", "trailers")],
        &[("te", "gzip")],
        &[("te", "gzip, trailers;q=0.5")],
        &[("trailer", "x-t")],
        &[("expect", "something")],
        &[("expect", "100-continue")],
        &[("x-forwarded-for", "192.0.2.1")],
        &[("x-forwarded-for", "192.0.2.1, 10.0.0.1")],
        &[("x-forwarded-for", "garbage")],
        &[("x-forwarded-for", "")],
        &[("x-forwarded-proto", "https")],
        &[("x-forwarded-proto", "gopher")],
        &[("x-forwarded-host", "other.test")],
        &[("x-forwarded-port", "1")],
        &[("x-real-ip", "192.0.2.1")],
        &[("forwarded", "for=192.0.2.1")],
        &[("via", "1.1 me")],
        &[("x-request-id", "mine")],
        &[("x-request-id", "0a0a0a0a-0a0a-4a0a-8a0a-0a0a0a0a0a0a")],
        &[("x-envoy-internal", "true")],
        &[("x-envoy-external-address", "192.0.2.1")],
        &[("x-envoy-original-path", "/x")],
        &[("x-envoy-upstream-rq-timeout-ms", "1")],
        &[("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "3"), ("x-do", "status=503")],
        &[("x-envoy-expected-rq-timeout-ms", "1")],
        &[("x-envoy-decorator-operation", "x")],
        &[("x-envoy-attempt-count", "7")],
        &[("x-envoy-downstream-service-cluster", "x")],
        &[("x-envoy-force-trace", "1")],
        &[("x-envoy-ip-tags", "x")],
        &[("x-client-trace-id", "x")],
        &[("x-b3-traceid", "x")],
        &[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
        &[("cookie", "a=1"), ("cookie", "b=2")],
        &[("cookie", "a=1; b=2")],
        &[("accept-encoding", "gzip, br")],
        &[("accept", "a"), ("accept", "b")],
        &[("user-agent", "")],
        &[("user-agent", "x"), ("user-agent", "y")],
        &[("content-type", "a"), ("content-type", "b")],
        &[("range", "bytes=0-1")],
        &[("if-none-match", "\"x\"")],
        &[("authorization", "Bearer x")],
        &[("origin", "http://x"), ("access-control-request-method", "GET")],
        &[("x_underscore", "1")],
        &[("x.dot", "1")],
        &[("x!#$%&'*+^`|~", "1")],
        &[("x-comma", "a,,b")],
        &[("x-quote", "\"a, b\"")],
        &[("grpc-timeout", "1S"), ("content-type", "application/grpc")],
        &[("content-length", "0")],
        &[("x-spaces", "  a  b  ")],
        &[(":path", "/x")],
        &[(":authority", "x")],
        &[("path", "/x")],
        &[("priority", "u=1")],
        &[("early-data", "1")],
        &[("max-forwards", "0")],
    ] {
        all.push(ask("GET", "error.test", "/headers", headers, ""));
    }
    let handshake = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZQ=="),
        ("sec-websocket-version", "13"),
    ];
    for answer in [
        "raw=HTTP/1.1 101 Switching Protocols||connection: upgrade||upgrade: websocket||sec-websocket-accept: x||||",
        "raw=HTTP/1.1 101 Switching Protocols||Connection: Upgrade||Upgrade: WebSocket||||",
        "status=200",
        "status=400",
        "status=426",
        "drop",
    ] {
        let mut headers = handshake.to_vec();
        headers.push(("x-do", answer));
        all.push(ask("GET", "error.test", "/socket", &headers, "").named(&format!("upgrade, answered by {answer}")));
    }
    for connection in ["upgrade", "keep-alive, Upgrade", "Upgrade, close", "UPGRADE"] {
        let mut headers = handshake.to_vec();
        headers[0].1 = connection;
        headers.push(("x-do", "status=200"));
        all.push(ask("GET", "error.test", "/socket", &headers, "").named(&format!("upgrade by {connection}")));
    }
    all.push(ask("POST", "error.test", "/socket", &handshake, "body").named("upgrade of POST"));
    all.push(ask("GET", "redirect.test", "/plain", &handshake, "").named("upgrade that is redirected"));
    all.push(ask("GET", "unknown.test", "/", &handshake, "").named("upgrade for nobody"));
    for size in [8_000, 30_000, 60_000, 62_000, 70_000, 200_000] {
        all.push(
            ask("GET", "error.test", "/big", &[("x-big", &"b".repeat(size))], "")
                .named(&format!("a header of {size} bytes")),
        );
    }
    for count in [50, 90, 101, 150, 1_000] {
        let lines: String = (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect();
        all.push(raw(&format!("{count} headers"), format!("GET /many HTTP/1.1\r\nhost: error.test\r\n{lines}\r\n")));
    }
    for size in [8_000, 20_000, 50_000, 70_000] {
        let target = format!("/{}", "p".repeat(size));
        all.push(raw(&format!("a path of {size} bytes"), format!("GET {target} HTTP/1.1\r\nhost: error.test\r\n\r\n")));
    }
    all
}
