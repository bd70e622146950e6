//! HTTP/2 to endpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use foregate_envoy::ResourceKind;
use h2::Reason;
use h2::server::Builder;
use http::{Method, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::backend::{Backend, answer};
use super::backend2::{Backend2, echo, serve, trailers};
use super::client::LIMIT;
use super::client2::{Client2, read_all, reply, request};
use super::resources::{eds_cluster, endpoints};
use super::rig::{Rig, until};

const TO_A: &str = "- { match: { prefix: / }, route: { cluster: a, timeout: 20s } }";

/// Options of a cluster: `explicit_http_config: { http2_protocol_options: {} }`, say.
pub(super) fn options(text: &str) -> String {
    format!(
        "typed_extension_protocol_options: {{ envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, {text} }} }}"
    )
}

fn http2(more: &str) -> String {
    options(&format!("explicit_http_config: {{ http2_protocol_options: {{ {more} }} }}"))
}

/// One worker, so that what requests share can be counted.
async fn rig(port: u16, cluster: &str, routes: &str) -> Rig {
    let mut rig = Rig::with(crate::EngineOptions { workers: 1, ..crate::EngineOptions::default() }).await;
    rig.set(ResourceKind::Cluster, vec![eds_cluster("a", cluster)]).await;
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", &[port])]).await;
    rig.serve(routes).await;
    rig
}

#[tokio::test]
async fn requests_share_a_connection() {
    let backend = Backend2::with(Builder::new(), echo).await;
    let rig = rig(backend.port(), &http2(""), TO_A).await;
    let mut client = rig.client().await;
    for _ in 0..3 {
        let reply = client
            .ask("POST", "a.example.com:80", "/x?y", &[("connection", "keep-alive, te"), ("te", "trailers")], "body")
            .await;
        assert_eq!((reply.status, &*reply.body), (200, "POST /x?y a.example.com:80 body"));
        assert_eq!(reply.header("got-content-length"), Some("4"));
        assert_eq!(reply.header("got-scheme"), Some("http"));
        for gone in ["got-host", "got-connection", "got-transfer-encoding"] {
            assert_eq!(reply.header(gone), None, "{gone}");
        }
    }
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    let reply = client.reply(false).await.unwrap();
    assert_eq!((&*reply.body, reply.header("got-content-length")), ("POST / a hello", None));
    let all: Vec<_> = (0..20).map(|_| async { rig.client().await.get("a", "/").await.body }).collect();
    assert!(futures::future::join_all(all).await.iter().all(|body| body == "GET / a "));
    assert_eq!(backend.made(), 1);
}

#[tokio::test]
async fn grpc_flows_both_ways_at_once() {
    let backend = Backend2::with(Builder::new(), |request, mut respond| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let mut body = request.into_body();
        let mut out = respond.send_response(Response::new(()), false).unwrap();
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
            out.send_data(data, false).unwrap();
        }
        let got = body.trailers().await.unwrap();
        let mut end = trailers("grpc-status", "0");
        end.extend(got.into_iter().flatten().map(|(name, value)| (name.unwrap(), value)));
        out.send_trailers(end).unwrap();
    })
    .await;
    let rig = rig(backend.port(), &http2(""), TO_A).await;
    let mut client = Client2::to(rig.address("http-1")).await;
    let call = request(Method::POST, "a", "/x.Y/Z", &[("te", "trailers"), ("content-type", "application/grpc")]);
    let (response, mut out) = client.start(call, false).await;
    let response = tokio::time::timeout(LIMIT, response).await.expect("a response before the request's end").unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    for text in ["one", "two", "three"] {
        out.send_data(Bytes::from_static(text.as_bytes()), false).unwrap();
        let data = tokio::time::timeout(LIMIT, body.data()).await.expect("an answer to each part").unwrap().unwrap();
        assert_eq!(data, text);
    }
    out.send_trailers(trailers("x-mine", "1")).unwrap();
    assert_eq!(read_all(&mut body).await.unwrap(), b"");
    let end = body.trailers().await.unwrap().unwrap();
    assert_eq!((&end["grpc-status"], &end["x-mine"]), (&"0".parse().unwrap(), &"1".parse().unwrap()));
}

#[tokio::test]
async fn a_response_may_be_all_head_or_come_early() {
    let backend = Backend2::with(Builder::new(), |request, mut respond| async move {
        let mut response = Response::new(());
        if request.uri().path() == "/head" {
            response.headers_mut().insert("grpc-status", "12".parse().unwrap());
            respond.send_response(response, true).unwrap();
            return;
        }
        // The request isn't read, which is told with a reset without an error: RFC 9113 §8.1.
        *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
        let mut out = respond.send_response(response, false).unwrap();
        out.send_data(Bytes::from_static(b"no"), true).unwrap();
    })
    .await;
    let rig = rig(backend.port(), &http2(""), TO_A).await;
    let mut client = Client2::to(rig.address("http-1")).await;
    let call = request(Method::POST, "a", "/head", &[("te", "trailers"), ("content-type", "application/grpc")]);
    let reply_head = client.ask(call, &["x"], None).await;
    assert_eq!((reply_head.status, reply_head.header("grpc-status"), reply_head.text()), (200, Some("12"), ""));
    let (response, mut out) = client.start(request(Method::POST, "a", "/early", &[]), false).await;
    out.send_data(Bytes::from_static(b"begin"), false).unwrap();
    let early = reply(response).await.unwrap();
    assert_eq!((early.status, early.text()), (413, "no"));
    let mut one = rig.client().await;
    one.send("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await;
    assert_eq!(one.reply(false).await.unwrap().body, "no");
}

#[tokio::test]
async fn an_endpoint_says_how_many_streams_it_takes() {
    let builder = Builder::new().max_concurrent_streams(1).clone();
    let waiting = Arc::new(AtomicUsize::new(0));
    let (gate, count) = (Arc::new(tokio::sync::Notify::new()), waiting.clone());
    let open = gate.clone();
    let backend = Backend2::with(builder, move |request, respond| {
        let (gate, count) = (gate.clone(), count.clone());
        async move {
            if request.uri().path() == "/wait" {
                count.fetch_add(1, Ordering::SeqCst);
                gate.notified().await;
            }
            echo(request, respond).await;
        }
    })
    .await;
    let rig = rig(backend.port(), &http2(""), TO_A).await;
    let asks = (0..3).map(|_| async { rig.client().await.get("a", "/wait").await.status });
    let asks = futures::future::join_all(asks);
    let released = async {
        until("all three are under way", || waiting.load(Ordering::SeqCst) == 3).await;
        assert_eq!(backend.made(), 3, "each has a connection of its own");
        (0..3).for_each(|_| open.notify_one());
    };
    let (statuses, ()) = futures::future::join(asks, released).await;
    assert_eq!(statuses, [200, 200, 200]);
    for _ in 0..5 {
        assert_eq!(rig.client().await.get("a", "/").await.status, 200);
    }
    assert!(backend.made() <= 3, "connections are used again");
}

#[tokio::test]
async fn an_endpoint_that_goes_away_costs_no_request() {
    // Every connection says after its third request that it takes no more.
    let backend = Backend2::raw(|_, stream| async move {
        let mut connection = Builder::new().handshake(stream).await.unwrap();
        for served in 0.. {
            let Some(Ok((request, respond))) = connection.accept().await else { return };
            if served == 2 {
                connection.graceful_shutdown();
            }
            tokio::spawn(echo(request, respond));
        }
    })
    .await;
    let rig = rig(backend.port(), &http2(""), TO_A).await;
    let asks = (0..40).map(|_| async {
        let mut client = rig.client().await;
        let first = client.ask("POST", "a", "/", &[], "body").await.body;
        (first, client.get("a", "/").await.body)
    });
    for (first, second) in futures::future::join_all(asks).await {
        assert_eq!((&*first, &*second), ("POST / a body", "GET / a "));
    }
    assert!(backend.made() > 1);
}

#[tokio::test]
async fn what_an_endpoint_refuses_goes_there_again_but_not_for_ever() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let backend = Backend2::with(Builder::new(), move |request, mut respond| {
        let tried = count.fetch_add(1, Ordering::SeqCst);
        async move {
            match request.uri().path() {
                "/once" if tried == 0 => respond.send_reset(Reason::REFUSED_STREAM),
                "/always" => respond.send_reset(Reason::REFUSED_STREAM),
                "/broken" => respond.send_reset(Reason::INTERNAL_ERROR),
                _ => echo(request, respond).await,
            }
        }
    })
    .await;
    let rig = rig(backend.port(), &http2(""), TO_A).await;
    let mut client = rig.client().await;
    assert_eq!(client.ask("POST", "a", "/once", &[], "body").await.body, "POST /once a body");
    for (path, most) in [("/always", 3), ("/broken", 1)] {
        tries.store(1, Ordering::SeqCst);
        assert_eq!(client.ask("POST", "a", path, &[], "body").await.status, 503, "{path}");
        assert_eq!(tries.load(Ordering::SeqCst), 1 + most, "{path}");
    }
    assert_eq!(client.get("a", "/").await.status, 200, "others on the connection go on");
}

#[tokio::test]
async fn a_slow_endpoint_slows_the_client() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let opened = gate.clone();
    let backend = Backend2::with(Builder::new(), move |request, respond| {
        let gate = gate.clone();
        async move {
            gate.notified().await;
            echo(request, respond).await;
        }
    })
    .await;
    let rig = rig(backend.port(), &http2(""), TO_A).await;
    let mut client = Client2::to(rig.address("http-1")).await;
    let (response, mut out) = client.start(request(Method::POST, "a", "/", &[]), false).await;
    let part = Bytes::from(vec![b'x'; 64 * 1024]);
    let mut sent = 0;
    // Whatever the engine and the kernel hold, the client can't send on and on.
    let stuck = tokio::time::timeout(Duration::from_millis(500), async {
        while sent < 64 << 20 {
            out.reserve_capacity(part.len());
            let granted = std::future::poll_fn(|cx| out.poll_capacity(cx)).await.unwrap().unwrap();
            let part = part.slice(..granted.min(part.len()));
            sent += part.len();
            out.send_data(part, false).unwrap();
        }
    });
    assert!(stuck.await.is_err(), "{sent} bytes went through");
    assert!(sent < 16 << 20, "{sent} bytes are held");
    opened.notify_one();
    out.send_data(Bytes::new(), true).unwrap();
    let reply = reply(response).await.unwrap();
    assert_eq!(reply.body.len(), "POST / a ".len() + sent);
}

#[tokio::test]
async fn the_clients_protocol_may_decide() {
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let seen = counts.clone();
    // Looks at the first bytes: HTTP/2 begins with PRI.
    let backend = Backend2::raw(move |_, mut stream| {
        let seen = seen.clone();
        async move {
            let mut first = [0; 3];
            stream.peek(&mut first).await.unwrap();
            seen[usize::from(&first == b"PRI")].fetch_add(1, Ordering::SeqCst);
            if &first == b"PRI" {
                let mut connection = Builder::new().handshake(stream).await.unwrap();
                return serve(&mut connection, &echo).await;
            }
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none").await;
        }
    })
    .await;
    let rig =
        rig(backend.port(), &options("use_downstream_protocol_config: { http2_protocol_options: {} }"), TO_A).await;
    assert_eq!(rig.client().await.get("a", "/").await.body, "one");
    let mut two = Client2::to(rig.address("http-1")).await;
    assert_eq!(two.get("a", "/").await.text(), "GET / a ");
    assert_eq!([&counts[0], &counts[1]].map(|count| count.load(Ordering::SeqCst)), [1, 1]);
}

#[tokio::test]
async fn an_endpoint_that_answers_no_ping_is_gone() {
    // Shakes hands, and says nothing more.
    let backend = Backend2::raw(|_, mut stream| async move {
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut buffer = [0; 4096];
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
    })
    .await;
    let keepalive = "connection_keepalive: { interval: 0.05s, timeout: 0.05s }";
    let patient = "- { match: { prefix: / }, route: { cluster: a, timeout: 600s } }";
    let rig = rig(backend.port(), &http2(keepalive), patient).await;
    assert_eq!(rig.client().await.get("a", "/").await.status, 503, "it doesn't wait for the route's timeout");
}

#[tokio::test]
async fn what_speaks_no_http2_is_no_endpoint() {
    let backend = Backend::with(|_| answer(200, &[], "one")).await;
    let rig = rig(backend.port(), &http2(""), TO_A).await;
    let reply = rig.client().await.get("a", "/").await;
    assert!(matches!(reply.status, 502 | 503), "{reply:?}");
}

#[tokio::test]
async fn connections_have_a_last_request() {
    let backend = Backend2::with(Builder::new(), echo).await;
    let cluster = options(
        "common_http_protocol_options: { max_requests_per_connection: 2 }, explicit_http_config: { http2_protocol_options: {} }",
    );
    let rig = rig(backend.port(), &cluster, TO_A).await;
    let mut client = rig.client().await;
    for _ in 0..6 {
        assert_eq!(client.get("a", "/").await.status, 200);
    }
    assert_eq!(backend.made(), 3);
    until("only the last is open", || rig.metric("foregate_proxy_upstream_connections_active") <= 1.0).await;
}

#[tokio::test]
async fn connections_that_nobody_uses_close() {
    let two = Backend2::with(Builder::new(), echo).await;
    let one = Backend::with(|_| answer(200, &[], "one")).await;
    for common in ["idle_timeout: 0.2s", "max_connection_duration: 0.2s"] {
        let common = format!("common_http_protocol_options: {{ {common} }}");
        let all = [
            (two.port(), options(&format!("{common}, explicit_http_config: {{ http2_protocol_options: {{}} }}"))),
            (one.port(), options(&format!("{common}, explicit_http_config: {{ http_protocol_options: {{}} }}"))),
        ];
        let rigs = all.iter().map(|(port, cluster)| async move {
            let rig = rig(*port, cluster, TO_A).await;
            assert_eq!(rig.client().await.get("a", "/").await.status, 200);
            // On a busy machine it may be closed already.
            assert!(rig.metric("foregate_proxy_upstream_connections_total") >= 1.0);
            until("it is closed", || rig.metric("foregate_proxy_upstream_connections_active") == 0.0).await;
            assert_eq!(rig.client().await.get("a", "/").await.status, 200);
        });
        futures::future::join_all(rigs).await;
    }
}
