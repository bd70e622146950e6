//! Definitions, discovery and OpenAPI.

use http::Method;
use serde_json::{Value, json};

use crate::bench::{DEFINITIONS, THINGS, bench, send, thing, things};

#[tokio::test]
async fn a_definition_is_established_at_once() {
    let bench = bench();
    assert_eq!(bench.get(THINGS).await.0, 404);
    let (code, made) = bench.post(DEFINITIONS, &things()).await;
    assert_eq!(code, 201, "{made}");
    let conditions = made["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|c| c["type"] == "Established" && c["status"] == "True"));
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made["spec"]["names"]["listKind"], "ThingList");
    assert_eq!(bench.post(THINGS, &thing("a", json!({}))).await.0, 201);
}

#[tokio::test]
async fn definitions_survive_a_restart() {
    let bench = bench();
    bench.define(things()).await;
    bench.post(THINGS, &thing("a", json!({"size": 5}))).await;
    let bench = bench.restart().await;
    let (code, found) = bench.get(&format!("{THINGS}/a")).await;
    assert_eq!((code, &found["spec"]["size"]), (200, &json!(5)));
}

#[tokio::test]
async fn bad_definitions_are_refused() {
    let bench = bench();
    type Damage = fn(&mut Value);
    let cases: [(&str, Damage); 5] = [
        ("metadata.name", |d| d["metadata"]["name"] = json!("other.test.dev")),
        ("spec.versions", |d| d["spec"]["versions"][1]["storage"] = json!(true)),
        ("spec.conversion.strategy", |d| d["spec"]["conversion"] = json!({"strategy": "Webhook"})),
        ("openAPIV3Schema", |d| {
            d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
                json!([{"rule": "self.nope +"}]);
        }),
        ("spec.scope", |d| d["spec"]["scope"] = json!("Galaxy")),
    ];
    for (field, damage) in cases {
        let mut definition = things();
        damage(&mut definition);
        let (code, answer) = bench.post(DEFINITIONS, &definition).await;
        assert_eq!(code, 422, "{field}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(field), "{field}: {answer}");
    }
}

#[tokio::test]
async fn clients_discover_what_there_is() {
    let bench = bench();
    bench.define(things()).await;
    let (_, groups) = bench.get("/apis").await;
    assert!(groups["groups"].as_array().unwrap().iter().any(|g| g["name"] == "test.dev"
        && g["preferredVersion"]["version"] == "v1"
        && g["versions"].as_array().unwrap().len() == 2));
    let (_, list) = bench.get("/apis/test.dev/v1").await;
    let names: Vec<&str> = list["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["things", "things/status"]);
    assert_eq!(list["resources"][0]["shortNames"], json!(["th"]));
    let accept = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let (_, aggregated) = send(&bench.client, Method::GET, "/apis", &accept, Vec::new()).await;
    assert_eq!(aggregated["kind"], "APIGroupDiscoveryList");
    let discovery = kube::discovery::Discovery::new(bench.client.clone()).run().await.unwrap();
    assert!(discovery.has_group("test.dev") && discovery.has_group("discovery.k8s.io"));

    let (_, index) = bench.get("/openapi/v3").await;
    let url = index["paths"]["apis/test.dev/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let (code, document) = bench.get(&url).await;
    let schema = &document["components"]["schemas"]["dev.test.v1.Thing"];
    assert_eq!((code, &schema["x-kubernetes-group-version-kind"][0]["kind"]), (200, &json!("Thing")));
    let patch = &document["paths"]["/apis/test.dev/v1/namespaces/{namespace}/things/{name}"]["patch"];
    assert!(patch["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "fieldValidation"));
    assert_eq!(bench.get(&format!("{url}0")).await.0, 301, "an old hash leads to the new one");
}

#[tokio::test]
async fn tables_have_the_columns_of_the_definition() {
    let bench = bench();
    bench.define(things()).await;
    bench.post(THINGS, &thing("a", json!({"size": 3}))).await;
    bench
        .merge(&format!("{THINGS}/a/status"), json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}))
        .await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let (_, table) = send(&bench.client, Method::GET, THINGS, &accept, Vec::new()).await;
    let names: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Name", "Size", "Ready", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("a"), json!(3), json!("True")]);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}
