//! Clients that are kept at their endpoints.

use std::collections::BTreeSet;

use foregate_envoy::ResourceKind;

use super::backend::Backend;
use super::client::Client;
use super::pages::filtering_listener;
use super::resources::{endpoints, shell};
use super::rig::Rig;

const COOKIE: &str = r#"session_state:
          name: envoy.http.stateful_session.cookie
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState
            cookie: { name: kept, ttl: 60s, path: /shop }"#;
const HEADER: &str = r#"session_state:
          name: envoy.http.stateful_session.header
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState
            name: x-kept"#;

fn route(state: &str) -> String {
    format!(
        r#"- match: {{ prefix: / }}
  route: {{ cluster: c }}
  typed_per_filter_config:
    envoy.filters.http.stateful_session:
      "@type": type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute
      stateful_session:
        {state}"#
    )
}

async fn rig(state: &str) -> (Rig, [Backend; 3]) {
    let backends = [Backend::named("a").await, Backend::named("b").await, Backend::named("c").await];
    let mut rig = Rig::new().await;
    rig.cluster("c", &backends.each_ref().map(Backend::port)).await;
    rig.set(ResourceKind::Listener, vec![filtering_listener()]).await;
    rig.set(ResourceKind::RouteConfiguration, vec![shell("rc")]).await;
    rig.routes(&route(state)).await;
    (rig, backends)
}

#[tokio::test]
async fn by_cookie() {
    let (mut rig, backends) = rig(COOKIE).await;
    let mut client = rig.client().await;
    let first = client.get("a", "/shop/1").await;
    let set = first.header("set-cookie").unwrap().to_owned();
    assert!(set.starts_with("kept=\"") && set.ends_with("; Max-Age=60; Path=/shop; HttpOnly"), "{set}");
    let cookie = set.split(';').next().unwrap();
    for _ in 0..9 {
        let again = client.ask("GET", "a", "/shop", &[("cookie", cookie)], "").await;
        assert_eq!(
            (again.body, again.headers.iter().any(|(name, _)| name == "set-cookie")),
            (first.body.clone(), false)
        );
    }
    let elsewhere = client.get("a", "/shopping").await;
    assert_eq!(elsewhere.header("set-cookie"), None, "not below the cookie's path");
    // Its endpoint goes: the client gets another one, and is told so.
    let left: Vec<u16> =
        backends.iter().zip(["a", "b", "c"]).filter(|(_, name)| *name != first.body).map(|(b, _)| b.port()).collect();
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("c", &left)]).await;
    let moved = client.ask("GET", "a", "/shop", &[("cookie", cookie)], "").await;
    assert_ne!(moved.body, first.body);
    assert_ne!(moved.header("set-cookie"), Some(&*set));
}

#[tokio::test]
async fn by_header() {
    let (rig, _backends) = rig(HEADER).await;
    let mut client = rig.client().await;
    let first = client.get("a", "/").await;
    let value = first.header("x-kept").unwrap().to_owned();
    for _ in 0..9 {
        let again = client.ask("GET", "a", "/", &[("x-kept", &value)], "").await;
        assert_eq!((&again.body, again.header("x-kept")), (&first.body, None));
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_nobodys() {
    let (rig, _backends) = rig(COOKIE).await;
    let mut client = rig.client().await;
    let mut seen = BTreeSet::new();
    for at in 0..30 {
        // An address that is none of the cluster's: nobody is sent anywhere by what a client makes up.
        let cookie = ["kept=x", "kept=\"CgwxMjcuMC4wLjE6MQ==\"", "kept="][at % 3];
        let reply = client.ask("GET", "a", "/shop", &[("cookie", cookie)], "").await;
        assert!(reply.header("set-cookie").is_some(), "{cookie}");
        seen.insert(reply.body);
    }
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn without_the_filter_routes_say_it_in_vain() {
    let backend = Backend::named("a").await;
    let mut rig = Rig::new().await;
    rig.cluster("c", &[backend.port()]).await;
    let address = rig.serve(&route(HEADER)).await;
    assert_eq!(Client::to(address).await.get("a", "/").await.header("x-kept"), None);
}
