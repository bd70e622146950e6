//! Metrics and the access log.

use super::backend::{Backend, answer};
use super::rig::{Rig, until};
use crate::{AccessLog, EngineOptions, LogFormat};

async fn log_of(format: LogFormat) -> (Vec<String>, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = AccessLog::File(path.clone(), format);
    let backend = Backend::with(|_| answer(200, &[], "12345")).await;
    let mut rig = Rig::with(EngineOptions { workers: 1, access_log: log, ..EngineOptions::default() }).await;
    rig.cluster("a", &[backend.port()]).await;
    rig.cluster("none", &[]).await;
    rig.serve(
        "- { name: to-a, match: { prefix: /a }, route: { cluster: a } }\n\
         - { name: to-none, match: { prefix: /none }, route: { cluster: none } }",
    )
    .await;
    let mut client = rig.client().await;
    client.ask("POST", "a.example.com", "/a?x", &[], "123").await;
    client.get("a.example.com", "/none").await;
    client.get("a.example.com", "/x").await;
    drop(client);
    until("everything is logged", || std::fs::read_to_string(&path).is_ok_and(|text| text.lines().count() == 3)).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let upstream = backend.address.to_string();
    rig.engine.shutdown(std::time::Duration::from_secs(1)).await;
    (text.lines().map(str::to_owned).collect(), upstream)
}

#[tokio::test]
async fn a_line_of_text_per_request() {
    let (lines, upstream) = log_of(LogFormat::Text).await;
    let fields: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    assert!(fields[0][0].ends_with('Z') && fields[0][0].len() == 24, "{}", lines[0]);
    assert_eq!(fields[0][1..10], ["gw/local", "http-1", "POST", "a.example.com", "/a?x", "200", "-", "3", "5"]);
    assert!(fields[0][10].parse::<u64>().is_ok());
    assert_eq!(fields[0][11..13], [&*upstream, "to-a"]);
    assert_eq!(fields[0][13].len(), 36);
    assert_eq!(fields[1][6..8], ["503", "UH"]);
    assert_eq!(fields[2][6..8], ["404", "NR"]);
    assert_eq!(fields[2][11..13], ["-", "-"]);
}

#[tokio::test]
async fn a_line_of_json_per_request() {
    let (lines, upstream) = log_of(LogFormat::Json).await;
    let all: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(all[0]["path"], "/a?x");
    assert_eq!(all[0]["upstream"], *upstream);
    assert_eq!((&all[0]["status"], &all[0]["bytes_in"], &all[0]["bytes_out"]), (&200.into(), &3.into(), &5.into()));
    assert_eq!((&all[1]["flags"], &all[1]["route"]), (&"UH".into(), &"to-none".into()));
    assert_eq!(all[2]["flags"], "NR");
}

#[tokio::test]
async fn routes_are_counted_for_as_long_as_they_are_there() {
    let backend = Backend::with(|got| answer(if got.target == "/a/bad" { 500 } else { 200 }, &[], "12345")).await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    let direct = "- { name: \"here \\\"quoted\\\"\", match: { prefix: /here }, direct_response: { status: 204 } }";
    let to_a = "- { name: to-a, match: { prefix: /a }, route: { cluster: a } }\n\
        - { match: { prefix: /nameless }, route: { cluster: a } }";
    rig.serve(&format!("{to_a}\n{direct}")).await;
    for _ in 0..5 {
        // Several connections, so that all workers have their share.
        let mut client = rig.client().await;
        for (path, status) in [("/a", 200), ("/a/bad", 500), ("/here", 204), ("/nameless", 200), ("/none", 404)] {
            assert_eq!(client.get("a", path).await.status, status, "{path}");
        }
    }
    let requests = |route: &str| format!("foregate_route_requests_total{{gateway=\"gw/local\",route=\"{route}\"");
    until("the last one is counted", || rig.metric("foregate_proxy_requests_active") == 0.0).await;
    for (metric, want) in [
        (requests("to-a") + ",code_class=\"2xx\"}", 5.0),
        (requests("to-a") + ",code_class=\"5xx\"}", 5.0),
        (requests("here \\\"quoted\\\"") + ",code_class=\"2xx\"}", 5.0),
        ("foregate_route_requests_total".to_owned(), 15.0),
        ("foregate_route_request_duration_seconds_count{gateway=\"gw/local\",route=\"to-a\"}".to_owned(), 10.0),
        (
            "foregate_route_request_duration_seconds_bucket{gateway=\"gw/local\",route=\"to-a\",le=\"+Inf\"}"
                .to_owned(),
            10.0,
        ),
    ] {
        assert_eq!(rig.metric(&metric), want, "{metric}\n{}", rig.engine.metrics());
    }
    assert!(rig.metric("foregate_route_request_duration_seconds_sum") > 0.0);
    // A change of the route keeps its counters; its end takes them.
    rig.routes("- { name: to-a, match: { prefix: /other }, route: { cluster: a } }").await;
    rig.client().await.get("a", "/other").await;
    until("it goes on", || rig.metric(&requests("to-a")) == 11.0).await;
    until("the other one is gone", || rig.metric(&requests("here")) == 0.0).await;
}

#[tokio::test]
async fn counters_add_up_over_workers() {
    let backend = Backend::with(|got| answer(if got.target == "/bad" { 500 } else { 200 }, &[], "12345")).await;
    let mut rig = Rig::new().await;
    rig.cluster("a", &[backend.port()]).await;
    rig.serve("- { match: { prefix: / }, route: { cluster: a } }").await;
    for _ in 0..10 {
        let mut client = rig.client().await;
        client.get("a", "/").await;
        client.ask("POST", "a", "/bad", &[], "123").await;
    }
    until("all connections are closed", || rig.metric("foregate_proxy_connections_active") == 0.0).await;
    let listener = "{instance=\"gw/local\",listener=\"http-1\"";
    for (metric, want) in [
        (format!("foregate_proxy_requests_total{listener},code_class=\"2xx\"}}"), 10.0),
        (format!("foregate_proxy_requests_total{listener},code_class=\"5xx\"}}"), 10.0),
        (format!("foregate_proxy_request_bytes_total{listener}"), 30.0),
        (format!("foregate_proxy_response_bytes_total{listener}"), 100.0),
        (format!("foregate_proxy_connections_total{listener}"), 10.0),
        (format!("foregate_proxy_request_duration_seconds_count{listener}"), 20.0),
        (format!("foregate_proxy_request_duration_seconds_bucket{listener},le=\"+Inf\""), 20.0),
        ("foregate_proxy_upstream_requests_total{instance=\"gw/local\",cluster=\"a\"".to_owned(), 20.0),
        ("foregate_proxy_xds_connected".to_owned(), 1.0),
        ("foregate_proxy_xds_acks_total".to_owned(), 5.0),
    ] {
        assert_eq!(rig.metric(&metric), want, "{metric}\n{}", rig.engine.metrics());
    }
    assert!(rig.metric("foregate_proxy_config_generation") >= 3.0);
    for line in rig.engine.metrics().lines() {
        let fine = line.starts_with("# ") || line.rsplit_once(' ').is_some_and(|(_, n)| n.parse::<f64>().is_ok());
        assert!(fine, "{line}");
    }
}
