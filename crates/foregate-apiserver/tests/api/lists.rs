//! Lists: pages, selectors, moments.

use http::Method;
use serde_json::{Value, json};

use crate::bench::{Bench, MAPS, bench, config_map, send};

async fn fill(bench: &Bench, count: usize) {
    for i in 0..count {
        let mut object = config_map(&format!("m{i:02}"), json!({}));
        object["metadata"]["labels"] = json!({"even": (i % 2 == 0).to_string()});
        bench.post(MAPS, &object).await;
    }
}

fn names(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn all_pages_show_one_moment() {
    let bench = bench();
    fill(&bench, 7).await;
    let (_, first) = bench.get(&format!("{MAPS}?limit=3")).await;
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    bench.delete(&format!("{MAPS}/m05"), json!({})).await;
    bench.post(MAPS, &config_map("m04x", json!({}))).await;
    let (_, second) = bench.get(&format!("{MAPS}?limit=3&continue={token}")).await;
    let token = second["metadata"]["continue"].as_str().unwrap().to_owned();
    let (_, third) = bench.get(&format!("{MAPS}?limit=3&continue={token}")).await;
    let all: Vec<String> = [&first, &second, &third].iter().flat_map(|l| names(l)).collect();
    assert_eq!(all, ["m00", "m01", "m02", "m03", "m04", "m05", "m06"]);
    assert_eq!(third["metadata"]["continue"], Value::Null);
    assert_eq!(first["metadata"]["resourceVersion"], third["metadata"]["resourceVersion"]);
    assert_eq!(bench.get(&format!("{MAPS}?limit=3&continue=nonsense")).await.0, 400);
}

#[tokio::test]
async fn selectors_select() {
    let bench = bench();
    fill(&bench, 5).await;
    let (_, even) = bench.get(&format!("{MAPS}?labelSelector=even%3Dtrue&limit=2")).await;
    assert_eq!(names(&even), ["m00", "m02"]);
    let token = even["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = bench.get(&format!("{MAPS}?labelSelector=even%3Dtrue&limit=2&continue={token}")).await;
    assert_eq!(names(&rest), ["m04"]);
    let (_, one) = bench.get("/api/v1/configmaps?fieldSelector=metadata.name%3Dm03").await;
    assert_eq!(names(&one), ["m03"]);
    let (_, none) = bench.get("/api/v1/configmaps?fieldSelector=metadata.namespace%3Dother").await;
    assert_eq!(names(&none), Vec::<String>::new());
    assert_eq!(bench.get(&format!("{MAPS}?fieldSelector=data.x%3D1")).await.0, 400);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let bench = bench();
    fill(&bench, 5).await;
    let (code, _) = bench.delete(&format!("{MAPS}?labelSelector=even%3Dtrue"), json!({})).await;
    assert_eq!(code, 200);
    assert_eq!(names(&bench.get(MAPS).await.1), ["m01", "m03"]);
}

#[tokio::test]
async fn a_future_revision_is_refused() {
    let bench = bench();
    let (code, answer) = bench.get(&format!("{MAPS}?resourceVersion=999999999")).await;
    assert_eq!((code, answer["reason"].as_str()), (504, Some("Timeout")));
}

#[tokio::test]
async fn an_answer_has_the_form_that_was_asked_for() {
    let bench = bench();
    fill(&bench, 1).await;
    let partial = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let (_, list) = send(&bench.client, Method::GET, MAPS, &partial, Vec::new()).await;
    assert_eq!((&list["kind"], &list["items"][0]["data"]), (&json!("PartialObjectMetadataList"), &Value::Null));
    let protobuf = [("accept", "application/vnd.kubernetes.protobuf")];
    let (code, answer) = send(&bench.client, Method::GET, MAPS, &protobuf, Vec::new()).await;
    assert_eq!((code, answer["reason"].as_str()), (406, Some("NotAcceptable")));
}
