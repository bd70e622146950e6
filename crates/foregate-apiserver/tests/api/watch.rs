//! Watches start where they are asked to, and say everything once.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http::Request;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use kube::client::Body;
use serde_json::{Value, json};

use crate::bench::{Bench, MAPS, THINGS, bench, config_map, thing, things};

/// The events of a watch, as JSON lines.
struct Events {
    body: std::pin::Pin<Box<dyn futures::Stream<Item = Value> + Send>>,
}

impl Events {
    async fn open(bench: &Bench, path: &str, accept: &str) -> Self {
        let request = Request::get(path).header("accept", accept).body(Body::empty()).unwrap();
        let response = bench.client.send(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let reader = http_body_util::BodyStream::new(response.into_body())
            .map_ok(|frame| frame.into_data().unwrap_or_default())
            .map_err(|e| std::io::Error::other(e.to_string()));
        let lines = futures::AsyncBufReadExt::lines(reader.into_async_read());
        Self { body: Box::pin(lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())) }
    }

    async fn of(bench: &Bench, query: &str) -> Self {
        Self::open(bench, &format!("{MAPS}?watch=true&{query}"), "application/json").await
    }

    /// Type and name of the next event.
    async fn next(&mut self) -> (String, String) {
        let event = self.raw().await.expect("an event");
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }

    async fn raw(&mut self) -> Option<Value> {
        tokio::time::timeout(Duration::from_secs(60), self.body.next()).await.expect("in time")
    }
}

fn revision(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

fn is(kind: &str, name: &str) -> (String, String) {
    (kind.into(), name.into())
}

#[tokio::test]
async fn a_watch_resumes_after_a_revision() {
    let bench = bench();
    let (_, a) = bench.post(MAPS, &config_map("a", json!({}))).await;
    bench.post(MAPS, &config_map("b", json!({}))).await;
    bench.merge(&format!("{MAPS}/a"), json!({"data": {"x": "1"}})).await;
    bench.delete(&format!("{MAPS}/b"), json!({})).await;
    let mut events = Events::of(&bench, &format!("resourceVersion={}", revision(&a))).await;
    assert_eq!(events.next().await, is("ADDED", "b"));
    assert_eq!(events.next().await, is("MODIFIED", "a"));
    let last = events.raw().await.unwrap();
    assert_eq!((last["type"].as_str(), last["object"]["metadata"]["name"].as_str()), (Some("DELETED"), Some("b")));
    // A deletion has a revision of its own, to resume from.
    let mut events = Events::of(&bench, &format!("resourceVersion={}", revision(&last["object"]))).await;
    bench.post(MAPS, &config_map("c", json!({}))).await;
    assert_eq!(events.next().await, is("ADDED", "c"));
}

#[tokio::test]
async fn without_a_revision_the_present_comes_first() {
    let bench = bench();
    bench.post(MAPS, &config_map("a", json!({}))).await;
    for query in ["", "resourceVersion=0"] {
        let mut events = Events::of(&bench, query).await;
        assert_eq!(events.next().await, is("ADDED", "a"));
        let name = format!("n{}", query.len());
        bench.post(MAPS, &config_map(&name, json!({}))).await;
        assert_eq!(events.next().await, is("ADDED", &name));
        bench.delete(&format!("{MAPS}/{name}"), json!({})).await;
    }
}

#[tokio::test]
async fn the_end_of_the_initial_state_is_announced() {
    let bench = bench();
    bench.post(MAPS, &config_map("a", json!({}))).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = Events::of(&bench, query).await;
    assert_eq!(events.next().await, is("ADDED", "a"));
    let mark = events.raw().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let (_, list) = bench.get(MAPS).await;
    assert_eq!(revision(&mark["object"]), revision(&list));
}

#[tokio::test]
async fn a_revision_from_before_the_start_is_gone() {
    let bench = bench().restart().await;
    for query in ["resourceVersion=1", "resourceVersion=99999999"] {
        let path = format!("{MAPS}?watch=true&{query}");
        let (code, answer) = bench.get(&path).await;
        let status = if code == 200 { answer["object"].clone() } else { answer };
        assert_eq!((&status["code"], &status["reason"]), (&json!(410), &json!("Expired")), "{query}");
    }
}

#[tokio::test]
async fn a_selector_turns_changes_into_additions_and_deletions() {
    let bench = bench();
    let mut events = Events::of(&bench, "labelSelector=app%3Dweb").await;
    bench.post(MAPS, &config_map("a", json!({}))).await;
    let path = format!("{MAPS}/a");
    bench.merge(&path, json!({"metadata": {"labels": {"app": "web"}}})).await;
    bench.merge(&path, json!({"data": {"x": "1"}})).await;
    bench.merge(&path, json!({"metadata": {"labels": {"app": "api"}}})).await;
    bench.delete(&path, json!({})).await;
    bench.post(MAPS, &json!({"metadata": {"name": "b", "labels": {"app": "web"}}})).await;
    for expected in [is("ADDED", "a"), is("MODIFIED", "a"), is("DELETED", "a"), is("ADDED", "b")] {
        assert_eq!(events.next().await, expected);
    }
}

#[tokio::test]
async fn a_field_selector_does_so_too() {
    let bench = bench();
    bench.define(things()).await;
    let path = format!("{THINGS}?watch=true&fieldSelector=spec.size%3D2,metadata.namespace%3Ddefault");
    let mut events = Events::open(&bench, &path, "application/json").await;
    bench.post(THINGS, &thing("a", json!({"size": 1}))).await;
    let path = format!("{THINGS}/a");
    bench.merge(&path, json!({"spec": {"size": 2}})).await;
    bench.merge(&path, json!({"spec": {"text": "x"}})).await;
    bench.merge(&path, json!({"spec": {"size": 3}})).await;
    bench.delete(&path, json!({})).await;
    bench.post(THINGS, &thing("b", json!({"size": 2}))).await;
    bench.delete(&format!("{THINGS}/b"), json!({})).await;
    let expected = [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b"), ("DELETED", "b")];
    for (kind, name) in expected {
        assert_eq!(events.next().await, is(kind, name));
    }
}

#[tokio::test]
async fn a_watch_of_one_name_or_namespace_sees_nothing_else() {
    let bench = bench();
    bench.post("/api/v1/namespaces", &json!({"metadata": {"name": "other"}})).await;
    let mut one = Events::of(&bench, "fieldSelector=metadata.name%3Db").await;
    let mut all = Events::open(&bench, "/api/v1/configmaps?watch=true", "application/json").await;
    bench.post(&MAPS.replace("default", "other"), &config_map("b", json!({}))).await;
    bench.post(MAPS, &config_map("a", json!({}))).await;
    bench.post(MAPS, &config_map("b", json!({}))).await;
    assert_eq!(one.next().await, is("ADDED", "b"));
    for name in ["b", "a", "b"] {
        assert_eq!(all.next().await, is("ADDED", name));
    }
    bench.delete(&format!("{MAPS}/a"), json!({})).await;
    bench.delete(&format!("{MAPS}/b"), json!({})).await;
    assert_eq!(one.next().await, is("DELETED", "b"));
}

#[tokio::test]
async fn tables_are_watched_too() {
    let bench = bench();
    bench.define(things()).await;
    let path = format!("{THINGS}?watch=true");
    let mut events = Events::open(&bench, &path, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    bench.post(THINGS, &thing("a", json!({}))).await;
    bench.merge(&format!("{THINGS}/a"), json!({"spec": {"size": 2}})).await;
    let first = events.raw().await.unwrap();
    assert_eq!(first["object"]["columnDefinitions"].as_array().unwrap().len(), 4);
    let second = events.raw().await.unwrap();
    assert_eq!((&second["type"], &second["object"]["rows"][0]["cells"][1]), (&json!("MODIFIED"), &json!(2)));
    assert_eq!(second["object"]["columnDefinitions"], json!([]));
}

#[tokio::test]
async fn a_watch_ends_when_it_was_asked_to() {
    let bench = bench();
    let maps: Api<ConfigMap> = Api::namespaced(bench.client.clone(), "default");
    let mut stream = maps.watch(&WatchParams::default().timeout(1), "0").await.unwrap().boxed();
    assert!(tokio::time::timeout(Duration::from_secs(60), stream.try_next()).await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn the_end_of_a_definition_ends_its_watches() {
    let bench = bench();
    bench.define(things()).await;
    let mut events = Events::open(&bench, &format!("{THINGS}?watch=true"), "application/json").await;
    bench.post(THINGS, &thing("a", json!({}))).await;
    bench.delete(&format!("{}/things.test.dev", crate::bench::DEFINITIONS), json!({})).await;
    assert_eq!(events.next().await, is("ADDED", "a"));
    assert_eq!(events.next().await, is("DELETED", "a"));
    assert!(events.raw().await.is_none());
}

#[tokio::test]
async fn a_shutdown_ends_watches() {
    let bench = bench();
    let mut events = Events::of(&bench, "").await;
    bench.server.shutdown().await;
    assert!(events.raw().await.is_none());
    let (code, _) = bench.post(MAPS, &config_map("a", json!({}))).await;
    assert_eq!(code, 503);
}

#[tokio::test]
async fn a_watcher_of_the_client_library_follows() {
    let bench = bench();
    let maps: Api<ConfigMap> = Api::all(bench.client.clone());
    for config in
        [kube::runtime::watcher::Config::default(), kube::runtime::watcher::Config::default().streaming_lists()]
    {
        let stream = kube::runtime::watcher(maps.clone(), config);
        let mut stream = stream.boxed();
        bench.post(MAPS, &config_map("a", json!({}))).await;
        let mut seen = Vec::new();
        while seen.len() < 4 {
            let event =
                tokio::time::timeout(Duration::from_secs(60), stream.try_next()).await.unwrap().unwrap().unwrap();
            use kube::runtime::watcher::Event;
            match event {
                Event::Init => seen.push("init"),
                Event::InitApply(_) => seen.push("object"),
                Event::InitDone => {
                    seen.push("done");
                    bench.delete(&format!("{MAPS}/a"), json!({})).await;
                }
                Event::Apply(_) => seen.push("apply"),
                Event::Delete(_) => seen.push("delete"),
            }
        }
        assert_eq!(seen, ["init", "object", "done", "delete"]);
    }
}

#[tokio::test]
async fn typed_events_carry_typed_objects() {
    let bench = bench();
    let maps: Api<ConfigMap> = Api::namespaced(bench.client.clone(), "default");
    let mut stream = maps.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    bench.post(MAPS, &config_map("a", json!({"x": "1"}))).await;
    match stream.try_next().await.unwrap() {
        Some(WatchEvent::Added(map)) => assert_eq!(map.data.unwrap()["x"], "1"),
        other => panic!("{other:?}"),
    }
}
