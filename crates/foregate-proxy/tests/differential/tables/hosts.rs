//! Hosts: case, ports, dots, wildcards, missing and doubled ones.

use serde_json::Value;

use crate::case::{Case, ask, get, raw};
use crate::objects::route;

pub fn routes() -> Vec<Value> {
    let to = |backend: &str| format!("- {{ matches: [{{}}], backends: [{{ backend: {backend}, weight: 1 }}] }}");
    vec![
        route("plain", &["plain.test", "192.0.2.1", "[2001:db8::1]"], &to("a")),
        route("wild", &["*.wild.test"], &to("b")),
        route("deeper", &["*.deeper.wild.test", "exact.wild.test"], &to("c")),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for host in [
        "plain.test",
        "PLAIN.TEST",
        "Plain.Test",
        "plain.test:80",
        "plain.test:8080",
        "plain.test:",
        "plain.test:x",
        "plain.test:99999",
        "plain.test.",
        "plain.test.:80",
        ".plain.test",
        "x.plain.test",
        "x.wild.test",
        "X.WILD.TEST:1",
        "wild.test",
        ".wild.test",
        "x.y.wild.test",
        "x.deeper.wild.test",
        "deeper.wild.test",
        "exact.wild.test",
        "x.exact.wild.test",
        "unknown.test",
        "localhost",
        "192.0.2.1",
        "192.0.2.1:80",
        "192.0.2.2",
        "[2001:db8::1]",
        "[2001:db8::1]:80",
        "[2001:DB8::1]",
        "2001:db8::1",
        "",
        " ",
        "plain.test plain.test",
        "plain.test, plain.test",
        "plain_test",
        "plain.test/x",
        "user@plain.test",
        "plain%2etest",
        "pl\u{e4}in.test",
        "xn--plin-ooa.test",
        "*",
        "*.wild.test",
        "plain..test",
        "-",
        "a:b:c",
        "plain.test?x",
        "plain.test#x",
        "\"plain.test\"",
    ] {
        all.push(get(host, "/"));
    }
    all.push(raw("no host", "GET / HTTP/1.1\r\n\r\n"));
    all.push(raw("two hosts", "GET / HTTP/1.1\r\nhost: plain.test\r\nhost: plain.test\r\n\r\n"));
    all.push(raw("two different hosts", "GET / HTTP/1.1\r\nhost: plain.test\r\nhost: x.wild.test\r\n\r\n"));
    all.push(raw("host with tabs", "GET / HTTP/1.1\r\nhost:\tplain.test\t\r\n\r\n"));
    all.push(raw("host without space", "GET / HTTP/1.1\r\nhost:plain.test\r\n\r\n"));
    all.push(raw("HOST in upper case", "GET / HTTP/1.1\r\nHOST: plain.test\r\n\r\n"));
    all.push(raw("1.0 without host", "GET / HTTP/1.0\r\n\r\n"));
    all.push(raw("1.0 with host", "GET / HTTP/1.0\r\nhost: plain.test\r\n\r\n"));
    for (target, host) in [
        ("http://plain.test/", "plain.test"),
        ("http://plain.test/x?y=1", "other.test"),
        ("http://plain.test", "plain.test"),
        ("http://plain.test?x=1", "plain.test"),
        ("HTTP://PLAIN.TEST/x", "plain.test"),
        ("http://plain.test:8080/x", "plain.test"),
        ("https://plain.test/x", "plain.test"),
        ("http://user@plain.test/", "plain.test"),
        ("http:///x", "plain.test"),
        ("http://x.wild.test/", "plain.test"),
        ("ftp://plain.test/", "plain.test"),
        ("ws://plain.test/", "plain.test"),
        ("plain.test/x", "plain.test"),
        ("http:/plain.test/x", "plain.test"),
        ("http://plain.test/a/../b", "plain.test"),
        ("http://plain.test#frag", "plain.test"),
    ] {
        all.push(raw(
            &format!("absolute {target} host {host}"),
            format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n"),
        ));
    }
    all.push(raw("absolute without host", "GET http://plain.test/ HTTP/1.1\r\n\r\n"));
    all.push(raw("absolute 1.0", "GET http://plain.test/ HTTP/1.0\r\n\r\n"));
    all.push(ask("GET", "plain.test", "/", &[("x-forwarded-host", "x.wild.test")], ""));
    all
}
