//! Strategic merge patch: JSON merge patch that knows which lists have keys.
//!
//! Which lists merge, and by what key, is in the OpenAPI extensions `x-kubernetes-patch-strategy`
//! and `x-kubernetes-patch-merge-key`. Only built-in kinds have them.

use serde_json::{Map, Value};

use super::documents::PatchError;
use super::lists::{Origin, interleave};
use crate::schema::{NodeId, Schema};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Applies a strategic merge patch to an object of the kind of `schema`.
///
/// # Errors
/// Directives with values that they can't have, and list items without their merge key.
pub fn strategic(schema: &Schema, live: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::Malformed("the body is not a strategic merge patch: it must be an object".into()));
    };
    let mut new = live.as_object().cloned().unwrap_or_default();
    merge_map(schema, Some(schema.root()), &mut new, patch, "")?;
    Ok(Value::Object(new))
}

fn malformed(path: &str, message: &str) -> PatchError {
    PatchError::Malformed(format!(
        "strategic merge patch at {}: {message}",
        if path.is_empty() { "the root" } else { path }
    ))
}

fn child_path(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// What `$patch` asks for.
fn directive<'a>(patch: &'a Map<String, Value>, path: &str) -> Result<&'a str, PatchError> {
    match patch.get(DIRECTIVE) {
        None => Ok("merge"),
        Some(Value::String(text)) if matches!(text.as_str(), "merge" | "replace" | "delete") => Ok(text),
        Some(_) => Err(malformed(path, "$patch must be \"merge\", \"replace\" or \"delete\"")),
    }
}

fn merge_map(
    schema: &Schema,
    id: Option<NodeId>,
    live: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    path: &str,
) -> Result<(), PatchError> {
    match directive(patch, path)? {
        "delete" => {
            live.clear();
            return Ok(());
        }
        "replace" => live.clear(),
        _ => {}
    }
    if let Some(keys) = patch.get(RETAIN) {
        let keys = keys.as_array().ok_or_else(|| malformed(path, "$retainKeys must be a list"))?;
        live.retain(|name, _| keys.iter().any(|key| key == name));
    }
    for (name, value) in patch {
        if name == DIRECTIVE || name == RETAIN || name.starts_with(ORDER) {
            continue;
        }
        let path = child_path(path, name);
        if let Some(list) = name.strip_prefix(DELETE) {
            delete_primitives(live, list, value, &path)?;
            continue;
        }
        let child = id.and_then(|id| schema.node(id).child(name));
        merge_field(schema, child, live, name, value, &path)?;
    }
    for (name, order) in patch.iter().filter_map(|(name, order)| Some((name.strip_prefix(ORDER)?, order))) {
        let child = id.and_then(|id| schema.node(id).child(name));
        reorder(schema, child, live, name, order, path)?;
    }
    Ok(())
}

fn merge_field(
    schema: &Schema,
    child: Option<NodeId>,
    live: &mut Map<String, Value>,
    name: &str,
    value: &Value,
    path: &str,
) -> Result<(), PatchError> {
    match value {
        Value::Null => {
            live.remove(name);
        }
        Value::Object(patch) => merge_object(schema, child, live, name, patch, path)?,
        Value::Array(items) => {
            let rule = child.and_then(|id| schema.node(id).patch.as_deref()).filter(|rule| rule.merge);
            let merged = match (rule, live.get(name)) {
                (Some(rule), old) => {
                    let old = old.and_then(Value::as_array).cloned().unwrap_or_default();
                    merge_list(schema, child, rule.merge_key.as_deref(), old, items, path)?
                }
                (None, _) => items.clone(),
            };
            live.insert(name.to_string(), Value::Array(merged));
        }
        scalar => {
            live.insert(name.to_string(), scalar.clone());
        }
    }
    Ok(())
}

fn merge_object(
    schema: &Schema,
    child: Option<NodeId>,
    live: &mut Map<String, Value>,
    name: &str,
    patch: &Map<String, Value>,
    path: &str,
) -> Result<(), PatchError> {
    let replaces = directive(patch, path)?;
    let old = live.remove(name);
    if replaces == "delete" {
        return Ok(());
    }
    let mut map = match old {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let rule = child.and_then(|id| schema.node(id).patch.as_deref());
    if replaces == "merge" && rule.is_some_and(|rule| rule.retain_keys) && !patch.contains_key(RETAIN) {
        // A union: what the patch doesn't name belongs to the other members.
        map.retain(|name, _| patch.contains_key(name));
    }
    merge_map(schema, child, &mut map, patch, path)?;
    live.insert(name.to_string(), Value::Object(map));
    Ok(())
}

fn merge_list(
    schema: &Schema,
    id: Option<NodeId>,
    key: Option<&str>,
    mut list: Vec<Value>,
    patch: &[Value],
    path: &str,
) -> Result<Vec<Value>, PatchError> {
    let Some(key) = key else {
        for item in patch {
            if !list.contains(item) {
                list.push(item.clone());
            }
        }
        return Ok(list);
    };
    let item_id = id.and_then(|id| schema.node(id).items);
    if patch.iter().any(|item| item.get(DIRECTIVE).is_some_and(|kind| kind == "replace") && item.get(key).is_none()) {
        list.clear();
    }
    for item in patch {
        let Value::Object(item) = item else { return Err(malformed(path, "items of this list must be objects")) };
        let kind = directive(item, path)?;
        let Some(identity) = item.get(key) else {
            match kind {
                "replace" => continue,
                "delete" => {
                    list.clear();
                    continue;
                }
                _ => return Err(malformed(path, &format!("every item needs the merge key {key:?}"))),
            }
        };
        let place = list.iter().position(|other| other.get(key) == Some(identity));
        match (kind, place) {
            ("delete", _) => list.retain(|other| other.get(key) != Some(identity)),
            (_, Some(place)) => {
                if let Value::Object(map) = &mut list[place] {
                    merge_map(schema, item_id, map, item, path)?;
                }
            }
            (_, None) => {
                let mut map = Map::new();
                merge_map(schema, item_id, &mut map, item, path)?;
                list.push(Value::Object(map));
            }
        }
    }
    Ok(list)
}

fn delete_primitives(live: &mut Map<String, Value>, list: &str, gone: &Value, path: &str) -> Result<(), PatchError> {
    let gone = gone.as_array().ok_or_else(|| malformed(path, "$deleteFromPrimitiveList must be a list"))?;
    if let Some(Value::Array(items)) = live.get_mut(list) {
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

fn reorder(
    schema: &Schema,
    id: Option<NodeId>,
    live: &mut Map<String, Value>,
    name: &str,
    order: &Value,
    path: &str,
) -> Result<(), PatchError> {
    let order = order.as_array().ok_or_else(|| malformed(path, "$setElementOrder must be a list"))?;
    let key = id.and_then(|id| schema.node(id).patch.as_ref()).and_then(|rule| rule.merge_key.as_deref());
    let identity = |item: &Value| match key {
        Some(key) => item.get(key).unwrap_or(&Value::Null).to_string(),
        None => item.to_string(),
    };
    if let Some(Value::Array(items)) = live.get_mut(name) {
        let old: Vec<String> = items.iter().map(identity).collect();
        let wanted: Vec<String> = order.iter().map(identity).filter(|key| old.contains(key)).collect();
        let origins = interleave(&old, &wanted);
        let sorted = origins.into_iter().filter_map(|origin| match origin {
            Origin::Old(index) | Origin::Both(index, _) => items.get(index).cloned(),
            Origin::New(_) => None,
        });
        *items = sorted.collect();
    }
    Ok(())
}
