//! `/openapi/v3`: what `kubectl explain` reads, and from what kubectl learns what the server can do.

use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::builtin::{definitions, definitions_of};
use crate::error::ApiError;
use crate::registry::validation::Rules;
use crate::registry::{Kind, Kinds};
use crate::rest::body::{self, Body};
use crate::rest::query::Query;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// `/openapi/v3`: where the document of each group and version is.
pub(super) fn index(kinds: &Kinds) -> Response<Body> {
    let mut paths = Map::new();
    for (group, versions) in &kinds.groups {
        for version in versions.keys() {
            let url = url(kinds, group, version);
            let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    body::value(StatusCode::OK, &json!({"paths": Value::Object(paths)}))
}

fn url(kinds: &Kinds, group: &str, version: &str) -> String {
    let hash = hash(kinds, group, version);
    if group.is_empty() {
        format!("/openapi/v3/api/{version}?hash={hash}")
    } else {
        format!("/openapi/v3/apis/{group}/{version}?hash={hash}")
    }
}

/// Changes when the document does.
fn hash(kinds: &Kinds, group: &str, version: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(env!("CARGO_PKG_VERSION"));
    for kind in kinds.groups.get(group).and_then(|g| g.get(version)).into_iter().flat_map(|v| v.values()) {
        hasher.update(format!("{}/{}/{}/{};", kind.plural, kind.kind, kind.namespaced, kind.status));
        hasher.update(kind.rules.fingerprint());
    }
    hasher.finalize().iter().take(16).map(|b| format!("{b:02X}")).collect()
}

/// The document of one group and version.
pub(super) fn answer(
    kinds: &Kinds,
    group: &str,
    version: &str,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Response<Body>, ApiError> {
    let found = kinds.groups.get(group).and_then(|g| g.get(version)).ok_or_else(ApiError::no_such_path)?;
    let hash = hash(kinds, group, version);
    let etag = format!("\"{hash}\"");
    let header = |text: &str| HeaderValue::from_str(text).map_err(|e| ApiError::internal(e.to_string()));
    if let Some(asked) = query.get("hash")
        && asked != hash
    {
        let mut response = body::text(StatusCode::MOVED_PERMANENTLY, "");
        response.headers_mut().insert(LOCATION, header(&url(kinds, group, version))?);
        return Ok(response);
    }
    let mut response = if headers.get(IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == etag.as_bytes()) {
        body::text(StatusCode::NOT_MODIFIED, "")
    } else {
        body::value(StatusCode::OK, &document(found.values().map(|k| &**k)))
    };
    response.headers_mut().insert(ETAG, header(&etag)?);
    if query.get("hash").is_some() {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    Ok(response)
}

fn document<'a>(kinds: impl Iterator<Item = &'a Kind>) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    let all = definitions();
    for kind in kinds {
        let name = match &kind.rules {
            Rules::Builtin(builtin) => {
                schemas.extend(definitions_of(&all, [builtin.definition]));
                builtin.definition.to_owned()
            }
            Rules::Definition(lazy) => {
                let name = schema_name(kind);
                schemas.insert(name.clone(), dynamic(lazy.source()));
                name
            }
        };
        mark(&mut schemas, &name, kind);
        add_paths(&mut paths, kind, &name);
    }
    for (name, schema) in definitions_of(&all, [META]) {
        schemas.entry(name).or_insert(schema);
    }
    json!({"openapi": "3.0.0", "info": {"title": "Foregate", "version": super::VERSION.2},
        "paths": paths, "components": {"schemas": schemas}})
}

/// `dev.foregate.v1alpha1.GatewayClaim`
fn schema_name(kind: &Kind) -> String {
    let group: Vec<&str> = kind.group.rsplit('.').collect();
    format!("{}.{}.{}", group.join("."), kind.version, kind.kind)
}

fn dynamic(mut schema: Value) -> Value {
    if let Some(map) = schema.as_object_mut() {
        let properties = map.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            let reference = format!("#/components/schemas/{META}");
            let text = |description: &str| json!({"type": "string", "description": description});
            properties.entry("apiVersion").or_insert_with(|| text("Group and version of this object."));
            properties.entry("kind").or_insert_with(|| text("Kind of this object."));
            properties.insert(
                "metadata".into(),
                json!({"allOf": [{"$ref": reference}],
                "description": "Standard object's metadata.", "default": {}}),
            );
        }
    }
    schema
}

fn gvk(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn mark(schemas: &mut Map<String, Value>, name: &str, kind: &Kind) {
    if let Some(schema) = schemas.get_mut(name) {
        schema["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
    }
}

fn add_paths(paths: &mut Map<String, Value>, kind: &Kind, schema: &str) {
    let base = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    let place = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let list = format!("{base}{place}/{}", kind.plural);
    let reference = json!({"$ref": format!("#/components/schemas/{schema}")});
    let operation = |action: &str, parameters: &[&str], body: Option<&[&str]>| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|p| json!({"name": p, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
            .collect();
        let mut out = json!({"x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(kind),
            "parameters": parameters,
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}}});
        if let Some(media) = body {
            let content: Map<String, Value> =
                media.iter().map(|m| ((*m).to_owned(), json!({"schema": reference}))).collect();
            out["requestBody"] = json!({"content": content, "required": true});
        }
        out
    };
    let write = ["dryRun", "fieldManager", "fieldValidation"];
    let patch = ["dryRun", "fieldManager", "fieldValidation", "force"];
    let any = ["application/json", "application/yaml"];
    let selectors = ["labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "watch"];
    paths.insert(
        list.clone(),
        json!({"get": operation("list", &selectors, None),
        "post": operation("post", &write, Some(&any))}),
    );
    let mut patches =
        vec!["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
    if matches!(kind.rules, Rules::Builtin(_)) {
        patches.push("application/strategic-merge-patch+json");
    }
    let one = json!({"get": operation("get", &[], None), "put": operation("put", &write, Some(&any)),
        "patch": operation("patch", &patch, Some(&patches)), "delete": operation("delete", &["dryRun"], None)});
    if kind.status {
        paths.insert(format!("{list}/{{name}}/status"), one.clone());
    }
    paths.insert(format!("{list}/{{name}}"), one);
}
