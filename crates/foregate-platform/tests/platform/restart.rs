use foregate_api::address::AddressPool;
use foregate_api::{GatewayInstance, GatewayProxy, GatewayRoute};

use crate::engine::Engine;
use crate::world::{World, claim, route, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_writes_nothing_when_nothing_has_changed() {
    let mut world = World::new("127.100.0.1-127.100.0.2").await;
    for name in ["web", "other", "hungry"] {
        world.claim(&claim(name, 8080)).await;
    }
    world.route(&route("a", "web", "a.example")).await;
    world.route(&route("b", "web", "refused.example")).await;
    world.until("hungry", "Programmed", "False AddressNotAssigned").await;
    world.until("web", "Programmed", "False NoResources").await;
    let engine = Engine::connect(&world, "web", Some("refused.example")).await;
    world.until("web", "Programmed", "True Programmed").await;
    until(&world.global::<GatewayInstance>(), "tenant-default.web.local", |instance| {
        instance.status.as_ref().is_some_and(|status| status.ready && status.last_nack.is_some())
    })
    .await;
    until(&world.global::<AddressPool>(), "default", |pool| {
        pool.status.as_ref().is_some_and(|status| status.used == 2)
    })
    .await;
    until(&world.tenant::<GatewayProxy>(), "web", |proxy| {
        proxy.status.as_ref().is_some_and(|status| status.instances.ready == 1)
    })
    .await;
    until(&world.tenant::<GatewayRoute>(), "b", |route| route.status.is_some()).await;
    let held = engine.until(|held| held.contains_key("VirtualHost http-8080/a.example")).await;
    world.stop().await;
    let before = world.versions().await;
    drop(engine);

    world.start();
    let engine = Engine::connect(&world, "web", Some("refused.example")).await;
    engine.until(|now| *now == held).await;
    // Whatever is written because of the start is written before what a later change brings.
    world.route(&route("late", "web", "late.example")).await;
    engine.until(|held| held.contains_key("VirtualHost http-8080/late.example")).await;
    let after = world.versions().await;
    let new: Vec<_> = after.iter().filter(|line| !before.contains(line) && !line.contains(" late ")).collect();
    assert!(new.is_empty(), "written again: {new:#?}\nbefore: {before:#?}");
}
