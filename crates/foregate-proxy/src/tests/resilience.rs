//! Endpoints that are slow, broken or gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use foregate_envoy::ResourceKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::backend::{Backend, answer};
use super::client::LIMIT;
use super::resources::{eds_cluster, endpoints};
use super::rig::{Rig, until};

/// Accepts connections, reads something, and does as it is told.
async fn raw(behave: impl Fn(usize) -> Option<&'static str> + Send + Sync + 'static) -> (u16, Arc<AtomicUsize>) {
    let (port, requests, _) = raw_seen(behave).await;
    (port, requests)
}

type Seen = Arc<parking_lot::Mutex<Vec<String>>>;

/// The same; and what came.
async fn raw_seen(
    behave: impl Fn(usize) -> Option<&'static str> + Send + Sync + 'static,
) -> (u16, Arc<AtomicUsize>, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(AtomicUsize::new(0));
    let (counter, behave) = (requests.clone(), Arc::new(behave));
    let seen = Seen::default();
    let note = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (counter, behave, note) = (counter.clone(), behave.clone(), note.clone());
            tokio::spawn(async move {
                let mut buffer = [0; 65536];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    note.lock().push(String::from_utf8_lossy(&buffer[..n]).into_owned());
                    let Some(text) = behave(counter.fetch_add(1, Ordering::SeqCst)) else { return };
                    if text.is_empty() {
                        std::future::pending::<()>().await;
                    }
                    stream.write_all(text.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (port, requests, seen)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_slow_endpoint_is_given_up() {
    let (silent, _) = raw(|_| Some("")).await;
    let (stuck, _) = raw(|_| Some("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")).await;
    let mut rig = Rig::new().await;
    rig.cluster("silent", &[silent]).await;
    rig.cluster("stuck", &[stuck]).await;
    rig.serve(
        "- { match: { prefix: /s }, route: { cluster: silent, timeout: 0.2s } }\n\
         - { match: { prefix: /h }, route: { cluster: stuck, timeout: 1s } }",
    )
    .await;
    let mut client = rig.client().await;
    let begin = Instant::now();
    let reply = client.get("a", "/s").await;
    assert_eq!((reply.status, &*reply.body), (504, "upstream request timeout"));
    assert!(begin.elapsed() >= Duration::from_millis(200));
    assert_eq!(client.get("a", "/s").await.status, 504, "the connection goes on");
    let half = async {
        loop {
            client.send("GET /h HTTP/1.1\r\nhost: a\r\n\r\n").await;
            match client.reply(true).await.unwrap().status {
                200 => break,
                // On a busy machine its time may be over before the response begins.
                status => assert_eq!(status, 504),
            }
            client = rig.client().await;
        }
        client.take(4).await
    };
    assert_eq!(tokio::time::timeout(LIMIT, half).await.expect("it is begun"), b"half");
    assert!(client.is_closed().await, "a response that stops is cut off, not completed");
}

#[tokio::test]
async fn retries_until_it_works_or_no_more() {
    let counter = Arc::new(AtomicUsize::new(0));
    let count = counter.clone();
    let backend = Backend::with(move |got| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        if got.target == "/always" || n < 2 { answer(503, &[], "no") } else { answer(200, &[], "yes") }
    })
    .await;
    let (broken, tries) = raw(|_| None).await;
    let (silent, silent_tries, silent_seen) = raw_seen(|_| Some("")).await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    rig.cluster("broken", &[broken]).await;
    rig.cluster("silent", &[silent]).await;
    let policy = |on: &str, more: &str| {
        format!(
            "retry_policy: {{ retry_on: \"{on}\", num_retries: 3, retry_back_off: {{ base_interval: 0.001s }} {more} }}"
        )
    };
    rig.serve(&format!(
        "- {{ match: {{ prefix: /broken }}, route: {{ cluster: broken, {} }} }}\n\
         - {{ match: {{ prefix: /silent }}, route: {{ cluster: silent, {} }} }}\n\
         - {{ match: {{ prefix: /never }}, route: {{ cluster: a, {} }} }}\n\
         - {{ match: {{ prefix: / }}, route: {{ cluster: a, {} }} }}",
        policy("reset", ""),
        policy("5xx", ", per_try_timeout: 0.3s"),
        policy("connect-failure,reset", ""),
        policy("retriable-status-codes", ", retriable_status_codes: [503]"),
    ))
    .await;
    let mut client = rig.client().await;
    let reply = client.ask("POST", "a", "/", &[], "body").await;
    assert_eq!((reply.status, &*reply.body), (200, "yes"));
    let bodies: Vec<_> = backend.got().into_iter().map(|got| got.body).collect();
    assert_eq!(bodies, ["body", "body", "body"], "every try has the whole body");
    assert_eq!(client.get("a", "/always").await.status, 503);
    assert_eq!(counter.load(Ordering::SeqCst), 3 + 4);
    assert_eq!(client.get("a", "/broken").await.status, 503);
    assert_eq!(tries.load(Ordering::SeqCst), 4);
    assert_eq!(client.get("a", "/silent").await.status, 504);
    // The endpoint may read the last try after it has been given up.
    until("all tries are seen", || silent_tries.load(Ordering::SeqCst) >= 4).await;
    assert_eq!(silent_tries.load(Ordering::SeqCst), 4);
    let seen = silent_seen.lock().clone();
    assert!(seen.iter().all(|text| text.contains("host: a") && *text == seen[0]), "all tries are the same: {seen:?}");
    counter.store(0, Ordering::SeqCst);
    assert_eq!(client.get("a", "/never").await.status, 503, "this policy doesn't name the status");
    assert_eq!(rig.metric("foregate_proxy_upstream_retries_total{instance=\"gw/local\",cluster=\"broken\"}"), 3.0);
}

#[tokio::test]
async fn a_body_that_is_too_large_to_keep_is_sent_once() {
    let backend = Backend::with(|_| answer(503, &[], "")).await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    rig.serve("- { match: { prefix: / }, route: { cluster: a, retry_policy: { retry_on: 5xx, num_retries: 2 } } }")
        .await;
    let mut client = rig.client().await;
    assert_eq!(client.ask("POST", "a", "/", &[], &"x".repeat(200_000)).await.status, 503);
    assert_eq!(backend.got().len(), 1);
    assert_eq!(backend.last().body.len(), 200_000);
}

#[tokio::test]
async fn an_idle_connection_that_went_stale_is_no_error() {
    // Answers one request per connection, without saying so, and closes when the next one comes.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(OK.as_bytes()).await;
                let _ = stream.read(&mut buffer).await;
            });
        }
    });
    let mut rig = Rig::new().await;
    rig.cluster("a", &[port]).await;
    rig.serve("- { match: { prefix: / }, route: { cluster: a } }").await;
    let mut client = rig.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("a", "/").await.body, "ok");
        assert_eq!(client.ask("PUT", "a", "/", &[], "body").await.body, "ok");
    }
}

#[tokio::test]
async fn endpoints_that_restart_cause_no_error() {
    let mut rig = Rig::new().await;
    let mut backend = Backend::named("ok").await;
    rig.cluster("a", &[backend.port()]).await;
    rig.serve("- { match: { prefix: / }, route: { cluster: a } }").await;
    let mut client = rig.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("a", "/").await.body, "ok");
        let next = Backend::named("ok").await;
        rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", &[next.port()])]).await;
        drop(std::mem::replace(&mut backend, next));
        assert_eq!(client.get("a", "/").await.body, "ok");
    }
}

#[tokio::test]
async fn connecting_takes_only_so_long() {
    // A queue of one that is full: further connections get no answer.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let fillers: Vec<_> = (0..4)
        .map(|_| {
            let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address.into());
            filler
        })
        .collect();
    let mut rig = Rig::new().await;
    let cluster = eds_cluster("a", "").body;
    let mut message: foregate_envoy::pb::envoy::config::cluster::v3::Cluster = prost::Message::decode(cluster).unwrap();
    message.connect_timeout = Some(foregate_envoy::pb::google::protobuf::Duration { seconds: 0, nanos: 200_000_000 });
    let resource = foregate_xds::client::ClientResource {
        name: "a".into(),
        version: "1".into(),
        body: prost::Message::encode_to_vec(&message).into(),
    };
    rig.set(ResourceKind::Cluster, vec![resource]).await;
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", &[address.port()])]).await;
    rig.serve("- { match: { prefix: / }, route: { cluster: a } }").await;
    let reply = rig.client().await.get("a", "/").await;
    let text = "upstream connect error or disconnect/reset before headers. reset reason: connection timeout";
    assert_eq!((reply.status, &*reply.body), (503, text));
    drop(fillers);
}

#[tokio::test]
async fn an_endpoint_that_speaks_no_http_is_a_bad_gateway() {
    let (noise, _) = raw(|_| Some("HTTP/1.1 okay\r\n\r\n")).await;
    let (twice, _) = raw(|_| Some("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")).await;
    let (unasked, _) =
        raw(|_| Some("HTTP/1.1 101 Switching Protocols\r\nupgrade: a\r\nconnection: upgrade\r\n\r\n")).await;
    let lengths = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    let (lengths, _) = raw(move |_| Some(lengths)).await;
    let endless: &'static str = Box::leak(format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(100_000)).into_boxed_str());
    let (large, _) = raw(move |_| Some(endless)).await;
    let mut rig = Rig::new().await;
    let mut routes = String::new();
    let endpoints = [("noise", noise), ("twice", twice), ("large", large), ("unasked", unasked), ("lengths", lengths)];
    for (name, port) in endpoints {
        rig.cluster(name, &[port]).await;
        routes.push_str(&format!("- {{ match: {{ path: /{name} }}, route: {{ cluster: {name} }} }}\n"));
    }
    rig.serve(&routes).await;
    let mut client = rig.client().await;
    for (name, _) in endpoints {
        assert_eq!(client.get("a", &format!("/{name}")).await.status, 502, "{name}");
    }
}

#[tokio::test]
async fn a_broken_body_never_passes_for_a_whole_one() {
    let backend = Backend::named("a").await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    rig.serve(
        "- { match: { prefix: / }, route: { cluster: a, retry_policy: { retry_on: \"5xx,reset,connect-failure\", num_retries: 3 } } }",
    )
    .await;
    for text in [
        "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
        "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcdef\r\n",
    ] {
        let mut client = rig.client().await;
        client.send(text).await;
        let reply = client.reply(false).await;
        assert!(reply.is_none_or(|reply| reply.status >= 400), "{text}");
    }
    assert!(backend.got().is_empty());
}

#[tokio::test]
async fn limits_of_a_cluster_are_kept() {
    let (silent, _) = raw(|_| Some("")).await;
    let mut rig = Rig::with(crate::EngineOptions { workers: 1, ..crate::EngineOptions::default() }).await;
    rig.set(ResourceKind::Cluster, vec![eds_cluster("a", "circuit_breakers: { thresholds: [{ max_requests: 1 }] }")])
        .await;
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", &[silent])]).await;
    rig.serve("- { match: { prefix: / }, route: { cluster: a, timeout: 600s } }").await;
    let (mut one, mut two) = (rig.client().await, rig.client().await);
    one.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("the first request is under way", || rig.metric("foregate_proxy_requests_active") == 1.0).await;
    until("its connection is there", || rig.metric("foregate_proxy_upstream_connections_active") == 1.0).await;
    let reply = two.get("a", "/").await;
    assert_eq!(reply.status, 503);
    assert!(reply.body.ends_with("overflow"), "{}", reply.body);
}

#[tokio::test]
async fn websockets_pass_where_they_may() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let n = stream.read(&mut buffer).await.unwrap();
                let head = String::from_utf8_lossy(&buffer[..n]).to_ascii_lowercase();
                if !head.contains("upgrade: websocket") || !head.contains("connection: upgrade") {
                    let _ = stream.write_all(OK.as_bytes()).await;
                    return;
                }
                let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nearly";
                stream.write_all(head.as_bytes()).await.unwrap();
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..n]).await.unwrap();
                }
            });
        }
    });
    let mut rig = Rig::new().await;
    rig.cluster("a", &[port]).await;
    rig.serve_with(
        "upgrade_configs: [{ upgrade_type: websocket }]",
        "- { match: { prefix: /off }, route: { cluster: a, upgrade_configs: [{ upgrade_type: websocket, enabled: false }] } }\n\
         - { match: { prefix: / }, route: { cluster: a } }",
    )
    .await;
    let ask = |path| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n");
    let mut client = rig.client().await;
    client.send(ask("/off")).await;
    assert_eq!(client.reply(false).await.unwrap().status, 403);
    let mut client = rig.client().await;
    client.send(ask("/")).await;
    let reply = client.reply(true).await.unwrap();
    assert_eq!((reply.status, reply.header("upgrade")), (101, Some("websocket")));
    client.send("hello").await;
    let echo = client.take(10).await;
    assert_eq!(String::from_utf8(echo).unwrap(), "earlyhello");
}

#[tokio::test]
async fn endpoints_that_only_fail_are_left_out_for_a_while() {
    let bad = Backend::with(|_| answer(500, &[], "bad")).await;
    let (good, other) = (Backend::named("good").await, Backend::named("other").await);
    let mut rig = Rig::with(crate::EngineOptions { workers: 1, ..crate::EngineOptions::default() }).await;
    let outlier = "outlier_detection: { consecutive_5xx: 3, enforcing_success_rate: 0, base_ejection_time: 3s, \
                   max_ejection_percent: 50 }";
    rig.set(ResourceKind::Cluster, vec![eds_cluster("c", outlier)]).await;
    let ports = [bad.port(), good.port(), other.port()];
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("c", &ports)]).await;
    rig.serve("[{ match: { prefix: / }, route: { cluster: c } }]").await;
    let mut client = rig.client().await;
    for _ in 0..9 {
        client.get("a", "/").await;
    }
    assert_eq!(bad.got().len(), 3, "every third is for each, until it is left out");
    until("it is counted", || rig.metric("foregate_proxy_upstream_ejections_total") == 1.0).await;
    // Later it gets another chance.
    let end = Instant::now() + LIMIT;
    while bad.got().len() == 3 {
        assert!(Instant::now() < end, "it is left out for ever");
        client.get("a", "/").await;
    }
}
