//! Endpoints with host names.

use foregate_envoy::ResourceKind;
use foregate_xds::client::ClientResource;

use super::backend::Backend;
use super::resources::resource;
use super::rig::{Rig, until};

const TO_A: &str = "- { match: { prefix: / }, route: { cluster: a } }";

/// A cluster whose endpoints are these names and ports.
fn named(kind: &str, endpoints: &[(&str, u16)], more: &str) -> ClientResource {
    let list: Vec<String> = endpoints
        .iter()
        .map(|(name, port)| {
            format!("{{ endpoint: {{ address: {{ socket_address: {{ address: {name}, port_value: {port} }} }} }} }}")
        })
        .collect();
    let yaml = format!(
        "name: a\ntype: {kind}\nconnect_timeout: 1s\ndns_refresh_rate: 0.1s\n{more}\n\
         load_assignment: {{ cluster_name: a, endpoints: [{{ lb_endpoints: [{}] }}] }}",
        list.join(", ")
    );
    resource(ResourceKind::Cluster, "a", &yaml)
}

async fn rig() -> Rig {
    let mut rig = Rig::new().await;
    rig.serve(TO_A).await;
    rig
}

#[tokio::test]
async fn a_name_is_found_before_the_first_request_goes_there() {
    let backend = Backend::named("ok").await;
    let mut rig = rig().await;
    rig.names.set("a.test", Some(&["127.0.0.1"]));
    rig.set(ResourceKind::Cluster, vec![named("STRICT_DNS", &[("a.test", backend.port())], "")]).await;
    // At once: whether the name has been looked up already is nobody's business.
    assert_eq!(rig.client().await.get("a", "/").await.body, "ok");
}

#[tokio::test]
async fn addresses_follow_the_name_and_outlive_its_failures() {
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let mut rig = rig().await;
    rig.names.set("one.test", Some(&["127.0.0.1"]));
    rig.names.set("two.test", None);
    let endpoints = [("one.test", one.port()), ("two.test", two.port())];
    rig.set(ResourceKind::Cluster, vec![named("STRICT_DNS", &endpoints, "")]).await;
    let mut client = rig.client().await;
    for _ in 0..4 {
        assert_eq!(client.get("a", "/").await.body, "one", "what can't be found is left out");
    }
    rig.names.set("two.test", Some(&["127.0.0.1"]));
    rig.names.set("one.test", None);
    let mut seen = Vec::new();
    while !seen.contains(&"two".to_owned()) {
        let reply = client.get("a", "/").await;
        assert_eq!(reply.status, 200);
        seen.push(reply.body);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let before = rig.names.lookups("one.test");
    until("more lookups fail", || rig.names.lookups("one.test") > before + 2).await;
    let bodies = [client.get("a", "/").await.body, client.get("a", "/").await.body];
    assert!(bodies.contains(&"one".to_owned()), "the last good address serves on: {bodies:?}");
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_no_endpoint() {
    let mut rig = rig().await;
    rig.names.set("a.test", None);
    rig.set(ResourceKind::Cluster, vec![named("STRICT_DNS", &[("a.test", 80)], "")]).await;
    let reply = rig.client().await.get("a", "/").await;
    assert_eq!((reply.status, &*reply.body), (503, "no healthy upstream"));
    rig.remove(ResourceKind::Cluster, &["a"]).await;
    // Three times the pause between lookups; the last one may have been under way.
    let rests = async {
        loop {
            let asked = rig.names.lookups("a.test");
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            if rig.names.lookups("a.test") == asked {
                return;
            }
        }
    };
    tokio::time::timeout(super::client::LIMIT, rests).await.expect("a cluster that is gone looks nothing up");
}

#[tokio::test]
async fn strict_names_are_all_their_addresses_and_logical_ones_the_first() {
    let backend = Backend::named("ok").await;
    // Only the first address has anybody listening.
    for (kind, addresses, want) in [
        ("LOGICAL_DNS", ["127.0.0.1", "127.0.0.9"], [200; 4].as_slice()),
        ("LOGICAL_DNS", ["127.0.0.9", "127.0.0.1"], &[503; 4]),
        ("STRICT_DNS", ["127.0.0.1", "127.0.0.9"], &[200, 200, 503, 503]),
    ] {
        let mut rig = Rig::with(crate::EngineOptions { workers: 1, ..crate::EngineOptions::default() }).await;
        rig.serve_with("", TO_A).await;
        rig.names.set("a.test", Some(&addresses));
        rig.set(ResourceKind::Cluster, vec![named(kind, &[("a.test", backend.port())], "")]).await;
        let mut client = rig.client().await;
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(client.get("a", "/").await.status);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, want, "{kind} {addresses:?}");
    }
}

#[tokio::test]
async fn a_change_that_keeps_the_names_keeps_their_addresses() {
    let backend = Backend::named("ok").await;
    let mut rig = rig().await;
    rig.names.set("a.test", Some(&["127.0.0.1"]));
    rig.set(ResourceKind::Cluster, vec![named("STRICT_DNS", &[("a.test", backend.port())], "")]).await;
    let mut client = rig.client().await;
    assert_eq!(client.get("a", "/").await.body, "ok");
    rig.names.set("a.test", None);
    rig.set(ResourceKind::Cluster, vec![named("STRICT_DNS", &[("a.test", backend.port())], "lb_policy: RANDOM")]).await;
    assert_eq!(client.get("a", "/").await.body, "ok");
    let family = named("STRICT_DNS", &[("a.test", backend.port())], "dns_lookup_family: V4_ONLY");
    rig.set(ResourceKind::Cluster, vec![family]).await;
    assert_eq!(client.get("a", "/").await.body, "ok");
}
