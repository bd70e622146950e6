//! `foregate up --demo`: what a newcomer sees first.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::net::SocketAddr;

use harness::{Foregate, http};
use rustix::process::Signal;

const POOL: &str = "127.110.0.0/24";

/// The URLs of the `curl` lines that the demo printed.
fn curl_urls(foregate: &mut Foregate) -> Vec<(SocketAddr, String)> {
    let output = foregate.output();
    let urls = output.lines().filter(|line| line.contains("curl ")).filter_map(|line| line.split("http://").nth(1));
    urls.map(|url| {
        let (authority, path) = url.split_whitespace().next().unwrap().split_once('/').unwrap();
        (authority.parse().unwrap(), format!("/{path}"))
    })
    .collect()
}

#[tokio::test]
async fn the_demo_serves_what_it_prints_stops_in_order_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut foregate = Foregate::start(dir.path(), POOL, &["--demo"]);
    foregate.wait_line("kubectl");
    let urls = curl_urls(&mut foregate);
    assert!(urls.len() >= 3, "three curl lines, there were {urls:?}");
    for (address, path) in &urls {
        let response = http::get(*address, &address.to_string(), path).await.unwrap();
        assert!(response.status() == 200 || response.status() == 301, "{path}: {}", response.status());
    }
    let status = foregate.stop(Signal::INT);
    assert_eq!(status.code(), Some(0), "Ctrl-C ends in order");

    // What was applied before serves again, from the moment that it says it is ready.
    let again = Foregate::start(dir.path(), POOL, &[]);
    let error = http::get(urls[0].0, "demo", "/").await;
    // The demo's backends live in the demo's process, so that now there is nobody behind: the gateway says so itself.
    assert_eq!(error.unwrap().status(), 503);
    assert_eq!(again.stop(Signal::TERM).code(), Some(0));
}

#[test]
fn usage_and_configuration_errors_exit_with_2() {
    for args in
        [&["up", "--no-such-flag"][..], &["up", "--address-pool", "nonsense"], &["up", "--config", "/no/such/file"]]
    {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_foregate")).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn config_print_shows_what_would_run() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_foregate"))
        .args(["config", "print", "--port-offset", "1000"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(text.contains("portOffset: 1000") && text.contains("apiListen:"), "{text}");
}
