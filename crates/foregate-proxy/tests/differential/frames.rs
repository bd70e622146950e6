//! Frames of HTTP/2 as they are, right and wrong. Compared is whether a request is answered, and with what; how one is
//! refused (a stream's reset, GOAWAY, the end of the connection, 400, 431) is each server's own affair.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::case::{Case, raw};
use super::wire::{LIMIT, Reply, connect};

/// Who has read everything and hasn't answered for so long won't, most likely: that is as good as refused.
pub const PATIENCE: Duration = Duration::from_millis(700);
/// The same for sure, on however busy a machine.
pub const LONG_PATIENCE: Duration = Duration::from_secs(30);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WHOLE: u8 = END_STREAM | END_HEADERS;

fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

type Fields<'a> = &'a [(&'a str, &'a str)];

/// Literals without indexing; nothing is longer than 126 bytes.
fn block(fields: Fields<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            out.push(u8::try_from(text.len()).unwrap());
            out.extend(text.bytes());
        }
    }
    out
}

const GOOD: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":authority", "plain.test"), (":path", "/")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "plain.test"), (":path", "/")];

fn good(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, block(&GOOD))
}

/// A request with these fields.
fn fields(name: &str, fields: Fields<'_>) -> Case {
    raw(name, frame(HEADERS, WHOLE, 1, block(fields)))
}

/// A good request with one more field.
fn with(name: &str, value: &str) -> Case {
    let mut all = GOOD.to_vec();
    all.push((name, value));
    fields(&format!("field {}: {}", name.escape_debug(), value.escape_debug()), &all)
}

/// A good request with another value of a pseudo-header.
fn instead(name: &str, value: &str) -> Case {
    let all: Vec<_> = GOOD.iter().map(|(n, v)| if *n == name { (*n, value) } else { (*n, *v) }).collect();
    fields(&format!("{name} {}", value.escape_debug()), &all)
}

fn without(name: &str) -> Case {
    let all: Vec<_> = GOOD.iter().filter(|(n, _)| *n != name).copied().collect();
    fields(&format!("no {name}"), &all)
}

/// Frames that no request begins with, and a good request behind them.
fn before(name: &str, frames: Vec<u8>) -> Case {
    raw(name, [frames, good(1)].concat())
}

/// All requests.
pub fn cases() -> Vec<Case> {
    let mut all = of_fields();
    all.extend(of_bodies());
    all.extend(of_frames());
    for case in &mut all {
        case.name.insert_str(0, "frames: ");
    }
    all
}

fn of_fields() -> Vec<Case> {
    let mut all = vec![raw("a good request", good(1))];
    for (name, value) in [
        ("X-Upper", "1"),
        ("x-ok", "1"),
        ("connection", "close"),
        ("connection", "keep-alive"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers"),
        ("", "1"),
        ("x y", "1"),
        ("x:y", "1"),
        ("x-cr", "a\rb"),
        ("x-lf", "a\nb"),
        ("x-nul", "a\0b"),
        ("x-empty", ""),
        ("x-del", "a\u{7f}b"),
        ("x_under", "1"),
        ("x(paren)", "1"),
        ("host", "plain.test"),
        ("host", "x.wild.test"),
        (":path", "/x"),
        (":method", "GET"),
        (":authority", "plain.test"),
        (":scheme", "http"),
        (":status", "200"),
        (":x", "1"),
        ("content-length", "0"),
        ("content-length", "5"),
        ("content-length", "x"),
        ("expect", "100-continue"),
        ("cookie", "a=1"),
    ] {
        all.push(with(name, value));
    }
    for (name, value) in [
        (":path", ""),
        (":path", "x"),
        (":path", "*"),
        (":path", "http://plain.test/"),
        (":path", "/#x"),
        (":path", "/a b"),
        (":path", "/a\0b"),
        (":path", "/\u{e9}"),
        (":path", "/a/../b"),
        (":path", "/%00"),
        (":path", "//"),
        (":path", "?x"),
        (":method", ""),
        (":method", "G T"),
        (":method", "get"),
        (":method", "CONNECT"),
        (":method", "PURGE"),
        (":scheme", "https"),
        (":scheme", "ftp"),
        (":scheme", ""),
        (":authority", ""),
        (":authority", "a b"),
        (":authority", "plain.test:80"),
        (":authority", "PLAIN.test"),
        (":authority", "plain.test/x"),
        (":authority", "x.unknown"),
    ] {
        all.push(instead(name, value));
    }
    for name in [":path", ":method", ":scheme", ":authority"] {
        all.push(without(name));
    }
    all.push(fields("host instead of :authority", &[GOOD[0], GOOD[1], GOOD[3], ("host", "plain.test")]));
    all.push(fields("a field before :path", &[GOOD[0], GOOD[1], GOOD[2], ("x-a", "1"), GOOD[3]]));
    all.push(fields("no fields", &[]));
    for count in [90, 120] {
        let names: Vec<String> = (0..count).map(|n| format!("x-{n}")).collect();
        let mut many = GOOD.to_vec();
        many.extend(names.iter().map(|name| (name.as_str(), "1")));
        all.push(fields(&format!("{count} fields"), &many));
    }
    all
}

fn of_bodies() -> Vec<Case> {
    let post = |more: Fields<'_>| frame(HEADERS, END_HEADERS, 1, block(&[&POST, more].concat()));
    let data = |flags: u8, text: &str| frame(DATA, flags, 1, text);
    let bodies: [(&str, Vec<Vec<u8>>); 13] = [
        ("a body", vec![post(&[]), data(END_STREAM, "hello")]),
        ("a body in parts", vec![post(&[]), data(0, "he"), data(0, ""), data(0, "llo"), data(END_STREAM, "")]),
        ("a length that is right", vec![post(&[("content-length", "5")]), data(END_STREAM, "hello")]),
        ("a length that is too small", vec![post(&[("content-length", "2")]), data(END_STREAM, "hello")]),
        ("a length that is too large", vec![post(&[("content-length", "9")]), data(END_STREAM, "hello")]),
        ("two lengths", vec![post(&[("content-length", "5"), ("content-length", "5")]), data(END_STREAM, "hello")]),
        ("trailers", vec![post(&[]), data(0, "hello"), frame(HEADERS, WHOLE, 1, block(&[("x-t", "1")]))]),
        ("trailers with :path", vec![post(&[]), data(0, "hello"), frame(HEADERS, WHOLE, 1, block(&[(":path", "/")]))]),
        (
            "trailers that don't end it",
            vec![post(&[]), data(0, "x"), frame(HEADERS, END_HEADERS, 1, block(&[("x-t", "1")]))],
        ),
        (
            "padding",
            vec![post(&[]), frame(DATA, END_STREAM | PADDED, 1, [b"\x02".as_slice(), b"hello", b"\0\0"].concat())],
        ),
        ("too much padding", vec![post(&[]), frame(DATA, END_STREAM | PADDED, 1, b"\x09hello")]),
        ("a reset instead of the body", vec![post(&[]), frame(RST_STREAM, 0, 1, [0, 0, 0, 8]), good(3)]),
        ("a body after the end", vec![frame(HEADERS, WHOLE, 1, block(&POST)), data(END_STREAM, "hello")]),
    ];
    // The last one races with the answer.
    let kept = bodies.into_iter().filter(|(name, _)| *name != "a body after the end");
    kept.map(|(name, frames)| raw(name, frames.concat())).collect()
}

fn of_frames() -> Vec<Case> {
    let setting =
        |id: u16, value: u32| frame(SETTINGS, 0, 0, [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat());
    let half = block(&GOOD);
    let (first, second) = half.split_at(20);
    vec![
        raw(
            "a continued head",
            [frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, second)].concat(),
        ),
        raw(
            "a head that isn't continued",
            [frame(HEADERS, END_STREAM, 1, first), frame(DATA, END_STREAM, 1, "x")].concat(),
        ),
        raw(
            "a head continued on another stream",
            [frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 3, second)].concat(),
        ),
        before("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, second)),
        raw("HEADERS on stream 0", good(0)),
        raw("HEADERS on stream 2", good(2)),
        raw("stream 3 first", good(3)),
        before("DATA on stream 0", frame(DATA, 0, 0, "x")),
        before("DATA on an idle stream", frame(DATA, 0, 5, "x")),
        before("WINDOW_UPDATE of 0", frame(WINDOW_UPDATE, 0, 0, [0; 4])),
        before("WINDOW_UPDATE of too much", frame(WINDOW_UPDATE, 0, 0, [0x7f, 0xff, 0xff, 0xff])),
        before("a short WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, [0; 3])),
        before("WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 5, [0, 0, 0, 1])),
        before("short SETTINGS", frame(SETTINGS, 0, 0, [0; 5])),
        before("SETTINGS on a stream", frame(SETTINGS, 0, 1, [0; 0])),
        before("SETTINGS that acknowledge something", frame(SETTINGS, 1, 0, [0; 6])),
        before("an unknown setting", setting(0x99, 7)),
        before("push enabled by 2", setting(2, 2)),
        before("a window that is too large", setting(4, 0x8000_0000)),
        before("frames that are too small", setting(5, 1)),
        before("a table of nothing", setting(1, 0)),
        before("a short PING", frame(PING, 0, 0, [7; 7])),
        before("PING on a stream", frame(PING, 0, 1, [7; 8])),
        before("RST_STREAM on an idle stream", frame(RST_STREAM, 0, 5, [0; 4])),
        before("RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, [0; 4])),
        before("a short RST_STREAM", frame(RST_STREAM, 0, 1, [0; 3])),
        before("PRIORITY", frame(PRIORITY, 0, 3, [0, 0, 0, 0, 9])),
        before("PRIORITY on stream 0", frame(PRIORITY, 0, 0, [0, 0, 0, 0, 9])),
        before("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, [&[0, 0, 0, 2][..], &half].concat())),
        before("an unknown frame", frame(0x77, 0, 0, "whatever")),
        before("a frame that is too large", frame(0x77, 0, 0, vec![0; 20_000])),
        before("GOAWAY", frame(GOAWAY, 0, 0, [0; 8])),
        raw("an index that isn't there", frame(HEADERS, WHOLE, 1, [0xff, 0x80, 0x01])),
        raw("a literal that is cut off", frame(HEADERS, WHOLE, 1, [0, 9, b'x'])),
        raw("a table that is too large", frame(HEADERS, WHOLE, 1, [&[0x3f, 0xff, 0xff, 0x03][..], &half].concat())),
        raw("index 0", frame(HEADERS, WHOLE, 1, [0x80])),
        raw("padded HEADERS", frame(HEADERS, WHOLE | PADDED, 1, [&[2][..], &half, &[0, 0]].concat())),
        raw("too much padding of HEADERS", frame(HEADERS, WHOLE | PADDED, 1, [200, 1, 2])),
        raw("HEADERS with a priority", frame(HEADERS, WHOLE | 0x20, 1, [&[0, 0, 0, 0, 9][..], &half].concat())),
        raw(
            "HEADERS that depend on themselves",
            frame(HEADERS, WHOLE | 0x20, 1, [&[0, 0, 0, 1, 9][..], &half].concat()),
        ),
    ]
}

/// Sends the preface, settings, a case's frames, and a PING that says when they have been read.
pub async fn exchange(to: SocketAddr, case: &Case, patience: Duration) -> Reply {
    let mut stream = connect(to).await;
    let bytes = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, []),
        case.bytes.clone(),
        frame(PING, 0, 0, "all read"),
    ]
    .concat();
    let _ = stream.write_all(&bytes).await;
    let mut read_all = false;
    let status = loop {
        let patience = if read_all { patience } else { LIMIT };
        let Ok(Some((kind, flags, payload))) = tokio::time::timeout(patience, next(&mut stream)).await else {
            break None;
        };
        match kind {
            HEADERS => match status(&payload) {
                Some(100..200) => {}
                status => break status,
            },
            RST_STREAM | GOAWAY => break None,
            PING if flags & 1 != 0 => read_all = true,
            _ => {}
        }
    };
    let refused = |status: &u16| [400, 431].contains(status);
    Reply { status: status.filter(|status| !refused(status)).unwrap_or(0), ..Reply::default() }
}

/// The next frame: its type, flags and payload.
async fn next(stream: &mut TcpStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], payload))
}

/// `:status`, which comes first: indexed, or a literal with an indexed name, perhaps in Huffman's code.
fn status(block: &[u8]) -> Option<u16> {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let block = &block[block.iter().take_while(|byte| **byte & 0xe0 == 0x20).count()..];
    let [first, rest @ ..] = block else { return None };
    if first & 0x80 != 0 {
        return INDEXED.get(usize::from(first & 0x7f).checked_sub(8)?).copied();
    }
    let [length, rest @ ..] = rest else { return None };
    let text = rest.get(..usize::from(length & 0x7f))?;
    if length & 0x80 == 0 {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let bits = text.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let (mut left, mut status) = (text.len() * 8, 0);
    for _ in 0..3 {
        let short = bits >> left.checked_sub(5)? & 31;
        let digit = if short < 3 {
            left -= 5;
            short
        } else {
            left = left.checked_sub(6)?;
            (bits >> left & 63).checked_sub(0x19)? + 3
        };
        status = status * 10 + u16::try_from(digit).ok()?;
    }
    Some(status)
}

#[test]
fn statuses_are_read() {
    assert_eq!(status(&[0x88]), Some(200));
    assert_eq!(status(&[0x48, 3, b'4', b'3', b'1']), Some(431));
    // 503: 011011 00000 011001, filled up with ones.
    assert_eq!(status(&[0x20, 0x08, 0x83, 0b0110_1100, 0b0000_1100, 0b1111_1111]), Some(503));
}
