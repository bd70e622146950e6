//! Groups and resources, in the old form and the aggregated one.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::builtin::{Builtin, KINDS};
use crate::error::ApiError;
use crate::registry::kind::api_version;
use crate::registry::{Kind, Kinds};
use crate::rest::body::{self, Body};

/// Reviews: resources without objects.
fn reviews(group: &str, version: &str) -> impl Iterator<Item = &'static Builtin> {
    KINDS.iter().filter(move |k| !k.persisted && k.group == group && k.version == version)
}

/// The version of `apidiscovery.k8s.io` that a client prefers to the old form.
fn aggregated(headers: &HeaderMap) -> Option<&'static str> {
    let text = headers.get(ACCEPT)?.to_str().ok()?;
    text.split(',').find_map(|part| {
        if !part.contains("g=apidiscovery.k8s.io") || !part.trim().starts_with("application/json") {
            return None;
        }
        if part.contains("v=v2beta1") { Some("v2beta1") } else { part.contains("v=v2").then_some("v2") }
    })
}

/// `/api`
pub(super) fn api(kinds: &Kinds, headers: &HeaderMap) -> Response<Body> {
    match aggregated(headers) {
        Some(version) => groups(kinds, version, |g| g.is_empty()),
        None => body::value(
            StatusCode::OK,
            &json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": []}),
        ),
    }
}

/// `/apis`
pub(super) fn apis(kinds: &Kinds, headers: &HeaderMap) -> Response<Body> {
    if let Some(version) = aggregated(headers) {
        return groups(kinds, version, |g| !g.is_empty());
    }
    let list: Vec<Value> = names(kinds).into_iter().filter(|g| !g.is_empty()).map(|g| describe(kinds, &g)).collect();
    body::value(StatusCode::OK, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list}))
}

fn names(kinds: &Kinds) -> Vec<String> {
    let mut names: Vec<String> = kinds.groups.keys().cloned().collect();
    for review in KINDS.iter().filter(|k| !k.persisted) {
        if !names.iter().any(|n| n == review.group) {
            names.push(review.group.to_owned());
        }
    }
    names
}

fn versions<'a>(kinds: &'a Kinds, group: &str) -> Vec<&'a str> {
    let found = kinds.versions(group);
    if found.is_empty() { vec!["v1"] } else { found }
}

fn describe(kinds: &Kinds, group: &str) -> Value {
    let versions: Vec<Value> =
        versions(kinds, group).iter().map(|v| json!({"groupVersion": api_version(group, v), "version": v})).collect();
    json!({"name": group, "preferredVersion": versions[0], "versions": versions})
}

/// `/apis/GROUP`
pub(super) fn group(kinds: &Kinds, group: &str) -> Result<Response<Body>, ApiError> {
    if !names(kinds).iter().any(|n| n == group) {
        return Err(ApiError::no_such_path());
    }
    let mut value = describe(kinds, group);
    value["kind"] = json!("APIGroup");
    value["apiVersion"] = json!("v1");
    Ok(body::value(StatusCode::OK, &value))
}

/// `/api/v1` and `/apis/GROUP/VERSION`
pub(super) fn list(kinds: &Kinds, group: &str, version: &str) -> Result<Response<Body>, ApiError> {
    let found = kinds.groups.get(group).and_then(|g| g.get(version));
    let mut list: Vec<Value> = found.into_iter().flat_map(|v| v.values()).flat_map(|k| resource(k)).collect();
    list.extend(reviews(group, version).map(|k| {
        json!({"name": k.plural, "singularName": k.singular, "namespaced": false, "kind": k.kind, "verbs": k.verbs()})
    }));
    if list.is_empty() {
        return Err(ApiError::no_such_path());
    }
    Ok(body::value(
        StatusCode::OK,
        &json!({"kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": api_version(group, version), "resources": list}),
    ))
}

fn resource(kind: &Kind) -> Vec<Value> {
    let mut main = json!({"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
        "kind": kind.kind, "verbs": kind.verbs()});
    if !kind.short_names.is_empty() {
        main["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        main["categories"] = json!(kind.categories);
    }
    let mut out = vec![main];
    if kind.status {
        out.push(json!({"name": format!("{}/status", kind.plural), "singularName": "",
            "namespaced": kind.namespaced, "kind": kind.kind, "verbs": ["get", "patch", "update"]}));
    }
    out
}

/// The aggregated form (`apidiscovery.k8s.io`) of the groups that `take` takes.
fn groups(kinds: &Kinds, discovery: &str, take: impl Fn(&str) -> bool) -> Response<Body> {
    let items: Vec<Value> = names(kinds)
        .into_iter()
        .filter(|g| take(g))
        .map(|group| {
            let versions: Vec<Value> = versions(kinds, &group)
                .into_iter()
                .map(|version| {
                    let found = kinds.groups.get(&group).and_then(|g| g.get(version));
                    let mut resources: Vec<Value> =
                        found.into_iter().flat_map(|v| v.values()).map(|k| aggregated_resource(k)).collect();
                    resources.extend(reviews(&group, version).map(aggregated_review));
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    let value = json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{discovery}"),
        "metadata": {}, "items": items});
    let mut response = body::value(StatusCode::OK, &value);
    let media = format!("application/json;g=apidiscovery.k8s.io;v={discovery};as=APIGroupDiscoveryList");
    if let Ok(media) = HeaderValue::from_str(&media) {
        response.headers_mut().insert(CONTENT_TYPE, media);
    }
    response
}

fn aggregated_review(review: &Builtin) -> Value {
    json!({"resource": review.plural, "singularResource": review.singular, "scope": "Cluster",
        "responseKind": {"group": review.group, "version": review.version, "kind": review.kind},
        "verbs": review.verbs()})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let gvk = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let mut value = json!({"resource": kind.plural, "responseKind": gvk,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular, "verbs": kind.verbs()});
    if !kind.short_names.is_empty() {
        value["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        value["categories"] = json!(kind.categories);
    }
    if kind.status {
        value["subresources"] =
            json!([{"subresource": "status", "responseKind": gvk, "verbs": ["get", "patch", "update"]}]);
    }
    value
}
