//! What can't have reached an endpoint goes to another one, as translation asks for it by default.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foregate_envoy::ResourceKind;
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::backend::Backend;
use super::resources::{eds_cluster, endpoints, host};
use super::rig::Rig;

const POLICY: &str = r#"retry_policy:
  retry_on: connect-failure,refused-stream
  num_retries: 1
  host_selection_retry_max_attempts: 5
  retry_host_predicate:
  - name: previous_hosts
    typed_config: { "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate }
"#;

/// A port that nobody listens on, for as long as the socket is there.
fn refusing() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

/// Serves routes in a virtual host with the policy.
async fn serve(rig: &mut Rig, routes: &str) {
    rig.serve("[]").await;
    rig.set(ResourceKind::VirtualHost, vec![host("rc", "*", &format!("{routes}\n{POLICY}"))]).await;
}

fn failures(rig: &Rig) -> f64 {
    rig.metric("foregate_proxy_upstream_connect_failures_total")
}

#[tokio::test]
async fn another_endpoint_gets_what_one_refuses() {
    let backend = Backend::named("ok").await;
    let (_held, dead) = refusing();
    let mut rig = Rig::new().await;
    rig.cluster("a", &[dead, backend.port()]).await;
    serve(&mut rig, "[{ match: { prefix: / }, route: { cluster: a } }]").await;
    let large = "x".repeat(200_000);
    let mut sent = Vec::new();
    for round in 0..10 {
        for (method, body) in [("GET", ""), ("POST", "small"), ("PUT", "small"), ("POST", large.as_str())] {
            // On a connection of its own, so that both workers get some.
            let reply = rig.client().await.ask(method, "a", &format!("/{round}"), &[], body).await;
            assert_eq!((reply.status, &*reply.body), (200, "ok"), "{method} {} bytes", body.len());
            sent.push((method.to_owned(), body.len()));
        }
    }
    let got: Vec<_> = backend.got().into_iter().map(|got| (got.method, got.body.len())).collect();
    assert_eq!(got, sent, "each came once, and whole");
    assert!(failures(&rig) >= 1.0, "one refuses");
}

#[tokio::test]
async fn once_more_and_no_more() {
    let ((_one, first), (_two, second)) = (refusing(), refusing());
    let mut rig = Rig::new().await;
    rig.cluster("a", &[first, second]).await;
    serve(
        &mut rig,
        "[{ match: { path: /never }, route: { cluster: a, retry_policy: { num_retries: 0 } } },\
         { match: { prefix: / }, route: { cluster: a } }]",
    )
    .await;
    let mut client = rig.client().await;
    assert_eq!(client.ask("POST", "a", "/", &[], "body").await.status, 503);
    assert_eq!(failures(&rig), 2.0);
    assert_eq!(client.ask("POST", "a", "/never", &[], "body").await.status, 503);
    assert_eq!(failures(&rig), 3.0, "a route's own policy takes the place of its host's");
}

#[tokio::test]
async fn what_an_endpoint_has_seen_is_not_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let read = stream.read(&mut [0; 4096]).await.unwrap_or(0);
            count.fetch_add(usize::from(read > 0), Ordering::SeqCst);
        }
    });
    let backend = Backend::named("ok").await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[port, backend.port()]).await;
    serve(&mut rig, "[{ match: { prefix: / }, route: { cluster: a } }]").await;
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(rig.client().await.ask("POST", "a", "/", &[], "body").await.status);
    }
    let lost = statuses.iter().filter(|status| **status == 503).count();
    assert!(lost > 0, "the one that closes gets its turn: {statuses:?}");
    assert_eq!(seen.load(Ordering::SeqCst), lost);
    assert_eq!(backend.got().len(), 10 - lost);
}

#[tokio::test]
async fn an_endpoint_that_goes_takes_nothing_along() {
    for _ in 0..5 {
        let (stays, goes) = (Backend::named("stays").await, Backend::named("goes").await);
        let mut rig = Rig::new().await;
        rig.set(ResourceKind::Cluster, vec![eds_cluster("a", "")]).await;
        rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", &[stays.port(), goes.port()])]).await;
        serve(&mut rig, "[{ match: { prefix: / }, route: { cluster: a } }]").await;
        let mut client = rig.client().await;
        for _ in 0..4 {
            assert_eq!(client.get("a", "/").await.status, 200);
            assert_eq!(client.ask("PUT", "a", "/", &[], "body").await.status, 200);
        }
        drop(goes);
        for _ in 0..6 {
            // Over the connections that are kept, and over new ones.
            assert_eq!(client.get("a", "/").await.status, 200);
            assert_eq!(client.ask("PUT", "a", "/", &[], "body").await.status, 200);
        }
    }
}
