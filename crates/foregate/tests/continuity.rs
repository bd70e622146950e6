//! No request fails while the configuration changes under it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use harness::scene::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_changes_its_backend() {
    Scene::set("127.111.0.0/24").await.route_changes_its_backend().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_changes_its_kind_of_backend() {
    Scene::set("127.111.1.0/24").await.route_changes_its_kind_of_backend().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_names_of_a_backend_change() {
    Scene::set("127.111.2.0/24").await.host_names_of_a_backend_change().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_replaced() {
    Scene::set("127.112.0.0/24").await.endpoints_are_replaced().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_refuse() {
    Scene::set("127.112.2.0/24").await.endpoints_refuse().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced() {
    Scene::set("127.112.1.0/24").await.certificate_is_replaced().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_listener_comes_and_goes() {
    Scene::set("127.113.0.0/24").await.another_listener_comes_and_goes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_template_changes() {
    Scene::set("127.114.0.0/24").await.gateways_template_changes().await;
}
