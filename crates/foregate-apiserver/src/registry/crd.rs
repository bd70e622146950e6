//! CustomResourceDefinitions: defaults, checks, conditions, and the kinds that they define.

use serde_json::{Value, json};

use super::kind::{Column, Definition, Kind, api_version};
use super::validation::Rules;
use crate::error::{Cause, CauseKind};

/// Sets what a definition may leave out.
pub fn default(definition: &mut Value) {
    let Some(spec) = definition.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        if let Some(kind) = names.get("kind").and_then(Value::as_str).map(str::to_owned) {
            names.entry("singular").or_insert_with(|| json!(kind.to_lowercase()));
            names.entry("listKind").or_insert_with(|| json!(format!("{kind}List")));
        }
    }
    spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
}

/// Everything that is wrong with a definition besides its schemas.
pub fn validate(definition: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut bad = |kind, field: &str, message: String| causes.push(Cause::new(kind, field, message));
    let spec = &definition["spec"];
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    for (field, value) in [
        ("spec.group", &group),
        ("spec.names.plural", &plural),
        ("spec.names.kind", &text(&spec["names"]["kind"])),
    ] {
        if value.is_empty() {
            bad(CauseKind::Required, field, "Required value".into());
        }
    }
    let name = text(&definition["metadata"]["name"]);
    let expected = format!("{plural}.{group}");
    if name != expected {
        bad(CauseKind::Invalid, "metadata.name", format!("Invalid value: {name:?}: must be {expected:?}"));
    }
    if !matches!(spec["scope"].as_str(), Some("Namespaced" | "Cluster")) {
        let message = format!("Unsupported value: {}: supported values: \"Cluster\", \"Namespaced\"", spec["scope"]);
        bad(CauseKind::NotSupported, "spec.scope", message);
    }
    if spec["conversion"]["strategy"].as_str() == Some("Webhook") {
        let message = "Unsupported value: \"Webhook\": supported values: \"None\"".into();
        bad(CauseKind::NotSupported, "spec.conversion.strategy", message);
    }
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if versions.is_empty() {
        bad(CauseKind::Required, "spec.versions", "Required value".into());
    }
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 && !versions.is_empty() {
        let message = "Invalid value: must have exactly one version marked as storage version".into();
        bad(CauseKind::Invalid, "spec.versions", message);
    }
    for (i, version) in versions.iter().enumerate() {
        if version["schema"]["openAPIV3Schema"].as_object().is_none() {
            let field = format!("spec.versions[{i}].schema.openAPIV3Schema");
            bad(CauseKind::Required, &field, "Required value: schemas are required".into());
        }
    }
    causes
}

/// Accepts the names and establishes the definition; keeps other conditions.
pub fn establish(definition: &mut Value, now: &str) {
    let names = definition["spec"]["names"].clone();
    let storage = storage_version(definition).unwrap_or_default().to_owned();
    let status = definition.as_object_mut().map(|o| o.entry("status").or_insert_with(|| json!({})));
    let Some(status) = status else { return };
    if !status.is_object() {
        *status = json!({});
    }
    status["acceptedNames"] = names;
    let stored = status["storedVersions"].as_array().cloned().unwrap_or_default();
    if !stored.iter().any(|v| v == &json!(storage)) {
        let mut stored = stored;
        stored.push(json!(storage));
        status["storedVersions"] = Value::Array(stored);
    }
    let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    for (kind, reason, message) in [
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ] {
        if !conditions.iter().any(|c| c["type"] == kind && c["status"] == "True") {
            conditions.retain(|c| c["type"] != kind);
            conditions.push(json!({"type": kind, "status": "True", "reason": reason, "message": message,
                "lastTransitionTime": now}));
        }
    }
    status["conditions"] = Value::Array(conditions);
}

fn storage_version(definition: &Value) -> Option<&str> {
    definition["spec"]["versions"].as_array()?.iter().find(|v| v["storage"] == true)?["name"].as_str()
}

/// The kinds that a definition defines, one per served version.
pub fn kinds(definition: &Value) -> Vec<Kind> {
    let spec = &definition["spec"];
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    versions.iter().filter(|v| v["served"] == true).filter_map(|v| kind(definition, v)).collect()
}

fn kind(definition: &Value, version: &Value) -> Option<Kind> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let list = |v: &Value| v.as_array().into_iter().flatten().filter_map(|s| s.as_str().map(str::to_owned)).collect();
    let group = spec["group"].as_str()?.to_owned();
    let plural = names["plural"].as_str()?.to_owned();
    let kind = names["kind"].as_str()?.to_owned();
    let name = version["name"].as_str()?.to_owned();
    let storage_version = storage_version(definition)?.to_owned();
    let stored = definition["status"]["storedVersions"].as_array().map_or(1, Vec::len);
    let warning = (version["deprecated"] == true).then(|| {
        let fallback = format!("{} {kind} is deprecated", api_version(&group, &name));
        version["deprecationWarning"].as_str().map_or(fallback, str::to_owned)
    });
    Some(Kind {
        storage: format!("{group}/{plural}").into(),
        list_kind: names["listKind"].as_str().map_or_else(|| format!("{kind}List"), str::to_owned),
        singular: names["singular"].as_str().map_or_else(|| kind.to_lowercase(), str::to_owned),
        short_names: list(&names["shortNames"]),
        categories: list(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        status: version["subresources"]["status"].is_object(),
        generation: true,
        mixed: name != storage_version || stored > 1,
        columns: columns(&version["additionalPrinterColumns"]),
        selectable: version["selectableFields"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|f| Some(f["jsonPath"].as_str()?.trim_start_matches('.').to_owned()))
            .collect(),
        definition: Some(Definition {
            name: text(&definition["metadata"]["name"]),
            deleting: definition["metadata"]["deletionTimestamp"].is_string(),
        }),
        warning,
        rules: Rules::default(),
        version: name,
        group,
        plural,
        kind,
        storage_version,
    })
}

fn columns(value: &Value) -> Vec<Column> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let column = |c: &Value| Column {
        name: text(&c["name"]),
        kind: text(&c["type"]),
        format: text(&c["format"]),
        description: text(&c["description"]),
        priority: c["priority"].as_i64().unwrap_or(0),
        path: text(&c["jsonPath"]),
    };
    match value.as_array() {
        Some(list) if !list.is_empty() => list.iter().map(column).collect(),
        _ => vec![Column {
            name: "Age".into(),
            kind: "date".into(),
            path: ".metadata.creationTimestamp".into(),
            ..Column::default()
        }],
    }
}
