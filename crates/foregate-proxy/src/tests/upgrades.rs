//! Connections and streams that become something else.

use std::time::Duration;

use bytes::Bytes;
use foregate_envoy::ResourceKind;
use http::{Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::client::{Client, LIMIT};
use super::client2::{Client2, read_all, reply, request};
use super::rig::{Rig, until};

const TO_A: &str = "- { match: { path: /ready }, direct_response: { status: 204 } }\n\
    - { name: to-a, match: { prefix: / }, route: { cluster: a } }";

/// An endpoint that accepts one connection and answers its head so.
struct Endpoint(TcpListener);

impl Endpoint {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    async fn answers(&self, answer: &str) -> (TcpStream, String) {
        let (mut stream, _) = tokio::time::timeout(LIMIT, self.0.accept()).await.expect("a connection").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut more = [0; 4096];
            let count = stream.read(&mut more).await.unwrap();
            assert!(count > 0, "the head is cut off");
            head.extend_from_slice(&more[..count]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        (stream, String::from_utf8(head).unwrap())
    }
}

const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-accept: x\r\nx-mine: 1\r\n\r\nearly";

async fn rig(http: &str, routes: &str) -> (Rig, Endpoint) {
    let endpoint = Endpoint::new().await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[endpoint.port()]).await;
    rig.serve_with(http, routes).await;
    (rig, endpoint)
}

fn ask(path: &str, protocol: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: {protocol}\r\n\r\n")
}

fn connect(path: &str, protocol: &'static str) -> Request<()> {
    let mut request = request(Method::CONNECT, "a", path, &[("sec-websocket-version", "13")]);
    request.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
    request
}

#[tokio::test]
async fn any_protocol_that_is_configured_may_be_spoken() {
    let (rig, endpoint) = rig(
        "upgrade_configs: [{ upgrade_type: websocket }, { upgrade_type: spdy/3.1, enabled: false }]",
        "- { match: { prefix: /on }, route: { cluster: a, upgrade_configs: [{ upgrade_type: SPDY/3.1 }] } }\n\
         - { match: { prefix: /off }, route: { cluster: a, upgrade_configs: [{ upgrade_type: websocket, enabled: false }] } }\n\
         - { match: { prefix: / }, route: { cluster: a } }",
    )
    .await;
    for (path, protocol) in [("/", "spdy/3.1"), ("/", "other"), ("/off", "websocket")] {
        let mut client = rig.client().await;
        client.send(ask(path, protocol)).await;
        let reply = client.reply(false).await.unwrap();
        assert_eq!((reply.status, reply.header("connection")), (403, Some("close")), "{path} {protocol}");
        assert!(client.is_closed().await);
    }
    for (path, protocol) in [("/", "WebSocket"), ("/on", "spdy/3.1")] {
        let mut client = rig.client().await;
        client.send(ask(path, protocol)).await;
        let (mut upstream, head) = endpoint.answers(AGREED).await;
        assert!(head.contains(&format!("upgrade: {protocol}\r\n")), "{head}");
        let reply = client.reply(false).await.unwrap();
        assert_eq!((reply.status, reply.header("sec-websocket-accept")), (101, Some("x")));
        assert_eq!(client.take(5).await, b"early");
        client.send("ping").await;
        let mut got = [0; 4];
        upstream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"ping");
        drop(upstream);
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn h2c_by_upgrade_is_not_spoken() {
    let (rig, endpoint) = rig("", TO_A).await;
    let mut client = rig.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n\
             http2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        )
        .await;
    let (_upstream, head) = endpoint.answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
    assert_eq!(client.reply(false).await.unwrap().body, "ok");
}

#[tokio::test]
async fn a_stream_becomes_a_websocket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = crate::AccessLog::File(path.clone(), crate::LogFormat::Json);
    let endpoint = Endpoint::new().await;
    let options = crate::EngineOptions { workers: 1, access_log: log, ..crate::EngineOptions::default() };
    let mut rig = Rig::with(options).await;
    rig.cluster("a", &[endpoint.port()]).await;
    let http = "http2_protocol_options: { allow_connect: true }\n      upgrade_configs: [{ upgrade_type: websocket }]";
    let address = rig.serve_with(http, TO_A).await;
    let mut client = Client2::to(address).await;
    assert_eq!(client.get("a", "/ready").await.status, 204);
    assert!(client.sender.is_extended_connect_protocol_enabled());
    let (response, mut to) = client.start(connect("/chat?x", "websocket"), false).await;
    let (mut upstream, head) = endpoint.answers(AGREED).await;
    assert!(head.starts_with("GET /chat?x HTTP/1.1\r\n"), "{head}");
    for line in ["host: a\r\n", "upgrade: websocket\r\n", "connection: upgrade\r\n", "sec-websocket-version: 13\r\n"] {
        assert!(head.contains(line), "{head}");
    }
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).expect("a key");
    assert_eq!(key.len(), 24);
    let (parts, mut from) = response.await.unwrap().into_parts();
    assert_eq!((parts.status.as_u16(), parts.headers["x-mine"].to_str().unwrap()), (200, "1"));
    for name in ["connection", "upgrade", "sec-websocket-accept"] {
        assert!(!parts.headers.contains_key(name), "{name}");
    }
    assert_eq!(from.data().await.unwrap().unwrap(), "early");
    to.send_data(Bytes::from_static(b"ping"), false).unwrap();
    let mut got = [0; 4];
    upstream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"ping");
    upstream.write_all(b"pong").await.unwrap();
    assert_eq!(from.data().await.unwrap().unwrap(), "pong");
    assert_eq!(rig.metric("foregate_proxy_requests_active"), 1.0, "it is under way for as long as it lasts");
    drop(upstream);
    assert!(read_all(&mut from).await.unwrap().is_empty(), "the endpoint's end is the stream's");
    to.send_data(Bytes::new(), true).unwrap();
    until("it is logged", || std::fs::read_to_string(&path).is_ok_and(|text| text.lines().count() == 2)).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&4.into(), &9.into()), "{line}");
    assert_eq!((&line["route"], &line["flags"]), (&"to-a".into(), &"".into()), "{line}");
    drop(client);
    rig.engine.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn connect_is_for_what_is_configured() {
    let http = "http2_protocol_options: { allow_connect: true }\n      upgrade_configs: [{ upgrade_type: websocket }]";
    let (rig, endpoint) = rig(http, TO_A).await;
    let address = rig.address("http-1");
    let mut client = Client2::to(address).await;
    assert_eq!(client.get("a", "/ready").await.status, 204);
    let (response, _to) = client.start(connect("/", "other"), false).await;
    assert_eq!(reply(response).await.unwrap().status, 403);
    let plain = Request::builder().method(Method::CONNECT).uri("a:80").body(()).unwrap();
    let (response, _to) = client.start(plain, false).await;
    assert_eq!(reply(response).await.unwrap().status, 404);
    // A 200 would pass for consent.
    let (response, _to) = client.start(connect("/", "websocket"), false).await;
    let (_upstream, _) = endpoint.answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(reply(response).await.unwrap().status, 502);
    let (response, _to) = client.start(connect("/", "websocket"), false).await;
    let (_upstream, _) = endpoint.answers("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\n\r\nno").await;
    assert_eq!(reply(response).await.unwrap().status, 426);
}

#[tokio::test]
async fn silent_websockets_are_given_up() {
    let http = "stream_idle_timeout: 2s\n      http2_protocol_options: { allow_connect: true }\n      \
                upgrade_configs: [{ upgrade_type: websocket }]";
    let (rig, endpoint) = rig(http, TO_A).await;
    let mut one = rig.client().await;
    one.send(ask("/", "websocket")).await;
    let (_first, _) = endpoint.answers(AGREED).await;
    assert_eq!(one.reply(false).await.unwrap().status, 101);
    let mut two = Client2::to(rig.address("http-1")).await;
    assert_eq!(two.get("a", "/ready").await.status, 204);
    let (response, _to) = two.start(connect("/", "websocket"), false).await;
    let (_second, _) = endpoint.answers(AGREED).await;
    let (_, mut from) = response.await.unwrap().into_parts();
    let silence = async { while from.data().await.is_some_and(|data| data.is_ok()) {} };
    tokio::time::timeout(LIMIT, silence).await.expect("the stream ends");
    assert_eq!(one.take(5).await, b"early");
    assert!(one.is_closed().await);
    until("nothing is under way", || rig.metric("foregate_proxy_requests_active") == 0.0).await;
}

#[tokio::test]
async fn a_listener_that_goes_takes_websockets_with_it_in_the_end() {
    let endpoint = Endpoint::new().await;
    let drain = Duration::from_millis(300);
    let mut rig = Rig::with(crate::EngineOptions { workers: 1, drain, ..crate::EngineOptions::default() }).await;
    rig.cluster("a", &[endpoint.port()]).await;
    let address = rig.serve_with("upgrade_configs: [{ upgrade_type: websocket }]", TO_A).await;
    let mut client = Client::to(address).await;
    client.send(ask("/", "websocket")).await;
    let (_upstream, _) = endpoint.answers(AGREED).await;
    assert_eq!(client.reply(false).await.unwrap().status, 101);
    assert_eq!(client.take(5).await, b"early");
    rig.remove(ResourceKind::Listener, &["http-1"]).await;
    assert!(client.is_closed().await);
}
