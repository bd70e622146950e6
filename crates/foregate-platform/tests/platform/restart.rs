use crate::engine::Engine;
use crate::world::{World, claim, route};

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
    crate::world::until(&world.tenant::<foregate_api::GatewayRoute>(), "b", |route| route.status.is_some()).await;
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
