//! Patches: a mapping laid over a message.

use prost_reflect::{DynamicMessage, ReflectMessage as _};
use serde_json::Value as Json;

use crate::Diagnostic;
use crate::node::{Node, NodeValue, documents};
use crate::parse::from_node;
use crate::print::message_to_json;

/// Lays a JSON patch over a JSON value: mappings merge key by key, everything else replaces, null removes
/// (RFC 7386). A mapping with another `@type` replaces as a whole: half of one message is no part of another.
pub fn merge_json(target: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let other_type = patch.get("@type").is_some_and(|url| target.get("@type").is_some_and(|own| own != url));
    if !target.is_object() || other_type {
        *target = Json::Object(serde_json::Map::new());
    }
    let Json::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge_json(target.entry(key.as_str()).or_insert(Json::Null), value);
        }
    }
}

/// Lays a YAML or JSON patch over a message, as [`merge_json`] does: lists and scalars are replaced, null unsets a field,
/// setting one choice of a oneof unsets the others.
///
/// # Errors
/// All mistakes of the patch, with their places in its text. The message is then as it was.
pub fn merge(message: &mut DynamicMessage, patch: &str) -> Result<(), Vec<Diagnostic>> {
    let desc = message.descriptor();
    let documents = documents(patch)?;
    let [patch] = documents.as_slice() else {
        let message = format!("expected one mapping, a patch of a {}", desc.full_name());
        return Err(vec![Diagnostic { line: 0, column: 0, path: String::new(), message }]);
    };
    // By itself the patch must be a message of the type, which finds its mistakes where they are written.
    from_node(&desc, patch)?;
    let mut json = message_to_json(message);
    overlay(&desc, &mut json, patch);
    let merged = Node::from_json(&json).map_err(|diagnostic| vec![diagnostic])?;
    *message = from_node(&desc, &merged)?;
    Ok(())
}

/// Merges with what only the type knows: both names of a field, and the choices of a oneof.
fn overlay(desc: &prost_reflect::MessageDescriptor, target: &mut Json, patch: &Node) {
    let NodeValue::Map(entries) = &patch.value else {
        merge_json(target, &patch.to_json());
        return;
    };
    let Some(target) = target.as_object_mut() else { return };
    for entry in entries {
        let field = desc.get_field_by_name(&entry.key).or_else(|| desc.get_field_by_json_name(&entry.key));
        let Some(field) = field else { continue };
        if matches!(entry.value.value, NodeValue::Null) {
            target.remove(field.name());
            continue;
        }
        for other in field.containing_oneof().iter().flat_map(prost_reflect::OneofDescriptor::fields) {
            if other.number() != field.number() {
                target.remove(other.name());
            }
        }
        let below = target.entry(field.name().to_owned()).or_insert(Json::Null);
        let kind = field.kind();
        match kind.as_message().filter(|inner| !field.is_list() && !field.is_map() && plain(inner)) {
            Some(inner) => {
                if !below.is_object() {
                    *below = Json::Object(serde_json::Map::new());
                }
                overlay(inner, below, &entry.value);
            }
            None => merge_json(below, &entry.value.to_json()),
        }
    }
}

/// Whether a message's JSON form is its fields.
fn plain(desc: &prost_reflect::MessageDescriptor) -> bool {
    desc.full_name() != "google.protobuf.Any" && !crate::parse::is_special(desc.full_name())
}
