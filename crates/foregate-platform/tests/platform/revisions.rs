use foregate_api::ConfigRevision;
use foregate_api::GatewayRoute;
use kube::ResourceExt;
use serde_json::json;

use crate::engine::Engine;
use crate::world::{World, claim, patch_spec, route, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_are_written_down_once_a_second_with_causes_and_old_texts() {
    let world = World::new("127.100.0.0/24").await;
    world.claim(&claim("web", 8080)).await;
    world.until("web", "Programmed", "False NoResources").await;
    let engine = Engine::connect(&world, "web", None).await;
    engine.until(|held| held.contains_key("Listener http-8080")).await;
    let first = until(&world.tenant::<ConfigRevision>(), "web-1", |_| true).await;
    assert_eq!((first.spec.number, first.spec.parent.clone()), (1, None));
    assert!(first.spec.changes.iter().any(|change| change.name == "http-8080" && change.old.is_none()));
    assert_eq!(first.owner_references()[0].kind, "GatewayProxy");

    world.route(&route("a", "web", "a.example")).await;
    let second = until(&world.tenant::<ConfigRevision>(), "web-2", |_| true).await;
    assert_eq!(second.spec.parent.as_deref(), Some("web-1"));
    assert_eq!(second.spec.causes.iter().map(|cause| cause.name.as_str()).collect::<Vec<_>>(), ["a"]);

    for generation in 2..6 {
        let path = json!({ "type": "Exact", "value": format!("/{generation}") });
        let attempt = json!({ "origin": { "generation": generation }, "rules": [{ "matches": [{ "path": path }] }] });
        patch_spec(&world.tenant::<GatewayRoute>(), "a", attempt).await;
    }
    let third = until(&world.tenant::<ConfigRevision>(), "web-3", |_| true).await;
    assert_eq!(third.spec.changes.len(), 1, "four steps in one: {:#?}", third.spec);
    assert_eq!(third.spec.changes[0].name, "http-8080/a.example");
    assert!(third.spec.changes[0].old.as_deref().is_some_and(|old| old.ends_with(" bytes")));
    assert_eq!(third.spec.causes[0].generation, 5);
}
