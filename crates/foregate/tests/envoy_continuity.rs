//! No request fails on Envoy either, while the configuration changes, or the engine itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use harness::envoy::{self, NEW, OLD};
use harness::scene::Scene;

/// Changes of each kind: enough to see that it works; the built-in engine's tests look for races.
const CHANGES: usize = 20;

async fn scene(pool: &str, engine: &str) -> Scene {
    // The drain is what a switch waits for at the end.
    Scene::set_on(pool, engine, CHANGES, &[], envoy::install_all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_changes_on_envoy() {
    let scene = scene("127.118.0.0/24", NEW).await;
    scene.route_changes_its_backend().await;
    scene.route_changes_its_kind_of_backend().await;
    scene.host_names_of_a_backend_change().await;
    scene.endpoints_are_replaced().await;
    scene.certificate_is_replaced().await;
    scene.another_listener_comes_and_goes().await;
    scene.gateways_template_changes().await;
    scene.endpoints_refuse().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_changes_on_an_older_envoy() {
    let scene = scene("127.118.1.0/24", OLD).await;
    scene.route_changes_its_backend().await;
    scene.endpoints_are_replaced().await;
    scene.gateways_template_changes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_envoy_takes_over_from_another() {
    let scene = scene("127.118.2.0/24", OLD).await;
    let before = envoy::until(&scene.client, |status| status.name == OLD && status.pid.is_some()).await;
    let load = scene.load();
    let after = envoy::switch(&scene.client, NEW).await;
    assert_ne!(before.pid, after.pid);
    let young = envoy::processes(scene.dir.path()).pop().unwrap();
    assert_eq!((young["epoch"].as_u64(), young["engine"].as_str()), (Some(0), Some(NEW)), "it listens beside");
    let old = before.pid.unwrap();
    harness::eventually("the old one ends", || async { (!envoy::lives(old)).then_some(()) }).await;
    envoy::switch(&scene.client, OLD).await;
    scene.none_failed(load, "another version and back").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoys_that_cant_hand_over_their_sockets_listen_side_by_side() {
    let prepare = |dir: &std::path::Path| envoy::install_as(dir, ["11.1", "11.104"]);
    let scene = Scene::set_on("127.118.4.0/24", OLD, CHANGES, &[], prepare).await;
    let load = scene.load();
    for engine in [NEW, OLD, NEW] {
        let before = envoy::status(&scene.client).await.and_then(|status| status.pid).unwrap();
        envoy::switch(&scene.client, engine).await;
        harness::eventually("the old one ends", || async { (!envoy::lives(before)).then_some(()) }).await;
    }
    assert!(envoy::processes(scene.dir.path()).iter().all(|record| record["epoch"] == 0));
    scene.none_failed(load, "another version that can't be restarted hot, three times").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_of_different_kinds_take_over_from_each_other() {
    let scene = scene("127.118.3.0/24", "builtin").await;
    let load = scene.load();
    for _ in 0..3 {
        let envoy = envoy::switch(&scene.client, NEW).await;
        envoy::switch(&scene.client, "builtin").await;
        let pid = envoy.pid.unwrap();
        harness::eventually("Envoy ends", || async { (!envoy::lives(pid)).then_some(()) }).await;
    }
    scene.none_failed(load, "builtin to Envoy and back, three times").await;
}
