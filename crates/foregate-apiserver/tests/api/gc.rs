//! What goes when something else goes.

use serde_json::{Value, json};

use crate::bench::{Answer, Bench, DEFINITIONS, MAPS, THINGS, bench, config_map, thing, things};

async fn owned(bench: &Bench, name: &str, owner: &Value, blocks: bool) -> Value {
    let mut object = config_map(name, json!({}));
    object["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap",
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "blockOwnerDeletion": blocks}]);
    let (code, made) = bench.post(MAPS, &object).await;
    assert_eq!(code, 201, "{made}");
    made
}

fn gone(answer: &Answer) -> bool {
    answer.0 == 404
}

#[tokio::test]
async fn dependents_go_with_their_last_owner() {
    let bench = bench();
    let (_, a) = bench.post(MAPS, &config_map("a", json!({}))).await;
    let (_, b) = bench.post(MAPS, &config_map("b", json!({}))).await;
    let child = owned(&bench, "child", &a, false).await;
    owned(&bench, "grandchild", &child, false).await;
    let mut both = config_map("both", json!({}));
    both["metadata"]["ownerReferences"] = [&a, &b]
        .map(|o| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": o["metadata"]["name"], "uid": o["metadata"]["uid"]}))
        .into();
    bench.post(MAPS, &both).await;

    bench.delete(&format!("{MAPS}/a"), json!({})).await;
    bench.until(&format!("{MAPS}/child"), gone).await;
    bench.until(&format!("{MAPS}/grandchild"), gone).await;
    let left = bench
        .until(&format!("{MAPS}/both"), |a| a.1["metadata"]["ownerReferences"].as_array().is_some_and(|l| l.len() == 1))
        .await;
    assert_eq!(left.1["metadata"]["ownerReferences"][0]["name"], "b");
    bench.delete(&format!("{MAPS}/b"), json!({})).await;
    bench.until(&format!("{MAPS}/both"), gone).await;
}

#[tokio::test]
async fn an_owner_that_never_was_is_gone() {
    let bench = bench();
    let ghost = json!({"metadata": {"name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}});
    owned(&bench, "child", &ghost, false).await;
    bench.until(&format!("{MAPS}/child"), gone).await;
}

#[tokio::test]
async fn orphans_stay() {
    let bench = bench();
    let (_, a) = bench.post(MAPS, &config_map("a", json!({}))).await;
    owned(&bench, "child", &a, true).await;
    bench.delete(&format!("{MAPS}/a"), json!({"propagationPolicy": "Orphan"})).await;
    bench.until(&format!("{MAPS}/a"), gone).await;
    let (code, child) = bench.get(&format!("{MAPS}/child")).await;
    assert_eq!((code, &child["metadata"]["ownerReferences"]), (200, &Value::Null));
}

#[tokio::test]
async fn a_foreground_deletion_takes_dependents_first() {
    let bench = bench();
    let (_, a) = bench.post(MAPS, &config_map("a", json!({}))).await;
    owned(&bench, "child", &a, true).await;
    bench.merge(&format!("{MAPS}/child"), json!({"metadata": {"finalizers": ["test.dev/wait"]}})).await;
    bench.delete(&format!("{MAPS}/a"), json!({"propagationPolicy": "Foreground"})).await;
    bench.until(&format!("{MAPS}/child"), |a| a.1["metadata"]["deletionTimestamp"].is_string()).await;
    assert_eq!(bench.get(&format!("{MAPS}/a")).await.0, 200, "it waits for the child");
    bench.merge(&format!("{MAPS}/child"), json!({"metadata": {"finalizers": null}})).await;
    bench.until(&format!("{MAPS}/child"), gone).await;
    bench.until(&format!("{MAPS}/a"), gone).await;
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let bench = bench();
    let mut object = config_map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["test.dev/one"]);
    bench.post(MAPS, &object).await;
    let path = format!("{MAPS}/a");
    let (code, left) = bench.delete(&path, json!({})).await;
    assert_eq!(code, 200);
    assert!(left["metadata"]["deletionTimestamp"].is_string(), "{left}");
    let (_, again) = bench.delete(&path, json!({})).await;
    assert_eq!(again["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
    bench.merge(&path, json!({"metadata": {"deletionTimestamp": null}, "data": {"x": "y"}})).await;
    assert!(bench.get(&path).await.1["metadata"]["deletionTimestamp"].is_string(), "there is no way back");
    let (code, _) = bench.merge(&path, json!({"metadata": {"finalizers": []}})).await;
    assert_eq!(code, 200);
    assert_eq!(bench.get(&path).await.0, 404);
}

#[tokio::test]
async fn a_namespace_takes_its_content_along() {
    let bench = bench();
    bench.define(things()).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    let (_, made) = bench.post("/api/v1/namespaces", &namespace).await;
    assert_eq!(made["status"]["phase"], "Active");
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "team");
    let things = THINGS.replace("default", "team");
    let mut held = thing("held", json!({}));
    held["metadata"]["finalizers"] = json!(["test.dev/hold"]);
    assert_eq!(bench.post(&things, &held).await.0, 201);
    bench.post(&MAPS.replace("default", "team"), &config_map("a", json!({}))).await;

    let (code, ending) = bench.delete("/api/v1/namespaces/team", json!({})).await;
    assert_eq!((code, ending["status"]["phase"].as_str()), (200, Some("Terminating")));
    bench.until(&format!("{}/a", MAPS.replace("default", "team")), gone).await;
    let (code, answer) = bench.post(&things, &thing("late", json!({}))).await;
    assert_eq!(code, 403, "{answer}");
    assert_eq!(answer["details"]["causes"][0]["reason"], "NamespaceTerminating");
    assert_eq!(bench.get("/api/v1/namespaces/team").await.0, 200, "a finalizer holds it");
    bench.merge(&format!("{things}/held"), json!({"metadata": {"finalizers": null}})).await;
    bench.until("/api/v1/namespaces/team", gone).await;
    assert_eq!(bench.get("/api/v1/namespaces/default").await.0, 200);
}

#[tokio::test]
async fn a_definition_takes_its_objects_along() {
    let bench = bench();
    bench.define(things()).await;
    bench.post(THINGS, &thing("a", json!({}))).await;
    let path = format!("{DEFINITIONS}/things.test.dev");
    bench.delete(&path, json!({})).await;
    bench.until(&path, gone).await;
    assert_eq!(bench.get(&format!("{THINGS}/a")).await.0, 404);
    // Defined again, it is empty.
    bench.define(things()).await;
    assert_eq!(bench.get(THINGS).await.1["items"], json!([]));
}
