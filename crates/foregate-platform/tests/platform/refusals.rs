use foregate_api::{GatewayInstance, GatewayRoute};
use kube::ResourceExt;
use serde_json::json;

use crate::engine::Engine;
use crate::world::{World, claim, patch_spec, route, until};

fn said(route: &GatewayRoute) -> Option<&str> {
    Some(route.status.as_ref()?.conditions.first()?.message.as_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_virtual_host_among_fifty_is_named_and_the_others_serve() {
    let world = World::new("127.100.0.0/24").await;
    world.claim(&claim("web", 8080)).await;
    for number in 0..49 {
        world.route(&route(&format!("good{number}"), "web", &format!("good{number}.example"))).await;
    }
    world.route(&route("culprit", "web", "refused.example")).await;
    world.until("web", "Programmed", "False NoResources").await;
    let engine = Engine::connect(&world, "web", Some("refused.example")).await;
    engine.until(|held| held.keys().filter(|name| name.starts_with("VirtualHost http-8080/good")).count() == 49).await;
    let culprit = until(&world.tenant::<GatewayRoute>(), "culprit", |route| said(route).is_some()).await;
    let message = "the engine refused it: http-8080/refused.example isn't to my taste";
    assert_eq!(said(&culprit), Some(message));
    let status = culprit.status.unwrap();
    let accepted = &status.conditions[0];
    assert_eq!((accepted.type_.as_str(), accepted.status.as_str(), status.origin_generation), ("Accepted", "False", 1));
    world.until("web", "Programmed", "True Programmed").await;
    let instance = until(&world.global::<GatewayInstance>(), "tenant-default.web.local", |instance| {
        instance.status.as_ref().is_some_and(|status| status.last_nack.is_some())
    })
    .await;
    assert_eq!(instance.status.unwrap().last_nack.unwrap().resources, ["http-8080/refused.example"]);
    for number in 0..49 {
        let good = world.tenant::<GatewayRoute>().get(&format!("good{number}")).await.unwrap();
        assert_eq!(said(&good), None);
    }

    let attachments = json!([{ "claim": "web", "listener": "http",
        "hostnames": [{ "effective": "healed.example", "original": "healed.example" }] }]);
    let mut origin = json!(culprit.spec.origin);
    origin["generation"] = json!(2);
    let spec = json!({ "origin": origin, "attachments": attachments });
    patch_spec(&world.tenant::<GatewayRoute>(), "culprit", spec).await;
    engine.until(|held| held.contains_key("VirtualHost http-8080/healed.example")).await;
    until(&world.tenant::<GatewayRoute>(), "culprit", |route| said(route).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_routes_among_many_of_one_host_are_found_and_the_others_serve() {
    let world = World::new("127.100.0.0/24").await;
    world.claim(&claim("web", 8080)).await;
    for number in 0..20 {
        let mut route = route(&format!("r{number}"), "web", "a.example");
        route.spec.rules[0].matches[0].method =
            Some(if number % 9 == 4 { "BREW".into() } else { format!("M{number}") });
        world.route(&route).await;
    }
    world.until("web", "Programmed", "False NoResources").await;
    let engine = Engine::connect(&world, "web", Some("BREW")).await;
    for culprit in ["r4", "r13"] {
        until(&world.tenant::<GatewayRoute>(), culprit, |route| said(route).is_some()).await;
    }
    engine.until(|held| held.contains_key("VirtualHost http-8080/a.example")).await;
    let blamed = world.tenant::<GatewayRoute>().list(&Default::default()).await.unwrap();
    let blamed: Vec<_> = blamed.items.iter().filter(|route| said(route).is_some()).map(|it| it.name_any()).collect();
    assert_eq!(blamed, ["r13", "r4"]);
    world.until("web", "Programmed", "True Programmed").await;
    let served = world.cache.dump("tenant-default/web").into_iter().find(|it| &*it.id.name == "http-8080/a.example");
    assert_eq!(served.unwrap().owners.len(), 18);
}
