//! Which endpoint a request goes to, and how many may go there.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foregate_envoy::ResourceKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::backend::Backend;
use super::client::Reply;
use super::resources::{eds_cluster, endpoints};
use super::rig::{Rig, until};

async fn rig(ports: &[u16], cluster: &str, routes: &str) -> Rig {
    let mut rig = Rig::with(crate::EngineOptions { workers: 1, ..crate::EngineOptions::default() }).await;
    rig.set(ResourceKind::Cluster, vec![eds_cluster("a", cluster)]).await;
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", ports)]).await;
    rig.serve(routes).await;
    rig
}

fn route(policies: &str) -> String {
    format!("- {{ match: {{ prefix: / }}, route: {{ cluster: a, hash_policy: [{policies}] }} }}")
}

async fn backends() -> [Backend; 3] {
    [Backend::named("0").await, Backend::named("1").await, Backend::named("2").await]
}

/// All that answer a request with these headers, asked often, each time over a connection of its own.
async fn answers(rig: &Rig, target: &str, headers: &[(&str, &str)]) -> HashSet<String> {
    let mut seen = HashSet::new();
    for _ in 0..30 {
        seen.insert(rig.client().await.ask("GET", "a", target, headers, "").await.body);
    }
    seen
}

#[tokio::test]
async fn what_belongs_together_stays_together() {
    let backends = backends().await;
    let ports = [backends[0].port(), backends[1].port(), backends[2].port()];
    for policy in ["RING_HASH", "MAGLEV"] {
        let policies = "{ header: { header_name: x-user }, terminal: true }, { query_parameter: { name: q } }";
        let mut rig = rig(&ports, &format!("lb_policy: {policy}"), &route(policies)).await;
        let mut owners = HashSet::new();
        for user in 0..20 {
            let user = format!("user-{user}");
            let seen = answers(&rig, "/?q=x", &[("x-user", &user)]).await;
            assert_eq!(seen.len(), 1, "{user} is at {seen:?}");
            owners.extend(seen);
        }
        assert_eq!(owners.len(), 3, "{policy}: users are at {owners:?}");
        assert_eq!(answers(&rig, "/?q=7", &[]).await.len(), 1);
        assert_eq!(answers(&rig, "/", &[]).await.len(), 3, "what belongs nowhere goes anywhere");
        let before = answers(&rig, "/", &[("x-user", "user-1")]).await;
        let stay: Vec<u16> =
            ports.iter().enumerate().filter(|(i, _)| before.contains(&i.to_string())).map(|(_, p)| *p).collect();
        rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", &stay)]).await;
        assert_eq!(answers(&rig, "/", &[("x-user", "user-1")]).await, before);
    }
    // The client's address: all come from the same.
    let rig = rig(&ports, "lb_policy: RING_HASH", &route("{ connection_properties: { source_ip: true } }")).await;
    assert_eq!(answers(&rig, "/", &[]).await.len(), 1);
}

fn cookie(reply: &Reply) -> String {
    reply.header("set-cookie").expect("a cookie").to_owned()
}

#[tokio::test]
async fn a_cookie_keeps_a_client_at_its_endpoint() {
    let backends = backends().await;
    let ports = [backends[0].port(), backends[1].port(), backends[2].port()];
    let policy = "{ cookie: { name: sticky, ttl: 60s, path: /p, attributes: [{ name: SameSite, value: Strict }] } }";
    let rig = rig(&ports, "lb_policy: MAGLEV", &route(policy)).await;
    let mut owners = HashSet::new();
    for _ in 0..20 {
        let first = rig.client().await.get("a", "/").await;
        let set = cookie(&first);
        let (pair, attributes) = set.split_once("; ").unwrap();
        assert_eq!(attributes, "Max-Age=60; Path=/p; SameSite=Strict; HttpOnly");
        assert!(pair.starts_with("sticky=\"") && pair.len() == "sticky=\"\"".len() + 16, "{pair}");
        for pair in [pair.to_owned(), pair.replace('"', "")] {
            let again = rig.client().await.ask("GET", "a", "/", &[("cookie", &format!("x=1; {pair}"))], "").await;
            assert_eq!(
                (again.body, again.headers.iter().any(|(name, _)| name == "set-cookie")),
                (first.body.clone(), false)
            );
        }
        owners.insert(first.body);
    }
    assert!(owners.len() > 1, "clients are spread: {owners:?}");
}

#[tokio::test]
async fn requests_wait_for_a_connection_where_they_are_few() {
    // Counts how many connections there are at a time.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let made = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (count, open) = (made.clone(), gate.clone());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let gate = gate.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    gate.acquire().await.unwrap().forget();
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                }
            });
        }
    });
    let limits = "circuit_breakers: { thresholds: [{ max_connections: 1, max_pending_requests: 2 }] }";
    let rig = rig(&[port], limits, "- { match: { prefix: / }, route: { cluster: a } }").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = rig.client().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        clients.push(client);
        let all = clients.len() as f64;
        until("the request is under way", || rig.metric("foregate_proxy_requests_active") == all).await;
    }
    until("one is connected", || made.load(Ordering::SeqCst) == 1).await;
    let reply = rig.client().await.get("a", "/").await;
    assert_eq!((reply.status, reply.header("x-envoy-overloaded")), (503, Some("true")), "two wait, no third");
    open.add_permits(3);
    for mut client in clients {
        assert_eq!(client.reply(false).await.unwrap().body, "ok");
    }
    assert_eq!(made.load(Ordering::SeqCst), 1, "all went over one connection");
}

#[tokio::test]
async fn what_went_wrong_is_said_in_envoys_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closes = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
            });
        }
    });
    let retry = "retry_policy: { retry_on: 5xx, num_retries: 1, retry_back_off: { base_interval: 0.001s } }";
    let routes = format!(
        "- {{ match: {{ path: /retry }}, route: {{ cluster: a, {retry} }} }}\n- {{ match: {{ prefix: / }}, route: {{ cluster: a }} }}"
    );
    let rig = rig(&[closes], "", &routes).await;
    let begin = "upstream connect error or disconnect/reset before headers.";
    for (path, want) in [
        ("/", "reset reason: connection termination"),
        ("/retry", "retried and the latest reset reason: connection termination"),
    ] {
        assert_eq!(rig.client().await.get("a", path).await.body, format!("{begin} {want}"), "{path}");
    }
}

#[tokio::test]
async fn an_idle_connection_makes_room_for_another_kind() {
    let backend = Backend::named("ok").await;
    let limits = "circuit_breakers: { thresholds: [{ max_connections: 1 }] }";
    let rig = rig(&[backend.port()], limits, "- { match: { prefix: / }, route: { cluster: a } }").await;
    let mut client = rig.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("a", "/").await.body, "ok");
        assert_eq!(client.ask("POST", "a", "/", &[], "body").await.body, "ok");
        assert!(rig.metric("foregate_proxy_upstream_connections_active") <= 1.0);
    }
}
