//! Routing and forwarding.

use foregate_envoy::ResourceKind;

use super::backend::{Backend, answer};
use super::client::Client;
use super::resources::{endpoints, host, listener, rds, shell};
use super::rig::Rig;

const TO_A: &str = "- { match: { prefix: / }, route: { cluster: a } }";

#[tokio::test]
async fn a_request_travels_to_its_endpoint_and_back() {
    let backend = Backend::with(|_| answer(200, &[("x-own", "1"), ("connection", "keep-alive")], "hello")).await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    let address = rig.serve(TO_A).await;
    let mut client = Client::to(address).await;
    for _ in 0..3 {
        let reply = client.ask("GET", "a.example.com", "/x?y=1", &[("x-mine", "2"), ("keep-alive", "x")], "").await;
        assert_eq!((reply.status, &*reply.body), (200, "hello"));
        assert_eq!(reply.header("x-own"), Some("1"));
        assert_eq!(reply.header("server"), Some("envoy"));
        assert_eq!(reply.header("connection"), None);
    }
    let got = backend.last();
    assert_eq!((&*got.method, &*got.target), ("GET", "/x?y=1"));
    assert_eq!(got.headers["host"], "a.example.com");
    assert_eq!(got.headers["x-mine"], "2");
    assert_eq!(got.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(got.headers["x-forwarded-proto"], "http");
    assert_eq!(got.headers["x-request-id"].len(), 36);
    assert!(!got.headers.contains_key("keep-alive"));
    assert_eq!(backend.connections.load(std::sync::atomic::Ordering::SeqCst), 1, "connections are used again");
    rig.engine.shutdown(std::time::Duration::from_secs(1)).await;
}

#[tokio::test]
async fn paths_and_hosts_choose_the_route() {
    let (a, b) = (Backend::named("a").await, Backend::named("b").await);
    let mut rig = Rig::new().await;
    rig.cluster("a", &[a.port()]).await;
    rig.cluster("b", &[b.port()]).await;
    rig.set(ResourceKind::Listener, vec![listener("http-1", 0, &rds("rc"), "")]).await;
    rig.set(ResourceKind::RouteConfiguration, vec![shell("rc")]).await;
    rig.set(
        ResourceKind::VirtualHost,
        vec![
            host(
                "rc",
                "a.example.com",
                "- { match: { path: /b }, route: { cluster: b } }\n- { match: { prefix: / }, route: { cluster: a } }",
            ),
            host("rc", "*.example.com", "- { match: { path_separated_prefix: /b }, route: { cluster: b } }"),
        ],
    )
    .await;
    let mut client = rig.client().await;
    for (name, path, want) in [
        ("a.example.com", "/", "a"),
        ("a.example.com", "/b", "b"),
        ("a.example.com", "/b/c", "a"),
        ("A.Example.COM:8080", "/b", "b"),
        ("x.example.com", "/b/c", "b"),
    ] {
        assert_eq!(client.get(name, path).await.body, want, "{name}{path}");
    }
    for (name, path) in [("x.example.com", "/bc"), ("example.com", "/b"), ("other", "/")] {
        assert_eq!(client.get(name, path).await.status, 404, "{name}{path}");
    }
}

#[tokio::test]
async fn bodies_pass_in_both_directions() {
    let backend = Backend::with(|got| answer(200, &[], &String::from_utf8_lossy(&got.body))).await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    rig.serve(TO_A).await;
    let mut client = rig.client().await;
    for size in [1, 1000, 100_000, 3_000_000] {
        let body = "x".repeat(size);
        for method in ["POST", "PUT"] {
            let reply = client.ask(method, "a", "/", &[], &body).await;
            assert_eq!(reply.body.len(), size);
            assert_eq!(backend.last().headers["content-length"], size.to_string());
        }
    }
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    assert_eq!(client.reply(false).await.unwrap().body, "hello");
    assert_eq!(backend.last().headers["transfer-encoding"], "chunked");
    let reply = client.ask("HEAD", "a", "/", &[], "").await;
    assert_eq!(reply.status, 200);
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n").await;
    assert_eq!(client.reply(true).await.unwrap().status, 100);
    client.send("ok").await;
    assert_eq!(client.reply(false).await.unwrap().body, "ok");
    assert!(!backend.last().headers.contains_key("expect"));
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_so() {
    let mut rig = Rig::new().await;
    rig.cluster("empty", &[]).await;
    let (_kept, closed) = super::tcp::closed_port();
    rig.cluster("closed", &[closed]).await;
    rig.serve(
        "- { match: { path: /empty }, route: { cluster: empty } }\n\
         - { match: { path: /closed }, route: { cluster: closed } }\n\
         - { match: { path: /missing }, route: { cluster: missing } }\n\
         - { match: { path: /missing404 }, route: { cluster: missing, cluster_not_found_response_code: NOT_FOUND } }",
    )
    .await;
    let mut client = rig.client().await;
    let empty = client.get("a", "/empty").await;
    assert_eq!((empty.status, &*empty.body), (503, "no healthy upstream"));
    let closed = client.get("a", "/closed").await;
    let text = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";
    assert_eq!((closed.status, &*closed.body), (503, text));
    assert_eq!(client.get("a", "/missing").await.status, 503);
    assert_eq!(client.get("a", "/missing404").await.status, 404);
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("empty", &[Backend::named("now").await.port()])]).await;
}
