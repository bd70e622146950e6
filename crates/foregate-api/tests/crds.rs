//! The CRDs that Foregate installs: those of its own kinds are fresh and structural.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crds/foregate")
}

/// `UPDATE_GOLDEN=1` writes the manifests instead of comparing them.
#[test]
fn manifests_are_fresh() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut names = BTreeSet::new();
    for crd in foregate_api::crds::own().unwrap() {
        let file = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
        let text = serde_saphyr::to_string(&serde_json::to_value(&crd).unwrap()).unwrap();
        let path = folder().join(&file);
        if update {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{file} is stale: run this test with UPDATE_GOLDEN=1");
        names.insert(file);
    }
    let found: BTreeSet<String> =
        fs::read_dir(folder()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, names, "manifests of kinds that are gone");
}

#[test]
fn everything_that_is_installed_is_there() {
    let crds = foregate_api::crds().unwrap();
    let names: BTreeSet<&str> = crds.iter().map(|c| c.metadata.name.as_deref().unwrap()).collect();
    assert_eq!(names.len(), 28);
    for name in ["httproutes.gateway.networking.k8s.io", "gatewayclaims.foregate.dev", "addresspools.foregate.dev"] {
        assert!(names.contains(name), "{name}");
    }
    assert!(crds.iter().all(|c| c.status.is_none()));
}

/// What Kubernetes asks of a structural schema, as far as types of ours could break it.
fn check(schema: &Value, at: &str, in_logic: bool) {
    let map = schema.as_object().unwrap_or_else(|| panic!("{at}: a schema is an object"));
    assert!(!map.contains_key("$ref"), "{at}: $ref");
    assert!(!map.contains_key("definitions") && !map.contains_key("$defs"), "{at}: definitions");
    let free = map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
        || map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
    if in_logic {
        for forbidden in ["type", "description", "default", "additionalProperties", "nullable"] {
            assert!(!map.contains_key(forbidden), "{at}: {forbidden} inside oneOf, anyOf, allOf or not");
        }
    } else {
        assert!(free || map.get("type").is_some_and(Value::is_string), "{at}: no type");
    }
    assert!(
        !(map.contains_key("properties") && map.contains_key("additionalProperties")),
        "{at}: properties and additionalProperties"
    );
    if let Some(format) = map.get("format").and_then(Value::as_str) {
        assert!(["int32", "int64", "date-time", "double"].contains(&format), "{at}: format {format}");
    }
    for (name, property) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        check(property, &format!("{at}.{name}"), in_logic);
    }
    if let Some(items) = map.get("items") {
        check(items, &format!("{at}[]"), in_logic);
    }
    if let Some(values) = map.get("additionalProperties") {
        check(values, &format!("{at}{{}}"), in_logic);
    }
    for logic in ["oneOf", "anyOf", "allOf"] {
        for (i, part) in map.get(logic).and_then(Value::as_array).into_iter().flatten().enumerate() {
            check(part, &format!("{at}.{logic}[{i}]"), true);
        }
    }
}

/// Whether a simple JSONPath of a printer column leads to a field of the schema.
fn leads_somewhere(schema: &Value, path: &str) -> bool {
    let mut at = schema;
    let without_filters = path.replace("[*]", "[]").replace("[0]", "[]");
    let cut = without_filters.split_once("[?(").map_or(without_filters.as_str(), |(before, _)| before);
    for part in cut.trim_start_matches('.').split('.') {
        let (name, array) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        let Some(next) = at["properties"].get(name) else { return false };
        at = if array { &next["items"] } else { next };
    }
    true
}

#[test]
fn schemas_are_structural_and_columns_lead_somewhere() {
    for crd in foregate_api::crds::own().unwrap() {
        for version in &crd.spec.versions {
            let schema = serde_json::to_value(version.schema.as_ref().unwrap().open_api_v3_schema.as_ref()).unwrap();
            check(&schema, &crd.spec.names.kind, false);
            for column in version.additional_printer_columns.iter().flatten() {
                let path = &column.json_path;
                assert!(
                    path.starts_with(".metadata.") || leads_somewhere(&schema, path),
                    "{}: column {} names {path}",
                    crd.spec.names.kind,
                    column.name
                );
            }
        }
    }
}

/// What an API server would drop: fields of the value that the schema doesn't know.
fn pruned(value: &Value, schema: &Value, at: &str, found: &mut Vec<String>) {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let at = format!("{at}.{name}");
                match (schema["properties"].get(name), &schema["additionalProperties"]) {
                    (Some(schema), _) => pruned(value, schema, &at, found),
                    (None, Value::Object(_)) => pruned(value, &schema["additionalProperties"], &at, found),
                    _ => found.push(at),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|v| pruned(v, &schema["items"], &format!("{at}[]"), found)),
        _ => {}
    }
}

#[test]
fn nothing_that_the_types_say_is_dropped() {
    let route: foregate_api::GatewayRoute = serde_json::from_value(json!({
        "metadata": { "name": "r" },
        "spec": {
            "origin": { "cluster": "local", "group": "g", "kind": "HTTPRoute", "namespace": "n", "name": "r",
                        "uid": "u", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "attachments": [{ "claim": "c", "listener": "l", "hostnames": [{ "effective": "a", "original": "*" }] }],
            "rules": [{
                "name": "n",
                "matches": [{ "path": { "type": "Exact", "value": "/" }, "method": "GET",
                              "headers": [{ "name": "a", "value": "b" }], "queryParams": [{ "name": "a", "value": "b" }] }],
                "filters": [
                    { "requestHeaders": { "set": [{ "name": "a", "value": "b" }], "add": [], "remove": ["x"] } },
                    { "responseHeaders": { "add": [{ "name": "a", "value": "b" }] } },
                    { "redirect": { "scheme": "https", "hostname": "h", "path": { "replaceFullPath": "/" }, "port": 1,
                                    "statusCode": 302 } },
                    { "rewrite": { "hostname": "h", "path": { "replacePrefixMatch": "/" } } },
                    { "mirror": { "backend": "b", "numerator": 1, "denominator": 2 } },
                ],
                "backends": [{ "backend": "b", "weight": 1, "filters": [{ "rewrite": { "hostname": "h" } }] }],
                "requestTimeoutMillis": 1, "backendTimeoutMillis": 1, "unresolvedStatus": 503,
                "retry": { "attempts": 1, "codes": [500], "backoffMillis": 1 },
            }],
        },
        "status": { "originGeneration": 2, "conditions": [{
            "type": "Accepted", "status": "False", "reason": "Invalid", "message": "m", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }] },
    }))
    .unwrap();
    let proxy: foregate_api::GatewayProxy = serde_json::from_value(json!({
        "metadata": { "name": "p" },
        "spec": {
            "templateName": "default", "requestedAddresses": ["a"], "pinnedRevision": "r",
            "template": { "envoy": { "listener": "x", "clusters": "y", "virtualHostPatch": "v", "routePatch": "r" },
                          "values": { "any": { "thing": [1] } } },
        },
        "status": {
            "observedGeneration": 1, "addresses": ["a"], "claims": ["c"], "instances": { "desired": 1 },
            "listeners": [{ "claim": "c", "name": "l", "port": 443, "protocol": "HTTPS", "hostname": "h",
                            "tls": { "mode": "Terminate", "certificates": ["s"] } }],
        },
    }))
    .unwrap();
    let crds = foregate_api::crds::own().unwrap();
    for (kind, value) in [("GatewayRoute", serde_json::to_value(route)), ("GatewayProxy", serde_json::to_value(proxy))]
    {
        let crd = crds.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref();
        let schema = serde_json::to_value(schema).unwrap();
        for part in ["spec", "status"] {
            let mut found = Vec::new();
            pruned(&value.as_ref().unwrap()[part], &schema["properties"][part], part, &mut found);
            assert!(found.is_empty(), "{kind}: {found:?}");
        }
    }
}
