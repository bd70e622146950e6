//! Nodes to messages, by the protobuf JSON mapping, strictly; every mistake is reported, not only the first.

mod any;
mod scalar;
mod well_known;

use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};

use crate::descriptors::{self, nearest};
use crate::node::{self, Entry, Node, NodeValue};
use crate::path::Path;
use crate::{Diagnostic, canonical};
pub(crate) use well_known::is_special;

/// Mistakes after which looking for more is no help.
const MAX_DIAGNOSTICS: usize = 100;
/// Messages inside messages, map entries counted: decoders stop at 100.
const MAX_LEVELS: usize = 95;

/// A YAML or JSON text as a message of that type (a full name or a type URL).
///
/// # Errors
/// All mistakes that it has.
pub fn from_yaml(type_name: &str, text: &str) -> Result<DynamicMessage, Vec<Diagnostic>> {
    let desc = known(type_name)?;
    let documents = node::documents(text)?;
    match documents.as_slice() {
        [document] => from_node(&desc, document),
        [] => Err(vec![whole(format!("the text is empty; expected a {}", desc.full_name()))]),
        [_, second, ..] => Err(vec![Diagnostic {
            line: second.line,
            column: second.column,
            path: String::new(),
            message: "expected one document, here a second begins".to_owned(),
        }]),
    }
}

/// Every document of a YAML text as a message of its own; empty documents are left out.
///
/// # Errors
/// As [`from_yaml`], of all documents.
pub fn from_yaml_documents(type_name: &str, text: &str) -> Result<Vec<DynamicMessage>, Vec<Diagnostic>> {
    let desc = known(type_name)?;
    let mut messages = Vec::new();
    let mut diagnostics = Vec::new();
    for document in node::documents(text)? {
        if matches!(document.value, NodeValue::Null) {
            continue;
        }
        match from_node(&desc, &document) {
            Ok(message) => messages.push(message),
            Err(more) => diagnostics.extend(more),
        }
    }
    if diagnostics.is_empty() { Ok(messages) } else { Err(diagnostics) }
}

/// A JSON value as a message of that type.
///
/// # Errors
/// All mistakes that it has; their line and column are 0.
pub fn from_json(type_name: &str, json: &serde_json::Value) -> Result<DynamicMessage, Vec<Diagnostic>> {
    let desc = known(type_name)?;
    let node = Node::from_json(json).map_err(|diagnostic| vec![diagnostic])?;
    from_node(&desc, &node)
}

/// A YAML or JSON text as a typed message; `type_name` must name the same message as `M`.
///
/// # Errors
/// All mistakes that it has.
pub fn decode_yaml<M: prost::Message + Default>(type_name: &str, text: &str) -> Result<M, Vec<Diagnostic>> {
    decode(&from_yaml(type_name, text)?)
}

/// A JSON value as a typed message; `type_name` must name the same message as `M`.
///
/// # Errors
/// All mistakes that it has.
pub fn decode_json<M: prost::Message + Default>(
    type_name: &str,
    json: &serde_json::Value,
) -> Result<M, Vec<Diagnostic>> {
    decode(&from_json(type_name, json)?)
}

fn decode<M: prost::Message + Default>(message: &DynamicMessage) -> Result<M, Vec<Diagnostic>> {
    M::decode(message.encode_to_vec().as_slice()).map_err(|error| {
        let name = message.descriptor().full_name().to_owned();
        vec![whole(format!("the message of type {name} doesn't decode: {error}"))]
    })
}

fn known(type_name: &str) -> Result<MessageDescriptor, Vec<Diagnostic>> {
    descriptors::message(type_name).ok_or_else(|| vec![whole(unknown_type(type_name))])
}

fn whole(message: String) -> Diagnostic {
    Diagnostic { line: 0, column: 0, path: String::new(), message }
}

/// Says that there is no such type, and which may have been meant.
fn unknown_type(type_name: &str) -> String {
    let name = type_name.rsplit('/').next().unwrap_or_default();
    let all: Vec<MessageDescriptor> = descriptors::pool().all_messages().collect();
    let hint = nearest(name, all.iter().map(MessageDescriptor::full_name));
    let hint = hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default();
    format!("{name:?} is not a message type of Envoy's API{hint}")
}

pub(crate) fn from_node(desc: &MessageDescriptor, node: &Node) -> Result<DynamicMessage, Vec<Diagnostic>> {
    let mut mapper = Mapper::default();
    let message = mapper.message(desc, node);
    match message {
        Some(message) if mapper.diagnostics.is_empty() => Ok(message),
        _ => Err(mapper.diagnostics),
    }
}

/// Maps one text. Methods return nothing for a value that they have reported as wrong, and go on.
#[derive(Default)]
struct Mapper {
    path: Path,
    diagnostics: Vec<Diagnostic>,
    /// How many messages are open since the last Any.
    levels: usize,
}

impl Mapper {
    /// Runs `map` so many messages deeper, unless that is too deep.
    fn deeper<T>(&mut self, levels: usize, node: &Node, map: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.levels += levels;
        let mapped = if self.levels > MAX_LEVELS {
            self.report(node, "messages are nested too deeply: decoders refuse more than 100 levels".to_owned());
            None
        } else {
            map(self)
        };
        self.levels -= levels;
        mapped
    }

    fn report(&mut self, node: &Node, message: String) {
        self.report_at(node.line, node.column, message);
    }

    fn report_at(&mut self, line: usize, column: usize, message: String) {
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            self.diagnostics.push(Diagnostic { line, column, path: self.path.as_str().to_owned(), message });
        }
    }

    fn wrong(&mut self, node: &Node, wanted: &str) {
        self.report(node, format!("expected {wanted}, this is {}", node.kind()));
    }

    fn message(&mut self, desc: &MessageDescriptor, node: &Node) -> Option<DynamicMessage> {
        self.deeper(1, node, |mapper| mapper.message_of(desc, node))
    }

    fn message_of(&mut self, desc: &MessageDescriptor, node: &Node) -> Option<DynamicMessage> {
        match desc.full_name() {
            "google.protobuf.Any" => self.any(desc, node),
            name if is_special(name) => self.well_known(desc, node),
            "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct" => {
                let message = self.plain_message(desc, node, None);
                self.typed_struct(node);
                message
            }
            _ => self.plain_message(desc, node, None),
        }
    }

    /// A message's own fields; `skip` is a key that isn't a field (`@type`).
    fn plain_message(&mut self, desc: &MessageDescriptor, node: &Node, skip: Option<&str>) -> Option<DynamicMessage> {
        let entries = match &node.value {
            NodeValue::Map(entries) => entries,
            _ => {
                self.wrong(node, &format!("a mapping (message {})", desc.full_name()));
                return None;
            }
        };
        let mut message = DynamicMessage::new(desc.clone());
        // What is set already: fields by number and key, oneofs by name and member.
        let mut fields: Vec<(u32, &str)> = Vec::new();
        let mut oneofs: Vec<(String, String)> = Vec::new();
        for entry in entries.iter().filter(|entry| skip != Some(entry.key.as_str())) {
            let field = desc.get_field_by_name(&entry.key).or_else(|| desc.get_field_by_json_name(&entry.key));
            let Some(field) = field else {
                self.unknown_field(desc, entry);
                continue;
            };
            let mark = self.path.mark();
            self.path.field(field.name());
            if let Some((_, first)) = fields.iter().find(|(number, _)| *number == field.number()) {
                self.report_at(entry.line, entry.column, format!("the field is set already, as {first:?}"));
            }
            fields.push((field.number(), &entry.key));
            if !unset(&field, &entry.value) {
                self.check_oneof(&field, entry, &mut oneofs);
                if let Some(value) = self.field(&field, &entry.value) {
                    message.set_field(&field, value);
                }
            }
            self.path.cut(mark);
        }
        Some(message)
    }

    fn unknown_field(&mut self, desc: &MessageDescriptor, entry: &Entry) {
        let fields: Vec<FieldDescriptor> = desc.fields().collect();
        let hint = nearest(&entry.key, fields.iter().map(FieldDescriptor::name));
        let what =
            if desc.reserved_names().any(|name| name == entry.key) { "was removed from" } else { "is not a field of" };
        let hint = match hint {
            Some(hint) => format!("; did you mean {hint:?}?"),
            None if fields.len() <= 12 && !fields.is_empty() => {
                let names: Vec<&str> = fields.iter().map(FieldDescriptor::name).collect();
                format!("; it has {}", names.join(", "))
            }
            None => String::new(),
        };
        let message = format!("{:?} {what} {}{hint}", entry.key, desc.full_name());
        let mark = self.path.mark();
        self.path.field(&entry.key);
        self.report_at(entry.line, entry.column, message);
        self.path.cut(mark);
    }

    fn check_oneof(&mut self, field: &FieldDescriptor, entry: &Entry, seen: &mut Vec<(String, String)>) {
        let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) else { return };
        match seen.iter().find(|(name, _)| name == oneof.name()) {
            Some((name, first)) if first != field.name() => {
                let message = format!("only one of the choices of {name:?} may be set, {first:?} is already");
                self.report_at(entry.line, entry.column, message);
            }
            Some(_) => {}
            None => seen.push((oneof.name().to_owned(), field.name().to_owned())),
        }
    }

    fn field(&mut self, field: &FieldDescriptor, node: &Node) -> Option<Value> {
        if field.is_map() {
            self.deeper(1, node, |mapper| mapper.map(field, node))
        } else if field.is_list() {
            self.list(field, node)
        } else {
            self.single(&field.kind(), node)
        }
    }

    fn list(&mut self, field: &FieldDescriptor, node: &Node) -> Option<Value> {
        let NodeValue::List(items) = &node.value else {
            self.wrong(node, "a list");
            return None;
        };
        let kind = field.kind();
        let mut values = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let mark = self.path.mark();
            self.path.index(at);
            if matches!(item.value, NodeValue::Null) && !takes_null(&kind) {
                self.report(item, "an item of a list can't be null: remove it".to_owned());
            } else {
                values.extend(self.single(&kind, item));
            }
            self.path.cut(mark);
        }
        Some(Value::List(values))
    }

    fn map(&mut self, field: &FieldDescriptor, node: &Node) -> Option<Value> {
        let NodeValue::Map(entries) = &node.value else {
            self.wrong(node, "a mapping");
            return None;
        };
        let kind = field.kind();
        let (key_kind, value_kind) = match &kind {
            Kind::Message(entry) => (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind()),
            _ => return None,
        };
        let mut values = std::collections::HashMap::with_capacity(entries.len());
        for entry in entries {
            let mark = self.path.mark();
            self.path.key(&entry.key);
            if matches!(entry.value.value, NodeValue::Null) && !takes_null(&value_kind) {
                self.report(&entry.value, "a value of a map can't be null: remove the key".to_owned());
            } else if let (Some(key), Some(value)) =
                (self.map_key(&key_kind, entry), self.single(&value_kind, &entry.value))
            {
                values.insert(key, value);
            }
            self.path.cut(mark);
        }
        Some(Value::Map(values))
    }

    fn map_key(&mut self, kind: &Kind, entry: &Entry) -> Option<MapKey> {
        // A number in a string is a number to every scalar kind.
        let text = Node::text(&entry.key, entry.line, entry.column);
        match kind {
            Kind::String => Some(MapKey::String(entry.key.clone())),
            Kind::Bool => match entry.key.as_str() {
                "true" => Some(MapKey::Bool(true)),
                "false" => Some(MapKey::Bool(false)),
                _ => {
                    self.wrong(&text, "a key true or false");
                    None
                }
            },
            other => self.single(other, &text)?.into_map_key(),
        }
    }

    fn single(&mut self, kind: &Kind, node: &Node) -> Option<Value> {
        match kind {
            Kind::Message(desc) => self.message(desc, node).map(Value::Message),
            scalar => self.scalar(scalar, node),
        }
    }
}

/// Null leaves a field unset, but for the kinds that have a null of their own.
fn unset(field: &FieldDescriptor, node: &Node) -> bool {
    matches!(node.value, NodeValue::Null) && (field.is_list() || field.is_map() || !takes_null(&field.kind()))
}

fn takes_null(kind: &Kind) -> bool {
    match kind {
        Kind::Message(desc) => desc.full_name() == "google.protobuf.Value",
        Kind::Enum(desc) => desc.full_name() == "google.protobuf.NullValue",
        _ => false,
    }
}

/// The encoded message, its maps in order.
fn encode(message: &DynamicMessage) -> Vec<u8> {
    canonical::encode(message)
}
