//! Clients of HTTP/2 that are wrong or wicked.

use super::backend::Backend;
use super::client2::{
    CONTINUATION, Client2, DATA, END_HEADERS, END_STREAM, GET_A, HEADERS, PING, RST_STREAM, Raw, SETTINGS,
    WINDOW_UPDATE, frame, request,
};
use super::rig::{Rig, until};
use http::Method;

const TO_A: &str = "- { match: { prefix: / }, route: { cluster: a } }";

async fn rig(http: &str) -> (Rig, Backend) {
    let backend = Backend::named("a").await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    rig.serve_with(http, TO_A).await;
    (rig, backend)
}

/// Literal header fields, without a table.
fn fields(all: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in all {
        out.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            out.push(text.len() as u8);
            out.extend(text.as_bytes());
        }
    }
    out
}

#[tokio::test]
async fn frames_that_break_the_protocol_end_the_connection() {
    let (rig, backend) = rig("").await;
    let address = rig.address("http-1");
    for (what, bytes) in [
        ("data on stream 0", frame(DATA, 0, 0, b"x")),
        ("data on an idle stream", frame(DATA, 0, 1, b"x")),
        ("headers on an even stream", frame(HEADERS, END_STREAM | END_HEADERS, 2, GET_A)),
        ("continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, GET_A)),
        ("a window beyond 2^31", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("settings of odd length", frame(SETTINGS, 0, 0, &[0, 1, 2])),
        ("a ping of 7 bytes", frame(PING, 0, 0, &[0; 7])),
        ("a frame that is too large", frame(DATA, 0, 1, &vec![0; 20_000])),
        ("header compression that is none", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 12])),
        ("a pseudo-header that nobody knows", {
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[GET_A, &fields(&[(":who", "me")])].concat())
        }),
        ("a name in upper case", {
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[GET_A, &fields(&[("X-Upper", "1")])].concat())
        }),
        ("a line feed in a value", {
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[GET_A, &fields(&[("x", "1\r\nhost: b")])].concat())
        }),
        ("push from a client", frame(5, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])),
        (
            "headers, then another frame before their end",
            [frame(HEADERS, END_STREAM, 1, GET_A), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
    ] {
        let mut raw = Raw::to(address).await;
        raw.send(&bytes).await;
        let verdict = raw.verdict().await;
        assert_ne!(verdict, Some(0), "{what}");
    }
    assert!(backend.got().is_empty());
    assert_eq!(Client2::to(address).await.get("a", "/").await.status, 200, "others are served");
}

#[tokio::test]
async fn requests_that_are_none_are_refused_alone() {
    let (rig, backend) = rig("").await;
    let mut raw = Raw::to(rig.address("http-1")).await;
    let mut stream = 1;
    for (what, block) in [
        ("no method", fields(&[(":scheme", "http"), (":path", "/"), (":authority", "a")])),
        ("no path", fields(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")])),
        ("no scheme", fields(&[(":method", "GET"), (":path", "/"), (":authority", "a")])),
        ("an empty path", fields(&[(":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "a")])),
        ("a response's pseudo-header", [GET_A.to_vec(), fields(&[(":status", "200")])].concat()),
        ("a method twice", [GET_A.to_vec(), fields(&[(":method", "GET")])].concat()),
        ("a pseudo-header behind a header", [fields(&[("x", "1")]), GET_A.to_vec()].concat()),
        ("a header of the connection", [GET_A.to_vec(), fields(&[("connection", "close")])].concat()),
        ("an encoding of HTTP/1.1", [GET_A.to_vec(), fields(&[("transfer-encoding", "chunked")])].concat()),
    ] {
        raw.frame(HEADERS, END_STREAM | END_HEADERS, stream, &block).await;
        let frame = raw.next().await.unwrap_or_else(|| panic!("{what}: the connection is closed"));
        assert_eq!((frame.kind, frame.stream), (RST_STREAM, stream), "{what}: {frame:?}");
        stream += 2;
    }
    // No host at all is answered.
    let block = fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/")]);
    raw.frame(HEADERS, END_STREAM | END_HEADERS, stream, &block).await;
    let frame = raw.next().await.unwrap();
    assert_eq!((frame.kind, frame.stream), (HEADERS, stream));
    // 8 is the index of `:status 200`, 12 that of `:status 400`.
    assert_eq!(frame.payload[0], 0x80 | 12, "{frame:?}");
    assert!(backend.got().is_empty());
}

#[tokio::test]
async fn heads_have_an_end() {
    let (rig, backend) =
        rig("max_request_headers_kb: 16\n      common_http_protocol_options: { max_headers_count: 50 }").await;
    let mut client = Client2::to(rig.address("http-1")).await;
    let long = "x".repeat(6_000);
    let many: Vec<(String, &str)> = (0..60).map(|n| (format!("x{n}"), "1")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, *value)).collect();
    for (headers, status) in [
        (vec![("x", &*long)], 200),
        (vec![("x", &*long), ("y", &*long), ("z", &*long)], 431),
        (many, 431),
        (vec![], 200),
    ] {
        let reply = client.ask(request(Method::GET, "a", "/", &headers), &[], None).await;
        assert_eq!(reply.status, status, "{} headers", headers.len());
    }
    assert_eq!(backend.got().len(), 2);
}

#[tokio::test]
async fn heads_without_an_end_are_cut_off() {
    let (rig, backend) = rig("").await;
    let mut raw = Raw::to(rig.address("http-1")).await;
    raw.frame(HEADERS, END_STREAM, 1, GET_A).await;
    let more = fields(&[("x", &"y".repeat(100))]).repeat(100);
    let endless = async {
        use tokio::io::AsyncWriteExt;
        while raw.stream.write_all(&frame(CONTINUATION, 0, 1, &more)).await.is_ok() {}
    };
    tokio::time::timeout(super::client::LIMIT, endless).await.expect("headers without end are cut off");
    assert!(backend.got().is_empty());
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::new().await;
    rig.cluster("a", &[gate.local_addr().unwrap().port()]).await;
    let address = rig.serve_with("http2_protocol_options: { max_concurrent_streams: 3 }", TO_A).await;
    let mut raw = Raw::to(address).await;
    // A client may begin before it knows the limit.
    for stream in (1..=407).step_by(2) {
        raw.frame(HEADERS, END_STREAM | END_HEADERS, stream, GET_A).await;
    }
    for stream in (7..=407).step_by(2) {
        let frame = raw.next().await.unwrap();
        assert_eq!((frame.kind, frame.stream), (RST_STREAM, stream), "{frame:?}");
        assert_eq!(frame.payload, 7_u32.to_be_bytes(), "REFUSED_STREAM");
    }
}

#[tokio::test]
async fn who_resets_everything_is_turned_away() {
    let (rig, _backend) = rig("").await;
    let mut raw = Raw::to(rig.address("http-1")).await;
    let attack = async {
        for stream in (1..200_000).step_by(2) {
            let pair = [
                frame(HEADERS, END_STREAM | END_HEADERS, stream, GET_A),
                frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
            ];
            use tokio::io::AsyncWriteExt;
            if raw.stream.write_all(&pair.concat()).await.is_err() {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(super::client::LIMIT, attack).await.expect("it ends"), "it was never turned away");
    until("it costs nothing", || rig.metric("foregate_proxy_requests_active") == 0.0).await;
    assert_eq!(Client2::to(rig.address("http-1")).await.get("a", "/").await.status, 200, "others are served");
}

#[tokio::test]
async fn who_resets_requests_under_way_is_turned_away() {
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::new().await;
    rig.cluster("a", &[gate.local_addr().unwrap().port()]).await;
    let address = rig.serve(TO_A).await;
    let mut raw = Raw::to(address).await;
    let mut turned_away = false;
    for stream in (1..2_000).step_by(2) {
        raw.frame(HEADERS, END_STREAM | END_HEADERS, stream, GET_A).await;
        // It has reached an endpoint when it is reset; or the connection is over.
        let minded = until("it is turned away", || rig.metric("foregate_proxy_bad_requests_total") >= 1.0);
        let _upstream = tokio::select! {
            accepted = gate.accept() => accepted.unwrap(),
            () = minded => {
                turned_away = true;
                break;
            }
        };
        raw.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await;
    }
    assert!(turned_away, "1000 requests were reset, and nobody minded");
}

#[tokio::test]
async fn pings_and_settings_without_end_cost_nothing() {
    let (rig, _backend) = rig("").await;
    let mut raw = Raw::to(rig.address("http-1")).await;
    let flood = [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])].concat().repeat(500);
    // Nothing is read: the engine must neither keep all answers nor spin.
    use tokio::io::AsyncWriteExt;
    let flooding = async {
        for _ in 0..200 {
            if raw.stream.write_all(&flood).await.is_err() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), flooding).await;
    assert_eq!(Client2::to(rig.address("http-1")).await.get("a", "/").await.status, 200, "others are served");
}

#[tokio::test]
async fn who_says_nothing_is_closed() {
    let (rig, _backend) = rig("request_headers_timeout: 1.5s").await;
    let address = rig.address("http-1");
    let mut silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut half = tokio::net::TcpStream::connect(address).await.unwrap();
    let _ = tokio::io::AsyncWriteExt::write_all(&mut half, b"PRI * HTTP/2.0\r\n").await;
    let mut rest = Vec::new();
    for stream in [&mut silent, &mut half] {
        let read = tokio::io::AsyncReadExt::read_to_end(stream, &mut rest);
        let _ = tokio::time::timeout(super::client::LIMIT, read).await.expect("it is closed");
        assert!(rest.is_empty());
    }
    let mut prefaced = Raw::to(address).await;
    assert_eq!(prefaced.verdict().await, Some(0), "told to go, then closed");
}
