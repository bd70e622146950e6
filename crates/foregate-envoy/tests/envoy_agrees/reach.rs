//! How a message of one type is reached from a message of another.

use std::collections::{HashSet, VecDeque};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::minimal::Minimal;

/// Every message type in a message of that type, itself first, each with the shortest way to it.
pub fn inside(root: &MessageDescriptor, minimal: &Minimal) -> Vec<(MessageDescriptor, Vec<FieldDescriptor>)> {
    let mut found = Vec::new();
    let mut seen = HashSet::from([root.full_name().to_owned()]);
    let mut open = VecDeque::from([(root.clone(), Vec::new())]);
    while let Some((desc, way)) = open.pop_front() {
        for field in desc.fields() {
            let Some(inner) = message_of(&field) else { continue };
            let known = ["envoy.", "xds.", "udpa."].iter().any(|prefix| inner.full_name().starts_with(prefix));
            if known && !skipped(&field, minimal) && seen.insert(inner.full_name().to_owned()) {
                let mut way: Vec<FieldDescriptor> = way.clone();
                way.push(field.clone());
                open.push_back((inner, way));
            }
        }
        found.push((desc, way));
    }
    found
}

/// The message type of a field, or of its items or values.
fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let Kind::Message(desc) = field.kind() else { return None };
    if !field.is_map() {
        return Some(desc);
    }
    match desc.map_entry_value_field().kind() {
        Kind::Message(desc) => Some(desc),
        _ => None,
    }
}

/// Whether what is in a field isn't checked.
fn skipped(field: &FieldDescriptor, minimal: &Minimal) -> bool {
    let Some(rules) = minimal.rules.of(field) else { return false };
    let message = rules.get_field_by_name("message").and_then(|value| value.as_message().cloned());
    message.and_then(|message| message.get_field_by_name("skip")?.as_bool()) == Some(true)
}

/// A smallest message of a type with `target` in it, at the end of the way.
pub fn put(
    root: &MessageDescriptor,
    way: &[FieldDescriptor],
    target: DynamicMessage,
    minimal: &mut Minimal,
) -> DynamicMessage {
    let Some((field, rest)) = way.split_first() else { return target };
    let mut message = minimal.of(root);
    let Some(inner) = message_of(field) else { return message };
    let inner = Value::Message(put(&inner, rest, target, minimal));
    let value = if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return message };
        let key = match entry.map_entry_key_field().kind() {
            Kind::String => MapKey::String("x".to_owned()),
            Kind::Uint32 => MapKey::U32(1),
            Kind::Int32 => MapKey::I32(1),
            _ => return message,
        };
        let mut map = message.get_field(field).as_map().cloned().unwrap_or_default();
        let key = map.keys().next().cloned().unwrap_or(key);
        map.insert(key, inner);
        Value::Map(map)
    } else if field.is_list() {
        let mut items = message.get_field(field).as_list().map(<[Value]>::to_vec).unwrap_or_default();
        match items.first_mut() {
            Some(first) => *first = inner,
            None => items.push(inner),
        }
        Value::List(items)
    } else {
        inner
    };
    message.set_field(field, value);
    message
}
