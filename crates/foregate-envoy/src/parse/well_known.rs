//! The messages that have a JSON form of their own.

use std::str::FromStr as _;

use prost_reflect::{DynamicMessage, MapKey, MessageDescriptor, Value};

use super::Mapper;
use crate::node::{Node, NodeValue};

/// The longest duration and the range of time that protobuf allows, in seconds.
const MAX_DURATION: i64 = 315_576_000_000;
const TIME: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Whether a message isn't written field by field.
pub(crate) fn is_special(name: &str) -> bool {
    let Some(name) = name.strip_prefix("google.protobuf.") else { return false };
    matches!(name, "Duration" | "Timestamp" | "FieldMask" | "Struct" | "Value" | "ListValue") || is_wrapper(name)
}

fn is_wrapper(name: &str) -> bool {
    let wrappers = [
        "BoolValue",
        "StringValue",
        "BytesValue",
        "Int32Value",
        "Int64Value",
        "UInt32Value",
        "UInt64Value",
        "FloatValue",
        "DoubleValue",
    ];
    wrappers.contains(&name)
}

impl Mapper {
    pub(super) fn well_known(&mut self, desc: &MessageDescriptor, node: &Node) -> Option<DynamicMessage> {
        match desc.name() {
            "Duration" => self.duration(desc, node),
            "Timestamp" => self.timestamp(desc, node),
            "FieldMask" => self.field_mask(desc, node),
            "Struct" => self.structure(desc, node),
            "Value" => self.value(desc, node),
            "ListValue" => self.list_value(desc, node),
            _ => {
                let field = desc.get_field_by_name("value")?;
                let value = self.single(&field.kind(), node)?;
                let mut message = DynamicMessage::new(desc.clone());
                message.set_field(&field, value);
                Some(message)
            }
        }
    }

    fn duration(&mut self, desc: &MessageDescriptor, node: &Node) -> Option<DynamicMessage> {
        let NodeValue::String(text) = &node.value else {
            self.report(node, format!("expected a duration such as 1.5s, this is {}", node.kind()));
            return None;
        };
        let Some((seconds, nanos)) = parse_duration(text) else {
            self.report(node, format!("expected a duration in seconds such as 1.5s, this is {text:?}"));
            return None;
        };
        if seconds.abs() > MAX_DURATION {
            self.report(node, format!("{text} is longer than protobuf's longest duration"));
            return None;
        }
        Some(seconds_and_nanos(desc, seconds, nanos))
    }

    fn timestamp(&mut self, desc: &MessageDescriptor, node: &Node) -> Option<DynamicMessage> {
        let parsed = match &node.value {
            NodeValue::String(text) => prost_types::Timestamp::from_str(text).ok(),
            _ => None,
        };
        match parsed.filter(|time| TIME.contains(&time.seconds)) {
            Some(time) => Some(seconds_and_nanos(desc, time.seconds, time.nanos)),
            None => {
                self.report(node, "expected a time such as \"2026-01-31T23:59:59Z\"".to_owned());
                None
            }
        }
    }

    /// Paths in lowerCamelCase, separated by commas.
    fn field_mask(&mut self, desc: &MessageDescriptor, node: &Node) -> Option<DynamicMessage> {
        let text = self.string(node)?;
        let paths = text.split(',').filter(|path| !path.is_empty()).map(|path| {
            let mut snake = String::with_capacity(path.len());
            for letter in path.trim().chars() {
                if letter.is_ascii_uppercase() {
                    snake.push('_');
                }
                snake.push(letter.to_ascii_lowercase());
            }
            Value::String(snake)
        });
        let mut message = DynamicMessage::new(desc.clone());
        message.set_field_by_name("paths", Value::List(paths.collect()));
        Some(message)
    }

    fn structure(&mut self, desc: &MessageDescriptor, node: &Node) -> Option<DynamicMessage> {
        let NodeValue::Map(entries) = &node.value else {
            self.wrong(node, "a mapping");
            return None;
        };
        let value = desc.parent_pool().get_message_by_name("google.protobuf.Value")?;
        let mut fields = std::collections::HashMap::with_capacity(entries.len());
        for entry in entries {
            let mark = self.path.mark();
            self.path.key(&entry.key);
            // The entry of the map, and the value.
            if let Some(value) = self.deeper(2, &entry.value, |mapper| mapper.value(&value, &entry.value)) {
                fields.insert(MapKey::String(entry.key.clone()), Value::Message(value));
            }
            self.path.cut(mark);
        }
        let mut message = DynamicMessage::new(desc.clone());
        message.set_field_by_name("fields", Value::Map(fields));
        Some(message)
    }

    fn list_value(&mut self, desc: &MessageDescriptor, node: &Node) -> Option<DynamicMessage> {
        let NodeValue::List(items) = &node.value else {
            self.wrong(node, "a list");
            return None;
        };
        let value = desc.parent_pool().get_message_by_name("google.protobuf.Value")?;
        let values = items.iter().filter_map(|item| self.deeper(1, item, |mapper| mapper.value(&value, item)));
        let values = values.map(Value::Message).collect();
        let mut message = DynamicMessage::new(desc.clone());
        message.set_field_by_name("values", Value::List(values));
        Some(message)
    }

    fn value(&mut self, desc: &MessageDescriptor, node: &Node) -> Option<DynamicMessage> {
        let pool = desc.parent_pool();
        let (field, value) = match &node.value {
            NodeValue::Null => ("null_value", Value::EnumNumber(0)),
            NodeValue::Bool(flag) => ("bool_value", Value::Bool(*flag)),
            NodeValue::Number(_) => match self.scalar(&prost_reflect::Kind::Double, node)? {
                Value::F64(number) if !number.is_finite() => {
                    self.report(node, "a JSON value can't be infinite or NaN".to_owned());
                    return None;
                }
                number => ("number_value", number),
            },
            NodeValue::String(text) => ("string_value", Value::String(text.clone())),
            NodeValue::List(_) => {
                let list = pool.get_message_by_name("google.protobuf.ListValue")?;
                ("list_value", Value::Message(self.deeper(1, node, |mapper| mapper.list_value(&list, node))?))
            }
            NodeValue::Map(_) => {
                let map = pool.get_message_by_name("google.protobuf.Struct")?;
                ("struct_value", Value::Message(self.deeper(1, node, |mapper| mapper.structure(&map, node))?))
            }
        };
        let mut message = DynamicMessage::new(desc.clone());
        message.set_field_by_name(field, value);
        Some(message)
    }
}

fn seconds_and_nanos(desc: &MessageDescriptor, seconds: i64, nanos: i32) -> DynamicMessage {
    let mut message = DynamicMessage::new(desc.clone());
    message.set_field_by_name("seconds", Value::I64(seconds));
    message.set_field_by_name("nanos", Value::I32(nanos));
    message
}

/// Seconds with up to nine digits after the point, and `s`.
fn parse_duration(text: &str) -> Option<(i64, i32)> {
    let number = text.strip_suffix('s')?;
    let (negative, number) = match number.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, number),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Some(if negative { (-seconds, -nanos) } else { (seconds, nanos) })
}
