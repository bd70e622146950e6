//! Makes `data/openapi.json` and `data/protobuf.json` again from Kubernetes' published sources.
//!
//! ```text
//! cargo run -p foregate-apiserver --example codegen -- [--check] [GOMODCACHE]
//! ```
//!
//! Reads `k8s.io/kubernetes@v1.37.1/api/openapi-spec/v3/*.json`, and `generated.proto` and
//! `types.go` of `k8s.io/api@v0.37.1` and `k8s.io/apimachinery@v0.37.1`, from the Go module cache
//! (default `~/go/pkg/mod`). With `--check` nothing is written and a difference is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::{Map, Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

const KUBERNETES: &str = "k8s.io/kubernetes@v1.37.1/api/openapi-spec/v3";
const API: &str = "k8s.io/api@v0.37.1";
const MACHINERY: &str = "k8s.io/apimachinery@v0.37.1";

/// OpenAPI documents and the definitions that are taken from each.
const ROOTS: &[(&str, &[&str])] = &[
    (
        "api__v1",
        &[
            "io.k8s.api.core.v1.Namespace",
            "io.k8s.api.core.v1.Secret",
            "io.k8s.api.core.v1.ConfigMap",
            "io.k8s.api.core.v1.Service",
            "io.k8s.api.core.v1.Endpoints",
            "io.k8s.api.core.v1.Event",
            "io.k8s.api.core.v1.ServiceAccount",
            "io.k8s.api.authentication.v1.TokenRequest",
            "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
            "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
            "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta",
            "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
        ],
    ),
    ("apis__discovery.k8s.io__v1", &["io.k8s.api.discovery.v1.EndpointSlice"]),
    ("apis__events.k8s.io__v1", &["io.k8s.api.events.v1.Event"]),
    ("apis__coordination.k8s.io__v1", &["io.k8s.api.coordination.v1.Lease"]),
    (
        "apis__rbac.authorization.k8s.io__v1",
        &[
            "io.k8s.api.rbac.v1.Role",
            "io.k8s.api.rbac.v1.RoleBinding",
            "io.k8s.api.rbac.v1.ClusterRole",
            "io.k8s.api.rbac.v1.ClusterRoleBinding",
        ],
    ),
    (
        "apis__authorization.k8s.io__v1",
        &[
            "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
            "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
            "io.k8s.api.authorization.v1.SubjectAccessReview",
        ],
    ),
    (
        "apis__admissionregistration.k8s.io__v1",
        &[
            "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
            "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
        ],
    ),
    ("apis__authentication.k8s.io__v1", &["io.k8s.api.authentication.v1.SelfSubjectReview"]),
    (
        "apis__apiextensions.k8s.io__v1",
        &["io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"],
    ),
];

/// Packages with protobuf messages: (module, directory).
const PACKAGES: &[(&str, &str)] = &[
    (API, "core/v1"),
    (API, "discovery/v1"),
    (API, "events/v1"),
    (API, "coordination/v1"),
    (API, "rbac/v1"),
    (API, "admissionregistration/v1"),
    (API, "authorization/v1"),
    (API, "authentication/v1"),
    (MACHINERY, "pkg/apis/meta/v1"),
    (MACHINERY, "pkg/runtime"),
    (MACHINERY, "pkg/util/intstr"),
    (MACHINERY, "pkg/api/resource"),
];

/// Messages from which the closure of needed messages starts.
const MESSAGES: &[&str] = &[
    "k8s.io.api.core.v1.Namespace",
    "k8s.io.api.core.v1.Secret",
    "k8s.io.api.core.v1.ConfigMap",
    "k8s.io.api.core.v1.Service",
    "k8s.io.api.core.v1.Endpoints",
    "k8s.io.api.core.v1.Event",
    "k8s.io.api.core.v1.ServiceAccount",
    "k8s.io.api.discovery.v1.EndpointSlice",
    "k8s.io.api.events.v1.Event",
    "k8s.io.api.coordination.v1.Lease",
    "k8s.io.api.rbac.v1.Role",
    "k8s.io.api.rbac.v1.RoleBinding",
    "k8s.io.api.rbac.v1.ClusterRole",
    "k8s.io.api.rbac.v1.ClusterRoleBinding",
    "k8s.io.api.admissionregistration.v1.ValidatingAdmissionPolicy",
    "k8s.io.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    "k8s.io.api.authorization.v1.SelfSubjectAccessReview",
    "k8s.io.api.authorization.v1.SelfSubjectRulesReview",
    "k8s.io.api.authorization.v1.SubjectAccessReview",
    "k8s.io.api.authentication.v1.SelfSubjectReview",
    "k8s.io.api.authentication.v1.TokenRequest",
    "k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "k8s.io.apimachinery.pkg.apis.meta.v1.Status",
];

fn main() -> Outcome<()> {
    let mut check = false;
    let mut cache: Option<PathBuf> = None;
    for argument in std::env::args().skip(1) {
        if argument == "--check" {
            check = true;
        } else {
            cache = Some(PathBuf::from(argument));
        }
    }
    let cache = match cache {
        Some(path) => path,
        None => PathBuf::from(std::env::var("HOME")?).join("go/pkg/mod"),
    };
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    deliver(&data.join("openapi.json"), &openapi(&cache)?, check)?;
    deliver(&data.join("protobuf.json"), &protobuf(&cache)?, check)
}

fn deliver(path: &Path, text: &str, check: bool) -> Outcome<()> {
    if check {
        if std::fs::read_to_string(path)? != text {
            return Err(format!("{} is stale: run the codegen example", path.display()).into());
        }
        return Ok(());
    }
    std::fs::write(path, text)?;
    println!("{}: {} bytes", path.display(), text.len());
    Ok(())
}

/// One entry per line, so that a new Kubernetes release gives a readable diff.
fn lines(entries: &BTreeMap<String, Value>) -> Outcome<String> {
    let mut out = String::from("{\n");
    for (index, (name, value)) in entries.iter().enumerate() {
        let comma = if index + 1 == entries.len() { "" } else { "," };
        out.push_str(&format!("{}:{}{comma}\n", serde_json::to_string(name)?, serde_json::to_string(value)?));
    }
    out.push_str("}\n");
    Ok(out)
}

fn openapi(cache: &Path) -> Outcome<String> {
    let mut taken: BTreeMap<String, Value> = BTreeMap::new();
    for (document, roots) in ROOTS {
        let path = cache.join(KUBERNETES).join(format!("{document}_openapi.json"));
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let document: Value = serde_json::from_str(&text)?;
        let schemas =
            document.pointer("/components/schemas").and_then(Value::as_object).ok_or("no components.schemas")?;
        let mut wanted: Vec<String> = roots.iter().map(ToString::to_string).collect();
        while let Some(name) = wanted.pop() {
            if taken.contains_key(&name) {
                continue;
            }
            let schema = schemas.get(&name).ok_or_else(|| format!("no definition {name}"))?;
            references(schema, &mut wanted);
            taken.insert(name, schema.clone());
        }
    }
    lines(&taken)
}

fn references(schema: &Value, into: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref")
                && let Some(name) = reference.strip_prefix("#/components/schemas/")
            {
                into.push(name.to_string());
            }
            map.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

/// What Go's struct tags say about a field: its JSON name, and whether its zero value is written.
struct GoField {
    json: String,
    keeps_zero: bool,
}

fn protobuf(cache: &Path) -> Outcome<String> {
    let mut messages: BTreeMap<String, Value> = BTreeMap::new();
    for (module, directory) in PACKAGES {
        let folder = cache.join(module).join(directory);
        let go = go_fields(&folder)?;
        let proto = std::fs::read_to_string(folder.join("generated.proto"))?;
        messages.extend(proto_messages(&proto, &go)?);
    }
    let mut taken = BTreeMap::new();
    let mut wanted: Vec<String> = MESSAGES.iter().map(ToString::to_string).collect();
    while let Some(name) = wanted.pop() {
        if taken.contains_key(&name) {
            continue;
        }
        let message = messages.get(&name).ok_or_else(|| format!("no message {name}"))?;
        for field in message.as_object().into_iter().flat_map(Map::values) {
            let kind = field.pointer("/1").and_then(Value::as_str).ok_or("field without a type")?;
            let kind = kind.trim_start_matches('*');
            let kind = kind.strip_prefix("{string,").map_or(kind, |value| value.trim_end_matches('}'));
            if kind.contains('.') {
                wanted.push(kind.to_string());
            }
        }
        taken.insert(name, message.clone());
    }
    lines(&taken)
}

/// `(struct name, protobuf field number)` → Go field, from all `.go` files that declare types.
fn go_fields(folder: &Path) -> Outcome<BTreeMap<(String, u32), GoField>> {
    let structure = Regex::new(r"^type (\w+) struct \{")?;
    let field = Regex::new(r#"^\s+(?:\w+\s+)?(\S+)\s+`json:"([^"]*)"\s+protobuf:"\w+,(\d+),"#)?;
    let mut out = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if !name.ends_with(".go") || name.ends_with("_test.go") || name.starts_with("zz_") || name.ends_with(".pb.go") {
            continue;
        }
        let mut current = String::new();
        for line in std::fs::read_to_string(&path)?.lines() {
            if let Some(found) = structure.captures(line) {
                current = found[1].to_string();
            } else if line == "}" {
                current.clear();
            } else if !current.is_empty()
                && let Some(found) = field.captures(line)
            {
                let mut json = found[2].split(',');
                let name = json.next().unwrap_or_default().to_string();
                let omitted: BTreeSet<&str> = json.collect();
                let omits = omitted.contains("omitempty") || omitted.contains("omitzero");
                let keeps_zero = found[1].starts_with('*') || !omits;
                out.insert((current.clone(), found[3].parse()?), GoField { json: name, keeps_zero });
            }
        }
    }
    Ok(out)
}

/// The messages of one generated.proto: number → [JSON name, type, zero kept?].
fn proto_messages(text: &str, go: &BTreeMap<(String, u32), GoField>) -> Outcome<BTreeMap<String, Value>> {
    let package = Regex::new(r"(?m)^package ([\w.]+);")?
        .captures(text)
        .ok_or("no package")?
        .get(1)
        .map(|m| m.as_str().to_string())
        .unwrap_or_default();
    let message = Regex::new(r"^message (\w+) \{")?;
    let field = Regex::new(r"^\s+(optional |repeated |required )?(map<string, ?[.\w]+>|[.\w]+) (\w+) = (\d+);")?;
    let mut out = BTreeMap::new();
    let mut current: Option<(String, Map<String, Value>)> = None;
    for line in text.lines() {
        if let Some(found) = message.captures(line) {
            current = Some((found[1].to_string(), Map::new()));
        } else if line == "}" {
            if let Some((name, fields)) = current.take() {
                out.insert(format!("{package}.{name}"), Value::Object(fields));
            }
        } else if let Some((name, fields)) = &mut current
            && let Some(found) = field.captures(line)
        {
            let number: u32 = found[4].parse()?;
            let kind = proto_type(&package, &found[2]);
            let kind = if found.get(1).is_some_and(|m| m.as_str() == "repeated ") { format!("*{kind}") } else { kind };
            let (json, keeps_zero) = match go.get(&(name.clone(), number)) {
                Some(go) if !go.json.is_empty() => (go.json.clone(), go.keeps_zero),
                _ => (found[3].to_string(), false),
            };
            fields.insert(number.to_string(), json!([json, kind, keeps_zero]));
        }
    }
    Ok(out)
}

fn proto_type(package: &str, written: &str) -> String {
    if let Some(inner) = written.strip_prefix("map<string,") {
        let value = proto_type(package, inner.trim().trim_end_matches('>'));
        return format!("{{string,{value}}}");
    }
    if let Some(full) = written.strip_prefix('.') {
        return full.to_string();
    }
    const SCALARS: &[&str] = &["string", "bytes", "bool", "int32", "int64", "uint32", "uint64", "double", "float"];
    if SCALARS.contains(&written) { written.to_string() } else { format!("{package}.{written}") }
}
