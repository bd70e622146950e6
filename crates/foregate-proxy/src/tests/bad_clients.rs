//! Clients that are wrong, slow or wicked.

use super::backend::Backend;
use super::client::Client;
use super::rig::Rig;

const TO_A: &str = "- { match: { prefix: / }, route: { cluster: a } }";

async fn rig(http: &str) -> (Rig, Backend) {
    let backend = Backend::named("a").await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    rig.serve_with(http, TO_A).await;
    (rig, backend)
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let (rig, backend) = rig("").await;
    for (text, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nhost: a\r\n\r\n", 426),
        ("\u{16}\u{3}\u{1}\r\n\r\n", 400),
        ("CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", 404),
        ("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 404),
    ] {
        let mut client = rig.client().await;
        client.send(text).await;
        assert_eq!(client.reply(false).await.expect(text).status, status, "{text}");
    }
    assert!(backend.got().is_empty());
}

#[tokio::test]
async fn requests_that_mean_two_things_are_refused() {
    let (rig, backend) = rig("").await;
    for text in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 4\r\n\r\nabcd",
        "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded: 2\r\n\r\n",
    ] {
        let mut client = rig.client().await;
        client.send(text).await;
        assert_eq!(client.reply(false).await.expect(text).status, 400, "{text}");
        assert!(client.is_closed().await, "{text}");
    }
    assert!(backend.got().is_empty());
    let mut client = rig.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n").await;
    assert_eq!(client.reply(false).await.unwrap().status, 400, "a body with bad chunks is the client's fault");
    assert!(client.is_closed().await);
    assert!(backend.got().is_empty());
}

#[tokio::test]
async fn heads_have_an_end() {
    let (rig, backend) = rig("max_request_headers_kb: 16").await;
    let mut client = rig.client().await;
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(12_000))).await;
    assert_eq!(client.reply(false).await.unwrap().status, 200);
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(20_000))).await;
    assert_eq!(client.reply(false).await.unwrap().status, 431);
    let mut client = rig.client().await;
    let many: String = (0..101).map(|n| format!("x{n}: 1\r\n")).collect();
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n")).await;
    assert_eq!(client.reply(false).await.unwrap().status, 431);
    assert_eq!(backend.got().len(), 1);
    let mut client = rig.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n").await;
    let endless = async {
        use tokio::io::AsyncWriteExt;
        while client.stream.write_all(&b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(100)).await.is_ok() {}
    };
    tokio::time::timeout(super::client::LIMIT, endless).await.expect("headers without end are cut off");
    super::rig::until("they are counted", || rig.metric("foregate_proxy_bad_requests_total") >= 3.0).await;
}

#[tokio::test]
async fn slow_heads_and_bodies_are_given_up() {
    let (rig, backend) = rig(
        "request_headers_timeout: 1.5s\n      request_timeout: 1.5s\n      common_http_protocol_options: { idle_timeout: 1.5s }",
    )
    .await;
    let mut silent = rig.client().await;
    let mut slow = rig.client().await;
    slow.send("GET / HTTP/1.1\r\nhos").await;
    let mut body = rig.client().await;
    body.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc").await;
    let mut idle = rig.client().await;
    assert_eq!(idle.get("a", "/").await.status, 200);
    assert!(idle.is_closed().await, "idle for too long");
    assert!(silent.is_closed().await, "never said anything: closed without a word");
    assert_eq!(slow.reply(false).await.unwrap().status, 408);
    assert_eq!(body.reply(false).await.unwrap().status, 408);
    assert!(body.is_closed().await);
    assert_eq!(backend.got().len(), 1);
}

#[tokio::test]
async fn clients_that_give_up_are_noted_and_cost_nothing() {
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::new().await;
    rig.cluster("a", &[gate.local_addr().unwrap().port()]).await;
    let address = rig.serve(TO_A).await;
    let mut client = Client::to(address).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut upstream, _) = gate.accept().await.unwrap();
    drop(client);
    let mut rest = Vec::new();
    let ended = tokio::io::AsyncReadExt::read_to_end(&mut upstream, &mut rest);
    let _ = tokio::time::timeout(super::client::LIMIT, ended).await.expect("its upstream connection is closed");
    super::rig::until("nothing is under way", || rig.metric("foregate_proxy_requests_active") == 0.0).await;
    assert_eq!(rig.metric("foregate_proxy_requests_total"), 1.0);
}

#[tokio::test]
async fn a_head_that_is_sent_ahead_may_be_cut_anywhere() {
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::new().await;
    rig.cluster("a", &[gate.local_addr().unwrap().port()]).await;
    let address = rig.serve(TO_A).await;
    let mut client = Client::to(address).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nx-co").await;
    let (mut upstream, _) = gate.accept().await.unwrap();
    for rest in ["lor: a long one, which is #ffffff\r\n\r\n", ""] {
        let mut head = [0; 4096];
        let count = tokio::io::AsyncReadExt::read(&mut upstream, &mut head).await.unwrap();
        assert!(head[..count].starts_with(b"GET / HTTP/1.1"));
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        tokio::io::AsyncWriteExt::write_all(&mut upstream, answer.as_bytes()).await.unwrap();
        assert_eq!(client.reply(false).await.unwrap().status, 200);
        client.send(rest).await;
    }
}

#[tokio::test]
async fn connections_have_a_bound() {
    let options = crate::EngineOptions { workers: 2, max_connections: 3, ..crate::EngineOptions::default() };
    let mut rig = Rig::with(options).await;
    rig.serve("- { match: { prefix: / }, direct_response: { status: 204 } }").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = rig.client().await;
        assert_eq!(client.get("a", "/").await.status, 204);
        clients.push(client);
    }
    for _ in 0..2 {
        assert!(rig.client().await.is_closed().await, "one too many");
    }
    super::rig::until("they are counted", || rig.metric("foregate_proxy_connections_shed_total") == 2.0).await;
    for client in &mut clients {
        assert_eq!(client.get("a", "/").await.status, 204, "the others are served");
    }
    clients.pop();
    super::rig::until("there is room again", || rig.metric("foregate_proxy_connections_active") == 2.0).await;
    assert_eq!(rig.client().await.get("a", "/").await.status, 204);
}

#[tokio::test]
async fn a_client_cannot_speak_for_proxies() {
    let (rig, backend) = rig("use_remote_address: true").await;
    let mut client = rig.client().await;
    let headers = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "mine"),
        ("x-envoy-retry-on", "5xx"),
        ("connection", "x-hop"),
        ("x-forwarded-client-cert", "Hash=mine"),
        ("x-hop", "1"),
        ("te", "gzip"),
    ];
    assert_eq!(client.ask("GET", "a", "/", &headers, "").await.status, 200);
    let got = backend.last().headers;
    assert_eq!(got["x-forwarded-for"], "1.2.3.4,127.0.0.1");
    assert_eq!(got["x-forwarded-proto"], "http");
    assert_ne!(got["x-request-id"], "mine");
    for name in ["x-envoy-retry-on", "x-hop", "te", "x-forwarded-client-cert"] {
        assert!(!got.contains_key(name), "{name}");
    }
    let headers = [("connection", "x-forwarded-for")];
    assert_eq!(client.ask("GET", "a", "/", &headers, "").await.status, 400, "nor have what proxies say removed");
}

#[tokio::test]
async fn an_absolute_target_names_the_host() {
    let (rig, backend) = rig("").await;
    let mut client = rig.client().await;
    client.send("GET http://b.example.com/x HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.reply(false).await.unwrap().status, 200);
    let got = backend.last();
    assert_eq!((&*got.target, got.headers["host"].to_str().unwrap()), ("/x", "b.example.com"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (rig, _backend) = rig("").await;
    let mut client = rig.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20)).await;
    for _ in 0..20 {
        assert_eq!(client.reply(false).await.unwrap().body, "a");
    }
}
