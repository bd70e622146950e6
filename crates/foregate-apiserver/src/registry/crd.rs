//! CustomResourceDefinitions: defaults, checks, conditions, and the kinds that they define.

use serde_json::{Value, json};

use super::column::Columns;
use super::kind::{Definition, Kind, api_version};
use super::validation::{self, Rules};
use crate::error::Cause;

/// Everything that is wrong with a definition that its own schema doesn't find.
pub fn validate(definition: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = &definition["spec"];
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    let name = text(&definition["metadata"]["name"]);
    let expected = format!("{plural}.{group}");
    if name != expected {
        let message = format!("Invalid value: {name:?}: must be spec.names.plural+\".\"+spec.group");
        causes.push(Cause::invalid("metadata.name", message));
    }
    if crate::builtin::KINDS.iter().any(|k| k.group == group && k.plural == plural) {
        causes.push(Cause::invalid("spec.names.plural", format!("Invalid value: {plural:?}: is a built-in kind")));
    }
    if spec["conversion"]["strategy"] == "Webhook" {
        let message = "Unsupported value: \"Webhook\": supported values: \"None\"";
        causes.push(Cause::new("FieldValueNotSupported", "spec.conversion.strategy", message));
    }
    if !matches!(spec["scope"].as_str(), Some("Namespaced" | "Cluster")) {
        let message = format!("Unsupported value: {}: supported values: \"Cluster\", \"Namespaced\"", spec["scope"]);
        causes.push(Cause::new("FieldValueNotSupported", "spec.scope", message));
    }
    if let Some(old) = old {
        for field in ["group", "scope"] {
            if old["spec"][field] != spec[field] {
                let message = format!("Invalid value: {}: field is immutable", spec[field]);
                causes.push(Cause::invalid(format!("spec.{field}"), message));
            }
        }
    }
    versions(definition, &mut causes);
    causes
}

fn versions(definition: &Value, causes: &mut Vec<Cause>) {
    let versions = definition["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        let message = "Invalid value: must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", message));
    }
    let stored = definition["status"]["storedVersions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for version in stored.iter().filter(|s| !versions.iter().any(|v| v["name"] == **s)) {
        let message = format!("Invalid value: {version}: is stored and must stay in spec.versions");
        causes.push(Cause::invalid("status.storedVersions", message));
    }
    for (i, version) in versions.iter().enumerate() {
        let field = format!("spec.versions[{i}].schema.openAPIV3Schema");
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            causes.push(Cause::new("FieldValueRequired", field, "Required value: schemas are required"));
        } else if let Err(error) = validation::check(schema) {
            causes.push(Cause::invalid(field, format!("Invalid value: {error}")));
        }
    }
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
        columns: Columns::of(version),
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
        rules: Rules::definition(&version["schema"]["openAPIV3Schema"]),
        version: name,
        group,
        plural,
        kind,
        storage_version,
    })
}
