//! Golden tests: `tests/golden/x.in.yaml` holds objects, `x.out.yaml` what follows. `UPDATE_GOLDEN=1` refreshes.
//!
//! A document `step: name` ends one call of `apply` and begins the next; `gone: {kind, namespace, name}` is the end of
//! an object. The clock moves on by a minute with each step. A GatewayClass `foregate` is there before the start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{at, gone, input};
use foregate_attach::{Attach, Derived, DerivedChange, Input, Key, Output, ServiceChange, Settings};
use serde_json::{Value, json};

fn certificates(text: &Value) -> Value {
    format!("{} certificates", text.as_str().unwrap().matches("BEGIN CERTIFICATE").count()).into()
}

fn shown(output: &Output) -> Value {
    let derived = output.derived.values().flatten().map(|change| match change {
        DerivedChange::Set(Derived::Claim(o)) => {
            let mut shown = json!({ "claim": o.metadata, "spec": o.spec });
            for listener in shown.pointer_mut("/spec/listeners").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(text) = listener.pointer_mut("/tls/clientValidation/caCertificates") {
                    *text = certificates(text);
                }
            }
            shown
        }
        DerivedChange::Set(Derived::Route(o)) => json!({ "route": o.metadata, "spec": o.spec }),
        DerivedChange::Set(Derived::Backend(o)) => {
            let mut shown = json!({ "backend": o.metadata, "spec": o.spec });
            // Certificates are new in each run.
            if let Some(text) = shown.pointer_mut("/spec/tls/caCertificates") {
                *text = certificates(text);
            }
            shown
        }
        DerivedChange::Set(Derived::Slice(o)) => json!({ "slice": o.metadata, "spec": o.spec }),
        DerivedChange::Set(Derived::Secret(o)) => {
            let keys: Vec<&String> = o.data.as_ref().unwrap().keys().collect();
            json!({ "secret": o.metadata, "type": o.type_, "data": keys })
        }
        DerivedChange::Delete(kind, name) => json!({ "delete": format!("{kind:?} {name}") }),
    });
    let statuses = output.statuses.iter().map(|change| {
        json!({
            "of": format!("{} {}", change.kind.as_str(), change.key),
            "resourceVersion": change.resource_version,
            "status": change.status,
        })
    });
    let mut shown = json!({ "derived": derived.collect::<Vec<_>>(), "statuses": statuses.collect::<Vec<_>>() });
    if !output.services.is_empty() {
        let services = output.services.iter().map(|change| match change {
            ServiceChange::Set(service) => serde_json::to_value(&**service).unwrap(),
            ServiceChange::Delete(key) => json!({ "delete": key.to_string() }),
        });
        shown["services"] = services.collect();
    }
    shown
}

fn run(text: &str) -> String {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let mut attach = Attach::new(Settings::local());
    let class = json!({
        "kind": "GatewayClass", "apiVersion": "gateway.networking.k8s.io/v1", "metadata": { "name": "foregate" },
        "spec": { "controllerName": "foregate.dev/gateway-controller" },
    });
    attach.apply([input(class)], &at(0));
    let mut steps: Vec<(String, Vec<Input>)> = vec![("start".to_owned(), vec![])];
    for document in documents {
        if let Some(name) = document["step"].as_str() {
            steps.push((name.to_owned(), vec![]));
        } else if let Some(which) = document.get("gone") {
            let text = |field: &str| which[field].as_str().unwrap_or_default();
            steps.last_mut().unwrap().1.push(gone(text("kind"), Key::new(text("namespace"), text("name"))));
        } else if !document.is_null() {
            steps.last_mut().unwrap().1.push(input(document));
        }
    }
    let mut results = Vec::new();
    for (minute, (name, inputs)) in steps.into_iter().enumerate() {
        let mut result = shown(&attach.apply(inputs, &at(60 * i64::try_from(minute).unwrap())));
        result["step"] = name.into();
        results.push(result);
    }
    serde_saphyr::to_string(&results).unwrap()
}

#[test]
fn golden() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let (mut stale, mut count) = (Vec::new(), 0);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(stem) = name.strip_suffix(".in.yaml") else { continue };
        count += 1;
        let result = run(&fs::read_to_string(&path).unwrap());
        let expected = folder.join(format!("{stem}.out.yaml"));
        if update {
            fs::write(&expected, &result).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != result {
            stale.push(format!("{stem}:\n{result}"));
        }
    }
    assert!(count > 0, "no golden files");
    assert!(stale.is_empty(), "differs (UPDATE_GOLDEN=1 refreshes): {}", stale.join("\n"));
}
