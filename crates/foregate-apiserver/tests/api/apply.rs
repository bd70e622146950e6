//! Server-side apply.

use serde_json::json;

use crate::bench::{THINGS, bench, thing, things};

#[tokio::test]
async fn appliers_own_what_they_apply() {
    let bench = bench();
    bench.define(things()).await;
    let path = format!("{THINGS}/a");
    let first = thing("a", json!({"ports": [{"name": "http", "port": 80}], "text": "x"}));
    let (code, made) = bench.apply(&path, "one", &first).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["size"], 1, "defaults are set");

    // Another applier adds its own list item and leaves the first's alone.
    let second = thing("a", json!({"ports": [{"name": "https", "port": 443}]}));
    let (code, both) = bench.apply(&path, "two", &second).await;
    assert_eq!((code, both["spec"]["ports"].as_array().unwrap().len()), (200, 2), "{both}");

    // What the other owns can only be taken with force.
    let taken = thing("a", json!({"text": "y"}));
    let (code, answer) = bench.apply(&path, "two", &taken).await;
    assert_eq!((code, answer["reason"].as_str()), (409, Some("Conflict")));
    assert_eq!(answer["details"]["causes"][0]["reason"], "FieldManagerConflict");
    assert_eq!(answer["details"]["causes"][0]["field"], ".spec.text");
    let (code, forced) = bench.apply(&format!("{path}?force=true"), "two", &taken).await;
    assert_eq!((code, &forced["spec"]["text"]), (200, &json!("y")));

    // What an applier applies no more goes: the second's port went with its last apply.
    assert_eq!(forced["spec"]["ports"], json!([{"name": "http", "port": 80}]));
    let revision = forced["metadata"]["resourceVersion"].clone();
    let (_, again) = bench.apply(&path, "two", &taken).await;
    assert_eq!(again["metadata"]["resourceVersion"], revision, "the same apply changes nothing");
}

#[tokio::test]
async fn an_apply_of_the_status_leaves_the_rest() {
    let bench = bench();
    bench.define(things()).await;
    bench.apply(&format!("{THINGS}/a"), "one", &thing("a", json!({"size": 3}))).await;
    let mut status = thing("a", json!({"size": 9}));
    status["status"] = json!({"phase": "Up"});
    let (code, after) = bench.apply(&format!("{THINGS}/a/status"), "controller", &status).await;
    assert_eq!(code, 200, "{after}");
    assert_eq!((&after["status"]["phase"], &after["spec"]["size"]), (&json!("Up"), &json!(3)));
    let mut managers: Vec<(&str, Option<&str>)> = after["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| (m["manager"].as_str().unwrap(), m["subresource"].as_str()))
        .collect();
    managers.sort_unstable();
    assert_eq!(managers, [("controller", Some("status")), ("one", None)]);
}

#[tokio::test]
async fn an_apply_says_who_applies() {
    let bench = bench();
    bench.define(things()).await;
    let body = thing("a", json!({})).to_string();
    let path = format!("{THINGS}/a");
    let (code, answer) = bench.send(http::Method::PATCH, &path, "application/apply-patch+yaml", body).await;
    assert_eq!(code, 422, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("fieldManager"), "{answer}");
}
