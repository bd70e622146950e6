//! The platform away while requests flow and the cluster's objects change.

use std::time::{Duration, Instant};

use foregate_api::GatewayClaim;
use foregate_api::gateway::{Gateway, GatewayClass};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::Args;
use crate::harness::{apply, condition, eventually};
use crate::scene::{NAMESPACE, gateway, route_object};
use crate::split::Split;
use crate::ways::{BOTH, Load, Ways};

/// Routes of each fate: deleted, changed, made meanwhile.
const EACH: usize = 40;
/// Header of a changed route's answers.
const CHANGED: &str = "x-changed";

/// Ten minutes: requests go on being answered, conditions say what is wrong, and once the platform is back all that
/// happened meanwhile is so, deletions above all. The controller is killed in the middle of it: what it was told of
/// deletions is gone with it.
pub async fn run(args: &Args) {
    let away = args.lasting(Duration::from_secs(600));
    let mut split = Split::set(1, "builtin").await;
    before(&split).await;
    let load = Load::start(2, &split.ways, "web");
    load.go_on(100).await;

    split.scene.bed.kill_up();
    let gone = Instant::now();
    let message = eventually("the class says that the platform is away", || not_accepted(&split)).await;
    println!("  told after {:.1?}: {message}", gone.elapsed());
    meanwhile(&split).await;
    gateways_say(&split).await;
    tokio::time::sleep_until((gone + away / 2).into()).await;
    split.scene.bed.controllers[0].take().unwrap().stop(Signal::KILL);
    let again = split.scene.bed.controller(0);
    split.scene.bed.controllers[0] = Some(again);
    tokio::time::sleep_until((gone + away).into()).await;

    split.scene.bed.start_up();
    let back = Instant::now();
    let tally = load.take();
    println!(
        "  platform away for {:.0?}, controller killed meanwhile: {} requests answered",
        gone.elapsed(),
        tally.answered
    );
    caught_up(&split, back).await;
    let all = [tally.failed, load.finish().await.failed].concat();
    assert!(all.is_empty() && tally.cut + tally.refused == 0, "{} {} {all:#?}", tally.cut, tally.refused);
    println!("  failed: 0, answered by the other instance: 0");
}

fn name(fate: &str, index: usize) -> String {
    format!("{fate}{index}")
}

fn host(fate: &str, index: usize) -> String {
    format!("{fate}{index}.away.test")
}

async fn create(split: &Split, fate: &str) {
    for index in 0..EACH {
        let route = route_object(NAMESPACE, &name(fate, index), &host(fate, index), "one");
        split.scene.routes().create(&Default::default(), &route).await.unwrap();
    }
}

async fn before(split: &Split) {
    create(split, "deleted").await;
    create(split, "changed").await;
    apply(&split.scene.client, &gateway("doomed", 8081)).await;
    for fate in ["deleted", "changed"] {
        split.ways.until_both_serve(&host(fate, EACH - 1)).await;
    }
    eventually("the other Gateway's claim is there", || async { (claims(split).await == 2).then_some(()) }).await;
}

async fn meanwhile(split: &Split) {
    let routes = split.scene.routes();
    for index in 0..EACH {
        routes.delete(&name("deleted", index), &DeleteParams::default()).await.unwrap();
        let filter = json!({"type": "ResponseHeaderModifier",
            "responseHeaderModifier": {"set": [{"name": CHANGED, "value": "yes"}]}});
        let rules = json!([{"filters": [filter], "backendRefs": [{"name": "two", "port": 80}]}]);
        let patch = Patch::Merge(json!({"spec": {"rules": rules}}));
        routes.patch(&name("changed", index), &PatchParams::default(), &patch).await.unwrap();
    }
    create(split, "made").await;
    let gateways: Api<Gateway> = Api::namespaced(split.scene.client.clone(), NAMESPACE);
    gateways.delete("doomed", &DeleteParams::default()).await.unwrap();
    apply(&split.scene.client, &gateway("late", 8082)).await;
}

async fn claims(split: &Split) -> usize {
    let Some(up) = &split.scene.bed.up else { return 0 };
    let api: Api<GatewayClaim> = Api::all(up.client().await);
    api.list(&ListParams::default()).await.map_or(0, |list| list.items.len())
}

/// The class's condition Accepted, as long as that isn't True.
async fn not_accepted(split: &Split) -> Option<String> {
    let classes: Api<GatewayClass> = Api::all(split.scene.client.clone());
    let class = serde_json::to_value(classes.get("foregate").await.ok()?).ok()?;
    let (status, reason, message) = condition(&class, "/status/conditions", "Accepted")?;
    (status != "True").then(|| format!("GatewayClass Accepted={status} {reason}: {message}"))
}

/// What the condition Programmed of a Gateway says.
async fn programmed(split: &Split, gateway: &str) -> Option<(String, String, String)> {
    let gateways: Api<Gateway> = Api::namespaced(split.scene.client.clone(), NAMESPACE);
    let gateway = serde_json::to_value(gateways.get(gateway).await.ok()?).ok()?;
    condition(&gateway, "/status/conditions", "Programmed")
}

/// A Gateway that is made while the platform is away isn't programmed, and says why; what serves says that it does.
async fn gateways_say(split: &Split) {
    let late = eventually("the controller has judged the new Gateway", || async {
        let told = programmed(split, "late").await?;
        // What the definition of the kind has for Gateways that nobody has looked at.
        (told.2 != "Waiting for controller").then_some(told)
    })
    .await;
    let (serving, _, _) = programmed(split, "web").await.unwrap();
    assert!(late.0 != "True" && serving == "True", "{late:?} {serving}");
    println!(
        "    Gateway made meanwhile: Programmed={} {}: {}; the one that serves: {serving}",
        late.0, late.1, late.2
    );
}

/// Waits until everything is as the cluster has it, and says when that was.
async fn caught_up(split: &Split, back: Instant) {
    let after = |what: &str| println!("    {what} {:.1?} after the platform's return", back.elapsed());
    eventually("the class is accepted again", || async { not_accepted(split).await.is_none().then_some(()) }).await;
    after("class accepted");
    every(&split.ways, "made", |answer| answer.status == 200).await;
    every(&split.ways, "changed", |answer| answer.headers.contains_key(CHANGED)).await;
    every(&split.ways, "deleted", |answer| answer.status == 404).await;
    after("routes made, changed and deleted meanwhile are so on both instances");
    eventually("the Gateway made meanwhile is programmed", || async {
        (programmed(split, "late").await?.0 == "True").then_some(())
    })
    .await;
    after("Gateway made meanwhile programmed");
    eventually("the deleted Gateway's claim goes", || async { (claims(split).await == 2).then_some(()) }).await;
    after("deleted Gateway gone");
    let routes = split.scene.routes();
    eventually("every route is Accepted", || async {
        let all = routes.list(&ListParams::default()).await.ok()?;
        let accepted = |value: Value| {
            condition(&value, "/status/parents/0/conditions", "Accepted").is_some_and(|(status, _, _)| status == "True")
        };
        let mut all = all.items.into_iter().map(|route| serde_json::to_value(route).unwrap_or_default());
        all.all(accepted).then_some(())
    })
    .await;
    after("every route says that it is accepted");
}

async fn every(ways: &Ways, fate: &str, wanted: impl Fn(&http::response::Parts) -> bool) {
    for way in BOTH {
        for index in 0..EACH {
            ways.until(way, &host(fate, index), &wanted).await;
        }
    }
}
