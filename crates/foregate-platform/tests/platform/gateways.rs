use foregate_api::address::{Address, AddressPool};
use foregate_api::{GatewayInstance, GatewayProxy};
use kube::api::DeleteParams;
use serde_json::json;

use crate::engine::Engine;
use crate::world::{World, claim, condition, patch_spec, route, until, until_gone};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_becomes_a_gateway_that_serves_and_goes_with_it() {
    let world = World::new("127.100.0.0/24").await;
    world.claim(&claim("web", 8080)).await;
    let bound = world.until("web", "Programmed", "False NoResources").await;
    assert_eq!(bound.status.unwrap().addresses, ["127.100.0.1"]);
    let address: Address = world.global().get("127.100.0.1").await.unwrap();
    assert_eq!(address.spec.proxy.unwrap().name, "web");
    until(&world.global::<GatewayInstance>(), "tenant-default.web.local", |instance| instance.spec.node == "local")
        .await;

    let engine = Engine::connect(&world, "web", None).await;
    engine.until(|held| held.contains_key("Listener http-8080")).await;
    let programmed = world.until("web", "Programmed", "True Programmed").await;
    assert_eq!(programmed.status.unwrap().instances.ready, 1);
    until(&world.global::<GatewayInstance>(), "tenant-default.web.local", |instance| {
        instance.status.as_ref().is_some_and(|status| status.ready && status.connected)
    })
    .await;
    until(&world.global::<AddressPool>(), "default", |pool| {
        pool.status.as_ref().is_some_and(|status| (status.used, status.size) == (1, 254))
    })
    .await;
    world.route(&route("a", "web", "a.example")).await;
    engine.until(|held| held.contains_key("VirtualHost http-8080/a.example")).await;

    world.tenant::<foregate_api::GatewayClaim>().delete("web", &DeleteParams::default()).await.unwrap();
    until_gone(&world.tenant::<GatewayProxy>(), "web").await;
    until_gone(&world.global::<GatewayInstance>(), "tenant-default.web.local").await;
    engine.until(|held| held.is_empty() || !held.contains_key("Listener http-8080")).await;
    drop(engine);
    until_gone(&world.global::<Address>(), "127.100.0.1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_share_and_the_rest_stays_when_one_goes() {
    let world = World::new("127.100.0.0/24").await;
    let (mut a, mut b) = (claim("a", 8080), claim("b", 8081));
    a.spec.sharing_key = Some("web".into());
    b.spec.sharing_key = Some("web".into());
    world.claim(&a).await;
    world.claim(&b).await;
    let proxy = world.until("a", "Bound", "True Bound").await.status.unwrap().proxy.unwrap();
    let other = world.until("b", "Bound", "True Bound").await.status.unwrap().proxy.unwrap();
    assert_eq!(proxy, other);
    let engine = Engine::connect(&world, &proxy, None).await;
    let both = ["Listener http-8080", "Listener http-8081"];
    engine.until(|held| both.iter().all(|name| held.contains_key(*name))).await;
    world.until("a", "Programmed", "True Programmed").await;
    world.until("b", "Programmed", "True Programmed").await;
    world.tenant::<foregate_api::GatewayClaim>().delete("a", &DeleteParams::default()).await.unwrap();
    engine.until(|held| !held.contains_key(both[0]) && held.contains_key(both[1])).await;
    until(&world.tenant::<GatewayProxy>(), &proxy, |proxy| {
        proxy.status.as_ref().is_some_and(|status| status.claims == ["b"])
    })
    .await;
    assert_eq!(condition(&world.until("b", "Bound", "True Bound").await, "Programmed"), "True Programmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_pool_heals() {
    let world = World::new("127.100.0.1").await;
    world.claim(&claim("first", 8080)).await;
    world.until("first", "Programmed", "False NoResources").await;
    world.claim(&claim("second", 8080)).await;
    world.until("second", "Programmed", "False AddressNotAssigned").await;
    patch_spec(&world.global::<AddressPool>(), "default", json!({ "ranges": ["127.100.0.1-127.100.0.2"] })).await;
    let healed = world.until("second", "Programmed", "False NoResources").await;
    assert_eq!(healed.status.unwrap().addresses, ["127.100.0.2"]);
    world.claim(&claim("third", 8080)).await;
    world.until("third", "Programmed", "False AddressNotAssigned").await;
    world.tenant::<foregate_api::GatewayClaim>().delete("first", &DeleteParams::default()).await.unwrap();
    let healed = world.until("third", "Programmed", "False NoResources").await;
    assert_eq!(healed.status.unwrap().addresses, ["127.100.0.1"]);
}
