//! Gateways on real Envoys, and what can go wrong with them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::time::Duration;

use foregate_api::instance::EngineState;
use harness::envoy::{self, NEW, OLD};
use harness::scene::Scene;
use harness::{Foregate, eventually, http};
use rustix::process::Signal;
use serde_json::json;

async fn serves(scene: &Scene) {
    eventually("the route serves", || async {
        http::get(scene.address, "web", "/").await.ok().filter(|response| response.status() == 200)
    })
    .await;
}

async fn running(scene: &Scene, engine: &str) -> u32 {
    let status = envoy::until(&scene.client, |status| status.state == EngineState::Running && status.name == engine);
    status.await.pid.expect("an Envoy has a process")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_or_wedged_envoy_is_replaced() {
    let metrics = free_address();
    let flags = ["--metrics-listen", &metrics.to_string()];
    let scene = Scene::set_on("127.119.0.0/24", NEW, 0, &flags, envoy::install_all).await;
    let first = running(&scene, NEW).await;
    let text = http::get(metrics, "x", "/metrics").await.unwrap();
    let text = String::from_utf8_lossy(text.body()).into_owned();
    let requests =
        text.lines().find(|line| line.starts_with("envoy_http_downstream_rq_completed{gateway=\"tenant-default/"));
    assert!(requests.is_some_and(|line| line.contains("instance=\"")), "{text}");
    assert!(text.contains("foregate_"), "the built-in engine's are there, too");

    envoy::signal(first, Signal::KILL);
    let restarted = envoy::until(&scene.client, |status| status.restarts == 1 && status.state == EngineState::Running);
    let second = restarted.await.pid.unwrap();
    assert_ne!(first, second);
    serves(&scene).await;

    envoy::signal(second, Signal::STOP);
    let replaced = envoy::until(&scene.client, |status| status.restarts == 2 && status.state == EngineState::Running);
    let third = replaced.await.pid.unwrap();
    assert!(!envoy::lives(second), "a wedged one isn't left behind");
    serves(&scene).await;

    let run = scene.dir.path().join("run");
    let Scene { foregate, dir, .. } = scene;
    assert!(foregate.stop(Signal::TERM).success());
    assert!(!envoy::lives(third), "Foregate's end is Envoy's end");
    let left: Vec<_> = std::fs::read_dir(&run).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
    drop(dir);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_counts_an_envoys_requests_by_route() {
    let metrics = free_address();
    let flags = ["--metrics-listen", &metrics.to_string()];
    let scene = Scene::set_on("127.119.7.0/24", OLD, 0, &flags, envoy::install_all).await;
    for _ in 0..10 {
        assert_eq!(http::get(scene.address, "web", "/").await.unwrap().status(), 200);
    }
    let kubeconfig = scene.foregate.kubeconfig();
    let row = eventually("the route is in the list", || async {
        let mut top = tokio::process::Command::new(harness::binary());
        top.args(["top", "web", "--samples", "1", "--interval", "0.1", "-o", "json", "--kubeconfig"]).arg(&kubeconfig);
        let output = top.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        rows.as_array().unwrap().iter().find(|row| row["route"] == "HTTPRoute default/web").cloned()
    })
    .await;
    assert_eq!((&row["gateway"], &row["rule"]), (&json!("default/web"), &json!("0.0")));
    assert!(row["total"].as_f64().unwrap() >= 10.0, "{row}");

    let mut status = tokio::process::Command::new(harness::binary());
    let status = status.args(["status", "web", "-o", "json", "--kubeconfig"]).arg(&kubeconfig).output().await.unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains(&format!("{OLD}, up ")), "{status}");

    let text = http::get(metrics, "x", "/metrics").await.unwrap();
    let text = String::from_utf8_lossy(text.body()).into_owned();
    let types = text.lines().filter(|line| line.starts_with("# TYPE foregate_route_requests_total "));
    assert_eq!(types.count(), 1, "both engines' are one metric");
    assert!(!text.contains("_route_HTTPRoute"), "not a second time under Envoy's name");

    // The built-in engine counts by itself, and takes the routes that were made for Envoy until it has its own.
    envoy::switch(&scene.client, "builtin").await;
    serves(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_outlives_foregate_and_is_taken_over() {
    let Scene { foregate, dir, client, address, .. } =
        Scene::set_on("127.119.1.0/24", NEW, 0, &[], envoy::install_all).await;
    let first = envoy::until(&client, |status| status.state == EngineState::Running).await.pid.unwrap();
    foregate.stop(Signal::KILL);
    let load = harness::load::Load::start(2, address, "web", "/");
    eventually("it serves without Foregate", || async { (load.sent() > 500).then_some(()) }).await;
    assert!(envoy::lives(first));
    let foregate = Foregate::start(dir.path(), "127.119.1.0/24", &[]);
    let client = foregate.client().await;
    let second = envoy::until(&client, |status| status.state == EngineState::Running && status.pid != Some(first));
    let second = second.await.pid.unwrap();
    eventually("the first one ends", || async { (!envoy::lives(first)).then_some(()) }).await;
    let (sent, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {sent} failed: {:?}", failures.len(), failures.first());
    assert!(foregate.stop(Signal::TERM).success());
    assert!(!envoy::lives(second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_the_middle_of_an_exchange_leaves_one_engine() {
    const POOL: &str = "127.119.6.0/24";
    let Scene { mut foregate, dir, address, .. } = Scene::set_on(POOL, OLD, 0, &[], envoy::install_all).await;
    for (engine, after) in [(NEW, 10), ("builtin", 60), (OLD, 90), (NEW, 150)] {
        let client = foregate.client().await;
        envoy::patch_proxy(&client, json!({ "engine": engine })).await;
        // Anywhere in the exchange.
        tokio::time::sleep(Duration::from_millis(after)).await;
        foregate.stop(Signal::KILL);
        foregate = Foregate::start(dir.path(), POOL, &[]);
        let client = foregate.client().await;
        envoy::until(&client, |status| status.state == EngineState::Running && status.name == engine).await;
        let served = http::get(address, "web", "/").await.unwrap();
        assert_eq!(served.status(), 200);
        eventually("one engine is left", || async {
            let left = envoy::processes(dir.path()).len();
            (left == usize::from(engine != "builtin")).then_some(())
        })
        .await;
    }
    assert!(foregate.stop(Signal::TERM).success());
    let connected = tokio::net::TcpStream::connect(address).await;
    assert!(connected.is_err(), "no engine is left behind that listens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_isnt_there_is_waited_for_and_one_that_fails_backs_off() {
    let scene = Scene::set_on("127.119.2.0/24", NEW, 0, &[], envoy::install_all).await;
    let first = running(&scene, NEW).await;
    envoy::patch_proxy(&scene.client, json!({ "engine": "envoy@9" })).await;
    let missing = envoy::until(&scene.client, |status| status.state == EngineState::Missing).await;
    assert!(missing.message.contains("envoy@9") && missing.message.contains("foregate engine add"), "{missing:?}");
    assert_eq!((missing.name.as_str(), missing.pid), (NEW, Some(first)), "the one before serves on");
    serves(&scene).await;

    envoy::install_script(scene.dir.path(), "9", "echo 'no such luck' >&2; exit 7");
    let failing = envoy::until(&scene.client, |status| status.state == EngineState::Backoff && status.restarts >= 3);
    let failing = failing.await;
    for part in ["envoy@9", "status 7", "no such luck", "GatewayTemplate"] {
        assert!(failing.message.contains(part), "{part}: {failing:?}");
    }
    serves(&scene).await;
    assert_eq!(running_pid(&scene).await, Some(first));
    let again = envoy::switch(&scene.client, NEW).await;
    assert_eq!((again.message.as_str(), again.pid), ("", Some(first)), "what was tried is over");
    // What has failed in its place has left it as it was: it is still watched.
    envoy::signal(first, Signal::STOP);
    let replaced =
        envoy::until(&scene.client, |status| status.state == EngineState::Running && status.pid != Some(first));
    assert_eq!(replaced.await.name, NEW);
    serves(&scene).await;
    let other = envoy::switch(&scene.client, OLD).await;
    assert_ne!(other.pid, Some(first));
    serves(&scene).await;
}

async fn running_pid(scene: &Scene) -> Option<u32> {
    envoy::status(&scene.client).await.and_then(|status| status.pid)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_envoy_refuses_is_said() {
    let scene = Scene::set_on("127.119.3.0/24", NEW, 0, &[], envoy::install_all).await;
    let listener = envoy::proxy(&scene.client).await.spec.template.envoy.listener;
    // Right by every rule, and impossible all the same.
    let log = "access_log: [{ name: envoy.access_loggers.file, typed_config: { \"@type\": \
               type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /nowhere/log } }]";
    let bad = listener.replacen("server_name: foregate", &format!("server_name: foregate\n      {log}"), 1);
    assert_ne!(bad, listener);
    envoy::patch_proxy(&scene.client, json!({ "envoy": { "listener": bad } })).await;
    eventually("the Gateway says what Envoy refuses", || async {
        let api: kube::Api<foregate_api::gateway::Gateway> = kube::Api::default_namespaced(scene.client.clone());
        let text = serde_json::to_string(&api.get("web").await.ok()?.status).ok()?;
        text.contains("/nowhere/log").then_some(())
    })
    .await;
    serves(&scene).await;
    envoy::patch_proxy(&scene.client, json!({ "envoy": { "listener": listener } })).await;
    harness::gateway_address(&scene.client, "web").await;
    serves(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_ends_with_its_gateway() {
    let scene = Scene::set_on("127.119.5.0/24", OLD, 0, &[], envoy::install_all).await;
    let pid = running(&scene, OLD).await;
    // A client that stays connected doesn't keep it: it has the drain time at most, and an idle one less.
    let idle = tokio::net::TcpStream::connect(scene.address).await.unwrap();
    let api: kube::Api<foregate_api::gateway::Gateway> = kube::Api::default_namespaced(scene.client.clone());
    api.delete("web", &kube::api::DeleteParams::default()).await.unwrap();
    eventually("its Envoy ends", || async { (!envoy::lives(pid)).then_some(()) }).await;
    let run = scene.dir.path().join("run");
    eventually("nothing of it is left", || async { std::fs::read_dir(&run).unwrap().next().is_none().then_some(()) })
        .await;
    let nobody = tokio::net::TcpStream::connect(scene.address).await.is_err();
    assert!(nobody, "nobody listens any more");
    drop(idle);
}

#[test]
fn engines_are_added_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let source = dir.path().join("envoy");
    let script =
        "#!/bin/sh\ncase $1 in --version) echo version: abc/7.7/Clean;; --hot-restart-version) echo 11.104;; esac\n";
    std::fs::write(&source, script).unwrap();
    let from = source.to_str().unwrap();
    let right = sha256(&source);
    let left = || std::fs::read_dir(data.join("engines/envoy")).map_or(0, Iterator::count);
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();

    let wrong = "0".repeat(64);
    let output = envoy::engine(&data, &["add", "envoy@7.7", "--from", from, "--sha256", &wrong]);
    assert!(!output.status.success());
    assert!(text(&output).contains(&wrong) && text(&output).contains(&right), "{}", text(&output));
    assert_eq!(left(), 0);

    let output = envoy::engine(&data, &["add", "envoy@7.7", "--from", from, "--sha256", &right]);
    assert!(output.status.success(), "{}", text(&output));
    let listed = envoy::engine(&data, &["list", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed[0]["name"], &listed[1]["name"]), (&json!("builtin"), &json!("envoy@7.7")));
    assert_eq!((&listed[1]["hotRestart"], &listed[1]["sha256"]), (&json!("11.104"), &json!(right)));

    let broken = dir.path().join("broken");
    std::fs::write(&broken, "#!/bin/sh\necho wrong machine >&2\nexit 1\n").unwrap();
    let output =
        envoy::engine(&data, &["add", "envoy@8", "--from", broken.to_str().unwrap(), "--sha256", &sha256(&broken)]);
    assert!(!output.status.success() && text(&output).contains("wrong machine"), "{}", text(&output));
    let output =
        envoy::engine(&data, &["add", "envoy@7.7", "--from", broken.to_str().unwrap(), "--sha256", &sha256(&broken)]);
    assert!(!output.status.success() && text(&output).contains("there already"), "{}", text(&output));
    assert_eq!(left(), 1);

    let binary = data.join("engines/envoy/7.7/envoy");
    std::fs::write(&binary, "changed").unwrap();
    let listed = envoy::engine(&data, &["list"]);
    assert!(!listed.status.success() && text(&listed).contains("envoy@7.7 is damaged"), "{}", text(&listed));

    let output = envoy::engine(&data, &["remove", "envoy@7.7"]);
    assert!(output.status.success() && text(&output).contains("can't be asked"), "{}", text(&output));
    assert_eq!(left(), 0);
    assert!(!envoy::engine(&data, &["remove", "envoy@7.7"]).status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_in_use_isnt_removed() {
    let scene = Scene::set_on("127.119.4.0/24", NEW, 0, &[], envoy::install_all).await;
    let output = envoy::engine(scene.dir.path(), &["remove", NEW]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{text}");
    for user in ["GatewayTemplate tenant-default/default", "GatewayProxy", "GatewayInstance", "process "] {
        assert!(text.contains(user), "{user}: {text}");
    }
    let output = envoy::engine(scene.dir.path(), &["remove", OLD]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn sha256(path: &std::path::Path) -> String {
    let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

fn free_address() -> std::net::SocketAddr {
    ([127, 0, 0, 1], harness::free_port()).into()
}
