//! Pages of other origins (CORS).

use foregate_envoy::ResourceKind;
use foregate_xds::client::ClientResource;

use super::backend::{Backend, answer};
use super::resources::{listener_yaml, rds, resource, shell};
use super::rig::Rig;

/// A rig whose listener has the filter.
async fn rig(route: &str) -> (Rig, Backend) {
    let backend = Backend::with(|_| answer(200, &[("access-control-allow-origin", "backend")], "a")).await;
    let mut rig = Rig::new().await;
    rig.cluster("c", &[backend.port()]).await;
    rig.set(ResourceKind::Listener, vec![filtering_listener()]).await;
    rig.set(ResourceKind::RouteConfiguration, vec![shell("rc")]).await;
    rig.routes(route).await;
    (rig, backend)
}

/// A listener with all filters that there are.
pub(super) fn filtering_listener() -> ClientResource {
    let yaml = listener_yaml("http-1", "127.0.0.1", 0, &rds("rc"), "use_remote_address: true");
    resource(ResourceKind::Listener, "http-1", &yaml.replace("      http_filters:\n", FILTERS))
}

const FILTERS: &str = r#"      http_filters:
      - name: envoy.filters.http.cors
        typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors }
      - name: envoy.filters.http.stateful_session
        typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSession }
"#;

fn policy(text: &str) -> String {
    format!(
        "- match: {{ prefix: / }}\n  route: {{ cluster: c }}\n  typed_per_filter_config:\n    envoy.filters.http.cors:\n      \
         \"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy\n      {text}"
    )
}

const LISTS: &str = "allow_origin_string_match: [{ exact: https://a.com }, { suffix: .b.com }]
      allow_methods: GET, PUT
      allow_headers: x-a, x-b
      expose_headers: x-c
      max_age: \"60\"
      allow_credentials: true";

#[tokio::test]
async fn questions_are_answered() {
    let (rig, backend) = rig(&policy(LISTS)).await;
    let mut client = rig.client().await;
    let asks = [("origin", "https://a.com"), ("access-control-request-method", "PUT")];
    let reply = client.ask("OPTIONS", "a", "/x", &asks, "").await;
    assert_eq!((reply.status, &*reply.body), (200, ""));
    for (name, want) in [
        ("access-control-allow-origin", "https://a.com"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-a, x-b"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "60"),
        ("access-control-expose-headers", "x-c"),
    ] {
        assert_eq!(reply.header(name), Some(want), "{name}");
    }
    // Others' questions, and what is no question, are the endpoint's.
    for asks in [
        &[("origin", "https://other.com"), ("access-control-request-method", "PUT")][..],
        &[("origin", "https://a.com")],
        &[("access-control-request-method", "PUT")],
    ] {
        assert_eq!(client.ask("OPTIONS", "a", "/x", asks, "").await.body, "a", "{asks:?}");
    }
    assert_eq!(backend.got().len(), 3);
}

#[tokio::test]
async fn responses_may_be_read() {
    let (rig, _backend) = rig(&policy(LISTS)).await;
    let mut client = rig.client().await;
    let reply = client.ask("GET", "a", "/x", &[("origin", "https://x.b.com")], "").await;
    assert_eq!(reply.all("access-control-allow-origin"), ["https://x.b.com"], "the endpoint's word doesn't count");
    assert_eq!(reply.header("access-control-expose-headers"), Some("x-c"));
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    for headers in [&[("origin", "https://other.com")][..], &[]] {
        let reply = client.ask("GET", "a", "/x", headers, "").await;
        assert_eq!(reply.all("access-control-allow-origin"), ["backend"], "nothing is changed");
        assert_eq!(reply.header("access-control-expose-headers"), None);
    }
}

#[tokio::test]
async fn everything_is_what_is_asked_for() {
    let all = "allow_origin_string_match: [{ safe_regex: { regex: \".*\" } }]
      allow_methods: \"*\"
      allow_headers: \"*\"
      forward_not_matching_preflights: false";
    let (rig, backend) = rig(&policy(all)).await;
    let mut client = rig.client().await;
    let asks = [
        ("origin", "https://a.com"),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "x-1, x-2"),
    ];
    let reply = client.ask("OPTIONS", "a", "/x", &asks, "").await;
    assert_eq!(reply.header("access-control-allow-methods"), Some("PATCH"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("x-1, x-2"));
    assert_eq!(backend.got().len(), 0);
}

#[tokio::test]
async fn questions_of_others_are_answered_if_that_is_asked_for() {
    let text = "allow_origin_string_match: [{ exact: https://a.com }]
      allow_methods: GET
      forward_not_matching_preflights: false";
    let (rig, backend) = rig(&policy(text)).await;
    let mut client = rig.client().await;
    let asks = [("origin", "https://other.com"), ("access-control-request-method", "PUT")];
    let reply = client.ask("OPTIONS", "a", "/x", &asks, "").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), None);
    assert_eq!(backend.got().len(), 0);
}

#[tokio::test]
async fn a_route_may_be_left_out() {
    let off = "- match: { prefix: / }\n  route: { cluster: c }\n  typed_per_filter_config:\n    envoy.filters.http.cors: \
               { \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true }";
    let (rig, _backend) = rig(off).await;
    let reply = rig.client().await.ask("GET", "a", "/x", &[("origin", "https://a.com")], "").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("backend"));
}

#[tokio::test]
async fn answers_of_the_engine_may_be_read_too() {
    let (mut rig, _backend) = rig("[]").await;
    rig.cluster("c", &[]).await;
    rig.routes(&policy(LISTS)).await;
    let reply = rig.client().await.ask("GET", "a", "/x", &[("origin", "https://a.com")], "").await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://a.com"));
}
