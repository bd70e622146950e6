//! HTTP/2 with clients.

use std::time::Duration;

use bytes::Bytes;
use foregate_envoy::ResourceKind;
use http::{HeaderMap, HeaderValue, Method};

use super::backend::{Backend, answer};
use super::client2::{Client2, reply, request};
use super::rig::{Rig, until};

const TO_A: &str = "- { name: to-a, match: { prefix: / }, route: { cluster: a } }";

async fn rig(http: &str) -> (Rig, Backend) {
    let backend = Backend::with(|got| answer(200, &[("x-got", &got.target)], &got.method)).await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    rig.serve_with(http, TO_A).await;
    (rig, backend)
}

#[tokio::test]
async fn one_port_speaks_both() {
    let (rig, backend) = rig("use_remote_address: true").await;
    let mut two = Client2::to(rig.address("http-1")).await;
    let reply = two.get("a.example.com:80", "/x?y").await;
    assert_eq!((reply.status, reply.header("x-got"), reply.text()), (200, Some("/x?y"), "GET"));
    for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
        assert!(reply.header(name).is_none(), "{name}");
    }
    let got = backend.last();
    assert_eq!((&*got.target, got.headers["host"].to_str().unwrap()), ("/x?y", "a.example.com:80"));
    assert_eq!(got.headers["x-forwarded-proto"], "http");
    assert_eq!(got.headers["x-forwarded-for"], "127.0.0.1");
    let head = two.ask(request(Method::HEAD, "a", "/", &[]), &[], None).await;
    assert_eq!((head.status, head.header("content-length"), head.text()), (200, Some("4"), ""));
    let mut one = rig.client().await;
    assert_eq!(one.get("a", "/").await.status, 200);
    drop((one, two));
    until("everything is counted", || {
        rig.metric("foregate_proxy_requests_total{instance=\"gw/local\",listener=\"http-1\",code_class=\"2xx\"}") == 3.0
    })
    .await;
    until("everything is closed", || rig.metric("foregate_proxy_connections_active") == 0.0).await;
}

#[tokio::test]
async fn a_codec_that_is_fixed_speaks_nothing_else() {
    let (one, _backend) = rig("codec_type: HTTP1").await;
    let mut client = one.client().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(client.reply(false).await.is_none_or(|reply| reply.status == 400), "it is no HTTP/1.1");
    let (two, _backend) = rig("codec_type: HTTP2").await;
    assert_eq!(Client2::to(two.address("http-1")).await.get("a", "/").await.status, 200);
    let mut client = two.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut rest = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut rest);
    let _ = tokio::time::timeout(super::client::LIMIT, read).await.expect("it is closed");
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
}

#[tokio::test]
async fn requests_run_side_by_side() {
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = Backend::named("quick").await;
    let mut rig = Rig::new().await;
    rig.cluster("slow", &[gate.local_addr().unwrap().port()]).await;
    rig.cluster("quick", &[backend.port()]).await;
    let address = rig
        .serve(
            "- { match: { prefix: /slow }, route: { cluster: slow } }\n\
             - { match: { prefix: / }, route: { cluster: quick } }",
        )
        .await;
    let mut client = Client2::to(address).await;
    let (slow, _stream) = client.start(request(Method::GET, "a", "/slow", &[]), true).await;
    let (mut upstream, _) = gate.accept().await.unwrap();
    let mut others = Vec::new();
    for _ in 0..40 {
        let (response, _) = client.start(request(Method::GET, "a", "/", &[]), true).await;
        others.push(tokio::spawn(reply(response)));
    }
    for other in others {
        assert_eq!(other.await.unwrap().unwrap().text(), "quick");
    }
    use tokio::io::AsyncWriteExt;
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await.unwrap();
    assert_eq!(reply(slow).await.unwrap().text(), "slow");
}

#[tokio::test]
async fn bodies_and_lengths_pass() {
    let backend = Backend::with(|got| {
        let length = got.headers.get("content-length").map_or("none", |value| value.to_str().unwrap()).to_owned();
        let mut response = answer(200, &[("x-length", &length)], "");
        *response.body_mut() = http_body_util::Full::new(got.body.clone());
        response
    })
    .await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    let address = rig.serve(TO_A).await;
    let mut client = Client2::to(address).await;
    let big = "0123456789abcdef".repeat(64 * 1024);
    for (body, headers, length) in [
        (vec!["abc"], vec![("content-length", "3")], "3"),
        (vec!["abc", "def"], vec![], "none"),
        (vec![""], vec![], "none"),
        (vec![&*big], vec![], "none"),
        (vec![], vec![], "0"),
    ] {
        let reply = client.ask(request(Method::POST, "a", "/", &headers), &body, None).await;
        let want = body.concat();
        assert_eq!(reply.header("x-length"), Some(length), "{} bytes", want.len());
        assert_eq!(reply.text().len(), want.len());
        assert!(reply.text() == want);
    }
}

#[tokio::test]
async fn a_length_that_is_wrong_ends_the_stream_alone() {
    let (rig, _backend) = rig("").await;
    let mut client = Client2::to(rig.address("http-1")).await;
    for body in ["ab", "abcdef"] {
        let (response, mut stream) =
            client.start(request(Method::POST, "a", "/", &[("content-length", "3")]), false).await;
        stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true).unwrap();
        match reply(response).await {
            Err(error) => assert!(error.is_reset(), "{error}"),
            Ok(reply) => assert_eq!(reply.status, 400),
        }
        assert_eq!(client.get("a", "/").await.status, 200, "others go on");
    }
}

#[tokio::test]
async fn trailers_come_back() {
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::new().await;
    rig.cluster("a", &[gate.local_addr().unwrap().port()]).await;
    let address = rig.serve(TO_A).await;
    let mut client = Client2::to(address).await;
    let (response, _) = client.start(request(Method::POST, "a", "/", &[("te", "trailers")]), true).await;
    let (mut upstream, _) = gate.accept().await.unwrap();
    let mut head = vec![0; 4096];
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let count = upstream.read(&mut head).await.unwrap();
    let head = String::from_utf8(head[..count].to_vec()).unwrap();
    assert!(head.contains("te: trailers\r\n"), "{head}");
    upstream
        .write_all(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n",
        )
        .await
        .unwrap();
    let reply = reply(response).await.unwrap();
    assert_eq!(reply.text(), "abc");
    assert_eq!(reply.trailers.expect("trailers")["x-sum"], "7");
}

#[tokio::test]
async fn cookies_are_joined_and_the_authority_is_the_host() {
    let (rig, backend) = rig("").await;
    let mut client = Client2::to(rig.address("http-1")).await;
    let headers = [("cookie", "a=1"), ("cookie", "b=2"), ("host", "other"), ("expect", "100-continue")];
    assert_eq!(client.ask(request(Method::GET, "a.example.com", "/", &headers), &[], None).await.status, 200);
    let got = backend.last().headers;
    assert_eq!(got["cookie"], "a=1; b=2");
    assert_eq!(got.get_all("host").iter().collect::<Vec<_>>(), ["a.example.com"]);
    assert!(!got.contains_key("expect"));
    for (target, status) in [("http://u@a/", 400), ("http://a/x", 200)] {
        let mut request = request(Method::GET, "a", "/", &[]);
        *request.uri_mut() = target.parse().unwrap();
        assert_eq!(client.ask(request, &[], None).await.status, status, "{target}");
    }
}

#[tokio::test]
async fn errors_of_grpc_are_grpc() {
    let (mut rig, _backend) = rig("").await;
    rig.cluster("none", &[]).await;
    rig.routes(
        "- { match: { prefix: /none }, route: { cluster: none } }\n\
         - { match: { prefix: /denied }, direct_response: { status: 403, body: { inline_string: \"no: 100%\" } } }",
    )
    .await;
    let mut client = Client2::to(rig.address("http-1")).await;
    for (path, kind, status, grpc, message) in [
        ("/none", "application/grpc", 200, Some("14"), Some("no healthy upstream")),
        ("/denied", "application/grpc+proto", 200, Some("7"), Some("no: 100%25")),
        ("/x", "application/grpc", 200, Some("12"), None),
        ("/none", "application/grpc-web", 503, None, None),
        ("/none", "application/json", 503, None, None),
    ] {
        let reply = client.ask(request(Method::POST, "a", path, &[("content-type", kind)]), &["x"], None).await;
        assert_eq!(reply.status, status, "{path} {kind}");
        assert_eq!(reply.header("grpc-status"), grpc, "{path} {kind}");
        assert_eq!(reply.header("grpc-message"), message, "{path} {kind}");
        if grpc.is_some() {
            assert_eq!((reply.header("content-type"), reply.text()), (Some("application/grpc"), ""));
        }
    }
}

#[tokio::test]
async fn a_connection_has_its_last_request() {
    let (rig, _backend) = rig("common_http_protocol_options: { max_requests_per_connection: 3 }").await;
    let mut client = Client2::to(rig.address("http-1")).await;
    for _ in 0..3 {
        assert_eq!(client.get("a", "/").await.status, 200);
    }
    client.ended().await.unwrap();
}

#[tokio::test]
async fn idle_connections_are_told_to_go() {
    let (rig, _backend) = rig("common_http_protocol_options: { idle_timeout: 0.3s }").await;
    let mut client = Client2::to(rig.address("http-1")).await;
    assert_eq!(client.get("a", "/").await.status, 200);
    client.ended().await.unwrap();
    until("it is closed", || rig.metric("foregate_proxy_connections_active") == 0.0).await;
}

#[tokio::test]
async fn a_listener_that_goes_lets_requests_finish() {
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::new().await;
    rig.cluster("a", &[gate.local_addr().unwrap().port()]).await;
    let address = rig.serve(TO_A).await;
    let mut client = Client2::to(address).await;
    let (response, _) = client.start(request(Method::GET, "a", "/", &[]), true).await;
    let (mut upstream, _) = gate.accept().await.unwrap();
    rig.remove(ResourceKind::Listener, &["http-1"]).await;
    let draining = client.sender.clone();
    until("the client is told", || {
        use futures::FutureExt;
        draining.clone().ready().now_or_never().is_some_and(|ready| ready.is_err())
    })
    .await;
    use tokio::io::AsyncWriteExt;
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast").await.unwrap();
    assert_eq!(reply(response).await.unwrap().text(), "last");
    drop(draining);
    client.ended().await.unwrap();
}

#[tokio::test]
async fn slow_requests_end_alone() {
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = Backend::named("a").await;
    let mut rig = Rig::new().await;
    rig.cluster("slow", &[gate.local_addr().unwrap().port()]).await;
    rig.cluster("a", &[backend.port()]).await;
    let address = rig
        .serve_with(
            "request_timeout: 0.3s",
            "- { match: { prefix: /slow }, route: { cluster: slow, idle_timeout: 0.4s } }\n\
             - { match: { prefix: / }, route: { cluster: a } }",
        )
        .await;
    let mut client = Client2::to(address).await;
    let (unsent, _body) = client.start(request(Method::POST, "a", "/", &[]), false).await;
    let (unanswered, _) = client.start(request(Method::GET, "a", "/slow", &[]), true).await;
    let (_upstream, _) = gate.accept().await.unwrap();
    let unsent = reply(unsent).await.unwrap();
    assert_eq!((unsent.status, unsent.text()), (408, "request timeout"));
    assert_eq!(reply(unanswered).await.unwrap().status, 408);
    let headers = [("content-type", "application/grpc")];
    let (call, _body) = client.start(request(Method::POST, "a", "/", &headers), false).await;
    let call = reply(call).await.unwrap();
    assert_eq!((call.status, call.header("grpc-status")), (200, Some("2")));
    assert_eq!(client.get("a", "/").await.text(), "a", "the connection goes on");
    let class = "foregate_proxy_requests_total{instance=\"gw/local\",listener=\"http-1\",code_class=\"4xx\"}";
    until("they are counted", || rig.metric(class) == 3.0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_stream_alone() {
    let big = "x".repeat(1 << 20);
    let backend = Backend::with(move |got| answer(200, &[], if got.target == "/big" { &big } else { "a" })).await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    let address = rig.serve_with("stream_idle_timeout: 0.4s", TO_A).await;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1000).initial_connection_window_size(1 << 20);
    let mut client = Client2::built(&builder, tokio::net::TcpStream::connect(address).await.unwrap()).await;
    let (response, _) = client.start(request(Method::GET, "a", "/big", &[]), true).await;
    let (_, mut body) = response.await.unwrap().into_parts();
    let error = async {
        // Nothing is given back: after the first 1000 bytes there is no more room.
        loop {
            match body.data().await.expect("more than 1000 bytes") {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(super::client::LIMIT, error).await.expect("it is reset");
    assert!(error.is_reset(), "{error}");
    assert_eq!(client.get("a", "/").await.text(), "a", "the connection goes on");
    until("nothing is under way", || rig.metric("foregate_proxy_requests_active") == 0.0).await;
}

#[tokio::test]
async fn clients_that_give_up_are_noted() {
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::new().await;
    rig.cluster("a", &[gate.local_addr().unwrap().port()]).await;
    let address = rig.serve(TO_A).await;
    let mut client = Client2::to(address).await;
    let (response, mut stream) = client.start(request(Method::GET, "a", "/", &[]), true).await;
    let (mut upstream, _) = gate.accept().await.unwrap();
    stream.send_reset(h2::Reason::CANCEL);
    drop(response);
    let mut rest = Vec::new();
    let ended = tokio::io::AsyncReadExt::read_to_end(&mut upstream, &mut rest);
    let _ = tokio::time::timeout(super::client::LIMIT, ended).await.expect("its upstream connection is closed");
    until("nothing is under way", || rig.metric("foregate_proxy_requests_active") == 0.0).await;
    assert_eq!(rig.metric("foregate_proxy_requests_total"), 1.0);
}

#[tokio::test]
async fn a_line_is_logged_per_stream() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = crate::AccessLog::File(path.clone(), crate::LogFormat::Json);
    let backend = Backend::named("12345").await;
    let options = crate::EngineOptions { workers: 1, access_log: log, ..crate::EngineOptions::default() };
    let mut rig = Rig::with(options).await;
    rig.cluster("a", &[backend.port()]).await;
    let address = rig.serve(TO_A).await;
    let mut client = Client2::to(address).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    client.ask(request(Method::POST, "a.example.com", "/x?y", &[]), &["123"], Some(trailers)).await;
    until("it is logged", || std::fs::read_to_string(&path).is_ok_and(|text| text.lines().count() == 1)).await;
    let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!((&line["host"], &line["path"]), (&"a.example.com".into(), &"/x?y".into()));
    assert_eq!((&line["status"], &line["bytes_in"], &line["bytes_out"]), (&200.into(), &3.into(), &5.into()));
    assert_eq!((&line["route"], &line["flags"]), (&"to-a".into(), &"".into()));
    drop(client);
    rig.engine.shutdown(Duration::from_secs(1)).await;
}
