use foregate_api::address::AddressPool;
use foregate_api::{ConfigRevision, GatewayInstance, GatewayProxy, GatewayRoute};

use crate::engine::Engine;
use crate::world::{World, claim, route, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_writes_nothing_when_nothing_has_changed() {
    let mut world = World::new("127.100.0.1-127.100.0.2").await;
    for (name, state) in [("web", "NoResources"), ("other", "NoResources"), ("hungry", "AddressNotAssigned")] {
        world.claim(&claim(name, 8080)).await;
        world.until(name, "Programmed", &format!("False {state}")).await;
    }
    world.route(&route("a", "web", "a.example")).await;
    world.route(&route("b", "web", "refused.example")).await;
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
    let new =
        |line: &&String| !before.contains(line) && !line.contains(" late ") && !line.starts_with("ConfigRevision");
    let new: Vec<_> = after.iter().filter(new).collect();
    assert!(new.is_empty(), "written again: {new:#?}\nbefore: {before:#?}");

    // The only new revision is that of the later change, and it goes on where the last one ended.
    let count = before.iter().filter(|line| line.starts_with("ConfigRevision web-")).count();
    let next = until(&world.tenant::<ConfigRevision>(), &format!("web-{}", count + 1), |_| true).await;
    assert_eq!(next.spec.causes.iter().map(|cause| cause.name.as_str()).collect::<Vec<_>>(), ["late"]);
    assert_eq!(next.spec.parent, Some(format!("web-{count}")));
}
