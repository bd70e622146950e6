//! `google.protobuf.Any` and TypedStruct: messages whose type the text names.

use bytes::Bytes;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};

use super::{Mapper, encode, unknown_type, well_known};
use crate::descriptors;
use crate::node::{Entry, Node, NodeValue};

impl Mapper {
    /// `{"@type": …, …fields}`, or `{"@type": …, "value": …}` for types that have a JSON form of their own.
    pub(super) fn any(&mut self, any: &MessageDescriptor, node: &Node) -> Option<DynamicMessage> {
        let NodeValue::Map(entries) = &node.value else {
            self.wrong(node, "a mapping with \"@type\"");
            return None;
        };
        let mut message = DynamicMessage::new(any.clone());
        if entries.is_empty() {
            return Some(message);
        }
        let url = self.type_url(node, entries, "@type")?;
        let Some(desc) = descriptors::message(&url) else {
            let message = unknown_type(&url);
            self.report(node, message);
            return None;
        };
        // What is inside is decoded by itself.
        let levels = std::mem::take(&mut self.levels);
        let body = self.any_body(&desc, node, entries);
        self.levels = levels;
        let body = body?;
        message.set_field_by_name("type_url", Value::String(url));
        message.set_field_by_name("value", Value::Bytes(Bytes::from(encode(&body))));
        Some(message)
    }

    fn any_body(&mut self, desc: &MessageDescriptor, node: &Node, entries: &[Entry]) -> Option<DynamicMessage> {
        if desc.full_name() == "google.protobuf.Any" || well_known::is_special(desc.full_name()) {
            return self.any_value(desc, node, entries);
        }
        if let "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct" = desc.full_name() {
            self.typed_struct(node);
        }
        self.plain_message(desc, node, Some("@type"))
    }

    fn any_value(&mut self, desc: &MessageDescriptor, node: &Node, entries: &[Entry]) -> Option<DynamicMessage> {
        for entry in entries.iter().filter(|entry| entry.key != "@type" && entry.key != "value") {
            let message = format!("{:?} can't be set beside \"value\" of {}", entry.key, desc.full_name());
            self.report_at(entry.line, entry.column, message);
        }
        let mark = self.path.mark();
        self.path.field("value");
        let body = match entries.iter().find(|entry| entry.key == "value") {
            Some(entry) => self.message(desc, &entry.value),
            None => {
                self.report(node, format!("missing: a {} is written as its \"value\"", desc.full_name()));
                None
            }
        };
        self.path.cut(mark);
        body
    }

    fn type_url(&mut self, node: &Node, entries: &[Entry], key: &str) -> Option<String> {
        let mark = self.path.mark();
        self.path.field(key);
        let url = match entries.iter().find(|entry| entry.key == key) {
            Some(entry) => match &entry.value.value {
                NodeValue::String(url) if url.contains('/') => Some(url.clone()),
                NodeValue::String(url) => {
                    self.report(&entry.value, format!("not a type URL: write \"type.googleapis.com/{url}\""));
                    None
                }
                _ => {
                    self.wrong(&entry.value, "a type URL");
                    None
                }
            },
            None => {
                self.report(node, "missing: it must name the message's type".to_owned());
                None
            }
        };
        self.path.cut(mark);
        url
    }

    /// Checks what a TypedStruct holds against the type that it names, where that is known.
    pub(super) fn typed_struct(&mut self, node: &Node) {
        let NodeValue::Map(entries) = &node.value else { return };
        let find = |names: [&str; 2]| entries.iter().find(|entry| names.contains(&entry.key.as_str()));
        let (Some(url), Some(value)) = (find(["type_url", "typeUrl"]), find(["value", "value"])) else { return };
        let NodeValue::String(url) = &url.value.value else { return };
        if let (Some(desc), NodeValue::Map(_)) = (descriptors::message(url), &value.value.value) {
            let mark = self.path.mark();
            self.path.field("value");
            self.message(&desc, &value.value);
            self.path.cut(mark);
        }
    }
}
