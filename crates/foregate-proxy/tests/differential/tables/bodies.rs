//! Bodies and how they are framed.

use crate::case::{Case, ask, raw};

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
        all.push(ask(method, "error.test", "/body", &[], "hello"));
        all.push(ask(method, "error.test", "/body", &[("content-length", "0")], ""));
    }
    all.push(ask("POST", "error.test", "/body", &[], &"x".repeat(100_000)).named("100,000 bytes"));
    let head = "POST /body HTTP/1.1\r\nhost: error.test\r\n";
    for (name, rest) in [
        ("chunked", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("several chunks", "transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        ("empty chunked", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("chunk extensions", "transfer-encoding: chunked\r\n\r\n5;a=b;c\r\nhello\r\n0;d\r\n\r\n"),
        ("chunk size in upper case hex", "transfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n"),
        ("chunk size with zeros", "transfer-encoding: chunked\r\n\r\n0005\r\nhello\r\n0\r\n\r\n"),
        ("trailers", "transfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n"),
        ("forbidden trailers", "transfer-encoding: chunked\r\n\r\n0\r\ncontent-length: 1\r\nhost: x\r\n\r\n"),
        ("Transfer-Encoding: CHUNKED", "Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("gzip, chunked", "transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("chunked, gzip", "transfer-encoding: chunked, gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("chunked twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("identity", "transfer-encoding: identity\r\ncontent-length: 5\r\n\r\nhello"),
        ("transfer-encoding that is empty", "transfer-encoding: \r\ncontent-length: 5\r\n\r\nhello"),
        ("xchunked", "transfer-encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        (
            "chunked and content-length",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "content-length and chunked",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        ("two equal content-lengths", "content-length: 5\r\ncontent-length: 5\r\n\r\nhello"),
        ("two different content-lengths", "content-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
        ("content-length list", "content-length: 5, 5\r\n\r\nhello"),
        ("content-length +5", "content-length: +5\r\n\r\nhello"),
        ("content-length -5", "content-length: -5\r\n\r\nhello"),
        ("content-length 0x5", "content-length: 0x5\r\n\r\nhello"),
        ("content-length 5.0", "content-length: 5.0\r\n\r\nhello"),
        ("content-length of nothing", "content-length: \r\n\r\n"),
        ("content-length 005", "content-length: 005\r\n\r\nhello"),
        ("content-length too large", "content-length: 99999999999999999999999\r\n\r\nhello"),
        ("chunk size that is no number", "transfer-encoding: chunked\r\n\r\nz\r\nhello\r\n0\r\n\r\n"),
        ("chunk size that is negative", "transfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"),
        ("chunk size that is too large", "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("chunk longer than it says", "transfer-encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n"),
        ("chunk ended by LF", "transfer-encoding: chunked\r\n\r\n5\nhello\n0\n\n"),
        ("trailer that is no header", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nbad trailer\r\n\r\n"),
        ("expect and body at once", "expect: 100-continue\r\ncontent-length: 5\r\n\r\nhello"),
        ("Expect: 100-Continue", "Expect: 100-Continue\r\ncontent-length: 5\r\n\r\nhello"),
        ("expect twice", "expect: 100-continue\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello"),
    ] {
        all.push(raw(name, format!("{head}{rest}")));
    }
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let head = format!("{method} /body HTTP/1.1\r\nhost: error.test\r\ntransfer-encoding: chunked\r\n\r\n");
        all.push(
            raw(&format!("{method} with chunks"), format!("{head}5\r\nhello\r\n0\r\n\r\n")).head(method == "HEAD"),
        );
    }
    all.push(raw("1.0 with body", "POST /body HTTP/1.0\r\nhost: error.test\r\ncontent-length: 5\r\n\r\nhello"));
    all.push(raw(
        "1.0 chunked",
        "POST /body HTTP/1.0\r\nhost: error.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ));
    all.push(raw("1.0 keep-alive", "GET / HTTP/1.0\r\nhost: error.test\r\nconnection: keep-alive\r\n\r\n"));
    for what in ["chunked", "trailers", "close"] {
        all.push(raw(
            &format!("1.0 and an answer that is {what}"),
            format!("GET / HTTP/1.0\r\nhost: error.test\r\nx-do: {what}\r\n\r\n"),
        ));
    }
    let one = "GET /pipelined HTTP/1.1\r\nhost: error.test\r\n\r\n";
    let post = "POST /pipelined HTTP/1.1\r\nhost: error.test\r\ncontent-length: 2\r\n\r\nok";
    all.push(raw("two at once", format!("{one}{one}")).replies(2));
    all.push(raw("three with bodies", format!("{post}{one}{post}")).replies(3));
    all.push(raw("a good one and a bad one", format!("{one}bad\r\n\r\n")).replies(2));
    all.push(raw("empty lines between", format!("\r\n\r\n{one}\r\n{one}")).replies(2));
    all.push(raw("a 404 before another", format!("GET / HTTP/1.1\r\nhost: unknown.test\r\n\r\n{one}")).replies(2));
    all.push(
        raw(
            "a redirect with a body before another",
            format!("POST /plain HTTP/1.1\r\nhost: redirect.test\r\ncontent-length: 2\r\n\r\nok{one}"),
        )
        .replies(2),
    );
    all
}
