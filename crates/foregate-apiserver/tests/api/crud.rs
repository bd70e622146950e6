//! Objects are created, read, changed and deleted as Kubernetes does it.

use http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::bench::{MAPS, THINGS, bench, config_map, thing, things};

#[tokio::test]
async fn a_client_creates_reads_changes_and_deletes() {
    let bench = bench();
    let maps: Api<ConfigMap> = Api::namespaced(bench.client.clone(), "default");
    let new: ConfigMap = serde_json::from_value(config_map("a", json!({"x": "1"}))).unwrap();
    let made = maps.create(&PostParams::default(), &new).await.unwrap();
    let meta = &made.metadata;
    assert!(meta.uid.is_some() && meta.creation_timestamp.is_some() && meta.resource_version.is_some());
    assert!(matches!(maps.create(&PostParams::default(), &new).await, Err(kube::Error::Api(s)) if s.code == 409));

    let patch = Patch::Merge(json!({"data": {"y": "2"}}));
    let patched = maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(patched.data.as_ref().unwrap().len(), 2);

    // The old revision can't be written over; without one it can.
    let mut stale = made.clone();
    stale.data = None;
    assert!(
        matches!(maps.replace("a", &PostParams::default(), &stale).await, Err(kube::Error::Api(s)) if s.code == 409)
    );
    stale.metadata.resource_version = None;
    let replaced = maps.replace("a", &PostParams::default(), &stale).await.unwrap();
    assert_eq!((replaced.data, replaced.metadata.uid), (None, made.metadata.uid.clone()));

    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_write_that_changes_nothing_writes_nothing() {
    let bench = bench();
    let (_, made) = bench.post(MAPS, &config_map("a", json!({"x": "1"}))).await;
    let path = format!("{MAPS}/a");
    let (_, same) = bench.merge(&path, json!({"data": {"x": "1"}})).await;
    assert_eq!(made["metadata"]["resourceVersion"], same["metadata"]["resourceVersion"]);
    let (_, same) = bench.put(&path, &made).await;
    assert_eq!(made["metadata"]["resourceVersion"], same["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn status_and_spec_do_not_touch_each_other() {
    let bench = bench();
    bench.define(things()).await;
    let mut new = thing("a", json!({"size": 2}));
    new["status"] = json!({"phase": "Forged"});
    let (code, made) = bench.post(THINGS, &new).await;
    assert_eq!((code, &made["status"]), (201, &json!(null)));
    assert_eq!(made["metadata"]["generation"], 1);

    let (path, status) = (format!("{THINGS}/a"), format!("{THINGS}/a/status"));
    let (code, after) = bench
        .merge(&status, json!({"status": {"phase": "Up"}, "spec": {"size": 9}, "metadata": {"labels": {"a": "b"}}}))
        .await;
    assert_eq!(code, 200, "{after}");
    assert_eq!((&after["status"]["phase"], &after["spec"]["size"]), (&json!("Up"), &json!(2)));
    assert_eq!((&after["metadata"]["generation"], &after["metadata"]["labels"]), (&json!(1), &json!(null)));

    let (_, after) = bench.merge(&path, json!({"status": {"phase": "Down"}, "spec": {"size": 3}})).await;
    assert_eq!((&after["status"]["phase"], &after["spec"]["size"]), (&json!("Up"), &json!(3)));
    assert_eq!(after["metadata"]["generation"], 2);
    let (_, after) = bench.merge(&path, json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(after["metadata"]["generation"], 2);

    let mut whole = after.clone();
    whole["status"] = json!({"phase": "Gone"});
    whole["spec"]["size"] = json!(7);
    let (_, after) = bench.put(&status, &whole).await;
    assert_eq!((&after["status"]["phase"], &after["spec"]["size"]), (&json!("Gone"), &json!(3)));
    assert_eq!(bench.get(&status).await.1["status"]["phase"], "Gone");
}

#[tokio::test]
async fn defaults_are_set_and_unknown_fields_go() {
    let bench = bench();
    bench.define(things()).await;
    let object = thing("a", json!({"unknown": 1, "text": "fine"}));
    let (code, answer) = bench.post(&format!("{THINGS}?fieldValidation=Strict"), &object).await;
    assert_eq!(code, 400);
    assert!(answer["message"].as_str().unwrap().contains("unknown field \"spec.unknown\""), "{answer}");
    let (code, answer) = bench.post(THINGS, &object).await;
    assert_eq!(code, 201);
    assert_eq!(answer["spec"], json!({"size": 1, "text": "fine"}));
}

#[tokio::test]
async fn a_field_twice_is_refused_or_warned_of() {
    let bench = bench();
    let body = r#"{"metadata": {"name": "a"}, "data": {"x": "1", "x": "2"}}"#;
    let path = format!("{MAPS}?fieldValidation=Strict");
    let (code, answer) = bench.send(Method::POST, &path, "application/json", body).await;
    assert_eq!(code, 400);
    assert!(answer["message"].as_str().unwrap().contains("duplicate field \"data.x\""), "{answer}");
    let (code, answer) = bench.send(Method::POST, MAPS, "application/json", body).await;
    assert_eq!((code, &answer["data"]["x"]), (201, &json!("2")));
}

#[tokio::test]
async fn what_is_wrong_is_named_by_field() {
    let bench = bench();
    bench.define(things()).await;
    let (code, answer) =
        bench.post(THINGS, &thing("Bad_Name", json!({"size": 11, "text": "bad", "names": ["a", "a"]}))).await;
    assert_eq!((code, answer["reason"].as_str()), (422, Some("Invalid")));
    let fields: Vec<&str> =
        answer["details"]["causes"].as_array().unwrap().iter().map(|c| c["field"].as_str().unwrap()).collect();
    for field in ["metadata.name", "spec.size", "spec.names[1]"] {
        assert!(fields.contains(&field), "{field} is missing in {answer}");
    }
    let (_, answer) = bench.post(THINGS, &thing("a", json!({"text": "bad"}))).await;
    assert!(answer["message"].as_str().unwrap().contains("text can't be bad"), "{answer}");
}

#[tokio::test]
async fn every_version_shows_the_same_object() {
    let bench = bench();
    bench.define(things()).await;
    bench.post(THINGS, &thing("a", json!({"size": 4}))).await;
    let beta = "/apis/test.dev/v1beta1/namespaces/default/things";
    let (code, shown) = bench.get(&format!("{beta}/a")).await;
    assert_eq!((code, shown["apiVersion"].as_str()), (200, Some("test.dev/v1beta1")));
    let (_, changed) = bench.merge(&format!("{beta}/a"), json!({"spec": {"size": 5}})).await;
    assert_eq!(changed["apiVersion"], "test.dev/v1beta1");
    let (_, stored) = bench.get(&format!("{THINGS}/a")).await;
    assert_eq!((&stored["apiVersion"], &stored["spec"]["size"]), (&json!("test.dev/v1"), &json!(5)));
}

#[tokio::test]
async fn names_are_generated() {
    let bench = bench();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "job-"}});
    let (first, second) = (bench.post(MAPS, &object).await.1, bench.post(MAPS, &object).await.1);
    let name = |o: &serde_json::Value| o["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name(&first).starts_with("job-") && name(&first).len() == 9);
    assert_ne!(name(&first), name(&second));
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let bench = bench();
    let (code, _) = bench.post(&format!("{MAPS}?dryRun=All"), &config_map("a", json!({}))).await;
    assert_eq!(code, 201);
    assert_eq!(bench.get(&format!("{MAPS}/a")).await.0, 404);
    bench.post(MAPS, &config_map("a", json!({"x": "1"}))).await;
    let (code, answer) = bench.merge(&format!("{MAPS}/a?dryRun=All"), json!({"data": {"x": "2"}})).await;
    assert_eq!((code, &answer["data"]["x"]), (200, &json!("2")));
    bench.delete(&format!("{MAPS}/a?dryRun=All"), json!({})).await;
    assert_eq!(bench.get(&format!("{MAPS}/a")).await.1["data"]["x"], "1");
}

#[tokio::test]
async fn a_secret_hides_nothing_in_string_data() {
    let bench = bench();
    let secrets: Api<Secret> = Api::namespaced(bench.client.clone(), "default");
    let new: Secret = serde_json::from_value(json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}})).unwrap();
    let made = secrets.create(&PostParams::default(), &new).await.unwrap();
    assert_eq!(made.data.unwrap()["a"].0, b"b");
    assert_eq!((made.string_data, made.type_.as_deref()), (None, Some("Opaque")));
}

#[tokio::test]
async fn preconditions_of_a_deletion_hold() {
    let bench = bench();
    let (_, made) = bench.post(MAPS, &config_map("a", json!({}))).await;
    let path = format!("{MAPS}/a");
    let (code, answer) = bench.delete(&path, json!({"preconditions": {"uid": "other"}})).await;
    assert_eq!((code, answer["reason"].as_str()), (409, Some("Conflict")));
    let (code, _) = bench.delete(&path, json!({"preconditions": {"resourceVersion": "1"}})).await;
    assert_eq!(code, 409);
    let (code, answer) = bench.delete(&path, json!({"preconditions": {"uid": made["metadata"]["uid"]}})).await;
    assert_eq!((code, answer["status"].as_str()), (200, Some("Success")));
}

#[tokio::test]
async fn writers_of_one_object_all_get_through() {
    let bench = bench();
    bench.post(MAPS, &config_map("a", json!({}))).await;
    let path = format!("{MAPS}/a");
    let patches = (0..24).map(|i| bench.merge(&path, json!({"data": {format!("k{i}"): "v"}})));
    for (code, answer) in futures::future::join_all(patches).await {
        assert_eq!(code, 200, "{answer}");
    }
    assert_eq!(bench.get(&path).await.1["data"].as_object().unwrap().len(), 24);
}

#[tokio::test]
async fn paths_that_lead_nowhere_say_so() {
    let bench = bench();
    for (method, path, code) in [
        (Method::GET, "/api/v1/pods", 404),
        (Method::GET, "/apis/none/v1/things", 404),
        (Method::GET, "/api/v1/configmaps/a", 404),
        (Method::GET, "/api/v1/namespaces/default/configmaps/a/status", 404),
        (Method::PUT, "/api/v1/namespaces/default/configmaps", 405),
        (Method::POST, "/api/v1/namespaces/none/configmaps", 404),
    ] {
        let body = config_map("a", json!({})).to_string();
        let (found, answer) = bench.send(method, path, "application/json", body).await;
        assert_eq!((found, answer["kind"].as_str()), (code, Some("Status")), "{path}: {answer}");
    }
}
