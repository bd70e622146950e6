//! Bad input gets a clear answer and changes nothing.

use http::Method;
use serde_json::json;

use crate::bench::{MAPS, bench, config_map};

#[tokio::test]
async fn a_body_above_the_limit_is_too_large() {
    let bench = bench();
    let object = config_map("a", json!({"x": "y".repeat(1_600_000)}));
    let (code, answer) = bench.post(MAPS, &object).await;
    assert_eq!((code, answer["reason"].as_str()), (413, Some("RequestEntityTooLarge")));
    assert_eq!(bench.get(&format!("{MAPS}/a")).await.0, 404);
}

#[tokio::test]
async fn an_object_does_not_grow_above_the_limit_by_patches() {
    let bench = bench();
    bench.post(MAPS, &config_map("a", json!({"a": "y".repeat(400_000)}))).await;
    let path = format!("{MAPS}/a");
    let mut codes = Vec::new();
    for key in ["b", "c", "d", "e"] {
        codes.push(bench.merge(&path, json!({"data": {key: "y".repeat(400_000)}})).await.0);
    }
    assert!(codes.iter().any(|c| matches!(c, 413 | 422)), "{codes:?}");
}

#[tokio::test]
async fn malformed_bodies_are_refused_with_the_place() {
    let bench = bench();
    let cases = [
        ("application/json", "{\"a\":\n 1,, }", 400, "line 2"),
        ("application/yaml", "kind: ConfigMap\nmetadata: [unclosed\n", 400, "line"),
        ("application/yaml", "a: &a [x]\nb: *nope\n", 400, ""),
        ("application/json", "[]", 400, "object"),
        ("application/json", "", 400, ""),
        ("application/vnd.kubernetes.protobuf", "k8s\0garbage", 400, "protobuf"),
        ("application/xml", "<a/>", 415, "application/json"),
        ("application/json", "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"a\"}}", 400, "kind"),
        ("application/json", "{\"metadata\":{\"name\":\"a\",\"namespace\":\"other\"}}", 400, "namespace"),
        ("application/json", "{\"metadata\":\"a\"}", 400, "metadata"),
        ("application/json", "{\"metadata\":{\"name\":\"a\",\"labels\":\"x\"}}", 422, "metadata.labels"),
        ("application/json", "{\"metadata\":{\"name\":\"a\"},\"data\":[1]}", 422, "data"),
    ];
    for (media, body, expected, text) in cases {
        let (code, answer) = bench.send(Method::POST, MAPS, media, body).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!(code, expected, "{media} {body}: {answer}");
        assert!(message.contains(text), "{media} {body}: {answer}");
    }
}

#[tokio::test]
async fn nesting_without_end_is_refused() {
    let bench = bench();
    for (media, body) in [
        ("application/json", format!("{{\"data\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000))),
        ("application/yaml", format!("data: {}1{}", "[".repeat(100_000), "]".repeat(100_000))),
        ("application/yaml", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n".to_owned()),
    ] {
        let (code, answer) = bench.send(Method::POST, MAPS, media, body).await;
        assert!(matches!(code, 400 | 413), "{media}: {code} {answer}");
    }
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let bench = bench();
    let object = config_map("a", json!({})).to_string();
    for (query, text) in [
        ("dryRun=Some", "dryRun"),
        ("fieldValidation=Loose", "fieldValidation"),
        (&*format!("fieldManager={}", "x".repeat(200)), "fieldManager"),
    ] {
        let (code, answer) =
            bench.send(Method::POST, &format!("{MAPS}?{query}"), "application/json", object.clone()).await;
        assert_eq!(code, 400, "{query}");
        assert!(answer["message"].as_str().unwrap().contains(text), "{answer}");
    }
    for query in ["limit=x", "labelSelector=a%20b", "resourceVersion=x", "watch=true&sendInitialEvents=true"] {
        assert_eq!(bench.get(&format!("{MAPS}?{query}")).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn patches_that_do_not_fit_are_refused() {
    let bench = bench();
    bench.post(MAPS, &config_map("a", json!({"x": "1"}))).await;
    let path = format!("{MAPS}/a");
    for (media, patch, expected) in [
        ("application/json-patch+json", r#"[{"op":"remove","path":"/data/nope"}]"#, 422),
        ("application/json-patch+json", r#"[{"op":"test","path":"/data/x","value":"2"}]"#, 422),
        ("application/json-patch+json", r#"{"not":"a list"}"#, 400),
        ("application/merge-patch+json", "[]", 400),
        ("application/merge-patch+json", r#"{"metadata":{"name":"b"}}"#, 400),
        ("application/merge-patch+json", r#"{"metadata":{"uid":"b"}}"#, 409),
        ("application/merge-patch+json", r#"{"metadata":{"resourceVersion":"1"}}"#, 409),
        ("application/merge-patch+json", r#"{"metadata":"x"}"#, 400),
        ("application/merge-patch+json", r#"{"data":"x"}"#, 422),
        ("text/plain", "x", 415),
    ] {
        let (code, answer) = bench.send(Method::PATCH, &path, media, patch).await;
        assert_eq!(code, expected, "{media} {patch}: {answer}");
    }
    assert_eq!(bench.get(&path).await.1["data"], json!({"x": "1"}));
}
