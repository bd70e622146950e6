//! The Gateway API's own CRDs, good examples and bad ones.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use foregate_apiserver::schema::{FieldValidation, Schema};
use serde_json::Value;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            out.push(path);
        }
    }
    out.sort();
    out
}

fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let parts = text.split("\n---").map(str::trim);
    let parsed = parts.map(|part| serde_saphyr::from_str::<Value>(part.trim_start_matches("---")));
    parsed
        .map(|value| value.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        .filter(Value::is_object)
        .collect()
}

/// (apiVersion, kind) → schema.
fn schemas() -> BTreeMap<(String, String), Schema> {
    let mut out = BTreeMap::new();
    for path in files(&here("../foregate-api/crds/gateway-api")) {
        for crd in documents(&path).iter().filter(|crd| crd["kind"] == "CustomResourceDefinition") {
            let (group, kind) =
                (crd["spec"]["group"].as_str().unwrap(), crd["spec"]["names"]["kind"].as_str().unwrap());
            for version in crd["spec"]["versions"].as_array().unwrap() {
                let schema = Schema::compile(&version["schema"]["openAPIV3Schema"]).unwrap();
                let name = format!("{group}/{}", version["name"].as_str().unwrap());
                out.insert((name, kind.to_string()), schema);
            }
        }
    }
    assert!(out.len() >= 10, "only {} kinds", out.len());
    out
}

fn errors(schemas: &BTreeMap<(String, String), Schema>, object: &Value) -> Option<Vec<String>> {
    let key = (object["apiVersion"].as_str()?.to_string(), object["kind"].as_str()?.to_string());
    let schema = schemas.get(&key)?;
    let mut object = object.clone();
    if let Err(error) = schema.prepare(&mut object, FieldValidation::Strict) {
        return Some(vec![error.to_string()]);
    }
    Some(schema.validate(&object, None).iter().map(ToString::to_string).collect())
}

#[test]
fn good_examples_pass() {
    let schemas = schemas();
    let mut checked = 0;
    for path in files(&here("tests/data/gateway-api/valid")) {
        for object in documents(&path) {
            if let Some(errors) = errors(&schemas, &object) {
                assert_eq!(errors, Vec::<String>::new(), "{} {}", path.display(), object["metadata"]["name"]);
                checked += 1;
            }
        }
    }
    assert!(checked >= 15, "only {checked} objects");
}

/// The errors of every bad example, as a golden file: UPDATE_GOLDEN=1 writes it.
#[test]
fn bad_examples_are_refused_with_the_right_path() {
    let schemas = schemas();
    let mut found = String::new();
    for path in files(&here("tests/data/gateway-api/invalid")) {
        found.push_str(&format!("{}:\n", path.file_name().unwrap().to_string_lossy()));
        let mut refused = 0;
        for object in documents(&path) {
            let errors = errors(&schemas, &object).unwrap_or_else(|| panic!("{}: unknown kind", path.display()));
            refused += errors.len();
            for error in errors {
                found.push_str(&format!("- {error}\n"));
            }
        }
        assert!(refused > 0, "{} passed", path.display());
    }
    let golden = here("tests/golden/gateway-api-invalid.out.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&golden).unwrap());
}
