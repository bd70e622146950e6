use foregate_api::{ConfigRevision, GatewayClaim, GatewayProxy, GatewayRoute};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::world::{World, claim, condition, patch_spec, route, until, until_gone};

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
    assert!(third.spec.changes[0].old.as_deref().is_some_and(|old| old.contains("a.example")));
    assert_eq!(third.spec.causes[0].generation, 5);
}

async fn pin(world: &World, revision: impl Into<Value>) {
    patch_spec(&world.tenant::<GatewayProxy>(), "web", json!({ "pinnedRevision": revision.into() })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_revision_is_served_across_restarts_and_changes() {
    let mut world = World::new("127.100.0.0/24").await;
    world.claim(&claim("web", 8080)).await;
    world.until("web", "Programmed", "False NoResources").await;
    world.route(&route("a", "web", "a.example")).await;
    let engine = Engine::connect(&world, "web", None).await;
    world.until("web", "Programmed", "True Programmed").await;
    let has = |name: &'static str| move |held: &std::collections::BTreeMap<String, String>| held.contains_key(name);
    let then = engine.until(has("VirtualHost http-8080/a.example")).await;
    let all = |revision: &ConfigRevision| revision.spec.changes.iter().any(|it| it.name == "http-8080/a.example");
    let mut number = 1;
    while !all(&until(&world.tenant::<ConfigRevision>(), &format!("web-{number}"), |_| true).await) {
        number += 1;
    }
    let name = format!("web-{number}");
    world.route(&route("b", "web", "b.example")).await;
    engine.until(has("VirtualHost http-8080/b.example")).await;
    until(&world.tenant::<ConfigRevision>(), &format!("web-{}", number + 1), |_| true).await;

    pin(&world, name.as_str()).await;
    engine.until(|held| *held == then).await;
    world.until("web", "Pinned", "True Pinned").await;
    let part = format!("{name}.part-1");
    let kept = until(&world.tenant::<ConfigRevision>(), &part, |_| true).await;
    assert_eq!(kept.owner_references()[0].name, "web");
    until(&world.tenant::<ConfigRevision>(), &format!("web-{}", number + 2), |_| true).await;

    // Something changes while nobody is there to note what was before: the steps lead nowhere any more.
    world.stop().await;
    drop(engine);
    world.route(&route("c", "web", "c.example")).await;
    world.start();
    let engine = Engine::connect(&world, "web", None).await;
    engine.until(|held| *held == then).await;
    world.until("web", "Programmed", "True Programmed").await;

    // A revision that was never there: it stays as it is.
    pin(&world, "web-999").await;
    let told = world.until("web", "Pinned", "True RevisionNotFound").await;
    assert_eq!(condition(&told, "Programmed"), "True Programmed");
    assert_eq!(engine.until(|_| true).await, then);

    pin(&world, Value::Null).await;
    let held = engine.until(has("VirtualHost http-8080/c.example")).await;
    assert!(held.contains_key("VirtualHost http-8080/b.example"));
    until(&world.tenant::<GatewayClaim>(), "web", |claim| condition(claim, "Pinned").is_empty()).await;
    until_gone(&world.tenant::<ConfigRevision>(), &part).await;
}
