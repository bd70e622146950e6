//! Messages to JSON and YAML, by the protobuf JSON mapping with proto field names; Anys expanded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value as Json;

use crate::ResourceKind;
use crate::{descriptors, plan};

/// Why a message can't be shown.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// Its type isn't one of Envoy's.
    #[error("{0:?} is not a message type of Envoy's API")]
    UnknownType(String),
    /// Its bytes aren't such a message.
    #[error("the bytes are not a {type_name}: {source}")]
    Decode {
        /// The type.
        type_name: String,
        /// What the decoder says.
        source: prost::DecodeError,
    },
    /// YAML can't be written.
    #[error("can't write YAML: {0}")]
    Yaml(String),
}

/// What stands for a value that must not be shown.
pub const REDACTED: &str = "[redacted]";

/// A resource's JSON form for people: sensitive fields (keys, passwords) are redacted.
///
/// # Errors
/// When the body isn't a message of that kind.
pub fn to_json(kind: ResourceKind, body: &[u8]) -> Result<Json, PrintError> {
    let message = decode(kind.type_url(), body)?;
    Ok(Printer { redact: true }.message(&message).into_json())
}

/// A resource's YAML form for people: sensitive fields (keys, passwords) are redacted.
///
/// # Errors
/// When the body isn't a message of that kind.
pub fn to_yaml(kind: ResourceKind, body: &[u8]) -> Result<String, PrintError> {
    let message = decode(kind.type_url(), body)?;
    yaml(&Printer { redact: true }.message(&message))
}

/// A message's full JSON form, secrets included: what [`crate::from_json`] reads back.
pub fn message_to_json(message: &DynamicMessage) -> Json {
    Printer { redact: false }.message(message).into_json()
}

/// A message's full YAML form, secrets included, its fields in the order of their numbers.
///
/// # Errors
/// When YAML can't hold it.
pub fn message_to_yaml(message: &DynamicMessage) -> Result<String, PrintError> {
    yaml(&Printer { redact: false }.message(message))
}

fn yaml(tree: &Tree) -> Result<String, PrintError> {
    serde_saphyr::to_string(tree).map_err(|error| PrintError::Yaml(error.to_string()))
}

/// An encoded message of that type (a full name or a type URL).
///
/// # Errors
/// When there is no such type, or the bytes aren't one.
pub fn decode(type_name: &str, body: &[u8]) -> Result<DynamicMessage, PrintError> {
    let desc = descriptors::message(type_name).ok_or_else(|| PrintError::UnknownType(type_name.to_owned()))?;
    DynamicMessage::decode(desc, body).map_err(|source| PrintError::Decode { type_name: type_name.to_owned(), source })
}

/// JSON whose keys keep the order of the message's fields.
enum Tree {
    Leaf(Json),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    fn into_json(self) -> Json {
        match self {
            Self::Leaf(json) => json,
            Self::List(items) => Json::Array(items.into_iter().map(Self::into_json).collect()),
            Self::Map(entries) => Json::Object(entries.into_iter().map(|(k, v)| (k, v.into_json())).collect()),
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Leaf(json) => json.serialize(serializer),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

fn leaf(value: impl Into<Json>) -> Tree {
    Tree::Leaf(value.into())
}

struct Printer {
    redact: bool,
}

impl Printer {
    fn message(&self, message: &DynamicMessage) -> Tree {
        let desc = message.descriptor();
        match desc.full_name() {
            "google.protobuf.Any" => self.any(message),
            name if name.starts_with("google.protobuf.") => {
                self.well_known(&desc, message).unwrap_or_else(|| self.fields(message))
            }
            _ => self.fields(message),
        }
    }

    fn fields(&self, message: &DynamicMessage) -> Tree {
        let plan = self.redact.then(|| plan::of(&message.descriptor()));
        let is_hidden = |field: &FieldDescriptor| {
            plan.is_some_and(|plan| plan.field(field.number()).is_some_and(|at| plan.fields[at].sensitive))
        };
        let fields = message.fields().map(|(field, value)| {
            let tree = if is_hidden(&field) { leaf(REDACTED) } else { self.field(&field, value) };
            (field.name().to_owned(), tree)
        });
        Tree::Map(fields.collect())
    }

    fn field(&self, field: &FieldDescriptor, value: &Value) -> Tree {
        let kind = field.kind();
        match value {
            Value::List(items) => Tree::List(items.iter().map(|item| self.value(&kind, item)).collect()),
            Value::Map(entries) => {
                let Kind::Message(entry) = &kind else { return leaf(Json::Null) };
                let kind = entry.map_entry_value_field().kind();
                let mut sorted: Vec<(String, Tree)> =
                    entries.iter().map(|(key, value)| (map_key(key), self.value(&kind, value))).collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                Tree::Map(sorted)
            }
            single => self.value(&kind, single),
        }
    }

    fn value(&self, kind: &Kind, value: &Value) -> Tree {
        match value {
            Value::Bool(flag) => leaf(*flag),
            Value::I32(number) => leaf(*number),
            Value::U32(number) => leaf(*number),
            Value::I64(number) => leaf(number.to_string()),
            Value::U64(number) => leaf(number.to_string()),
            // By its shortest form, so that 0.1 doesn't become 0.10000000149011612.
            Value::F32(number) => float(number.to_string().parse().unwrap_or(f64::from(*number))),
            Value::F64(number) => float(*number),
            Value::String(text) => leaf(text.as_str()),
            Value::Bytes(bytes) => leaf(STANDARD.encode(bytes)),
            Value::EnumNumber(number) => match kind {
                Kind::Enum(desc) if desc.full_name() == "google.protobuf.NullValue" => leaf(Json::Null),
                Kind::Enum(desc) => desc.get_value(*number).map_or_else(|| leaf(*number), |value| leaf(value.name())),
                _ => leaf(*number),
            },
            Value::Message(message) => self.message(message),
            Value::List(_) | Value::Map(_) => leaf(Json::Null),
        }
    }

    /// Of unknown type or not decodable: the bytes, in base64.
    fn any(&self, any: &DynamicMessage) -> Tree {
        let url = any.get_field_by_name("type_url").and_then(|url| url.as_str().map(str::to_owned)).unwrap_or_default();
        let value = any.get_field_by_name("value");
        let bytes = value.as_ref().and_then(|value| value.as_bytes()).map_or(&[][..], AsRef::as_ref);
        if url.is_empty() && bytes.is_empty() {
            return Tree::Map(Vec::new());
        }
        let mut entries = vec![("@type".to_owned(), leaf(url.as_str()))];
        match decode(&url, bytes) {
            Ok(message) => {
                let desc = message.descriptor();
                let special = desc.full_name() == "google.protobuf.Any" || crate::parse::is_special(desc.full_name());
                match self.message(&message) {
                    Tree::Map(fields) if !special => entries.extend(fields),
                    other => entries.push(("value".to_owned(), other)),
                }
            }
            Err(_) => entries.push(("value".to_owned(), leaf(STANDARD.encode(bytes)))),
        }
        Tree::Map(entries)
    }

    fn well_known(&self, desc: &MessageDescriptor, message: &DynamicMessage) -> Option<Tree> {
        let get = |name: &str| message.get_field_by_name(name);
        match desc.name() {
            "Duration" => Some(leaf(duration(get("seconds")?.as_i64()?, get("nanos")?.as_i32()?))),
            "Timestamp" => {
                let time =
                    prost_types::Timestamp { seconds: get("seconds")?.as_i64()?, nanos: get("nanos")?.as_i32()? };
                Some(leaf(time.to_string()))
            }
            "FieldMask" => {
                let paths = get("paths")?;
                let paths: Vec<String> = paths.as_list()?.iter().filter_map(|path| path.as_str().map(camel)).collect();
                Some(leaf(paths.join(",")))
            }
            "Struct" => Some(self.field(&desc.get_field_by_name("fields")?, &*get("fields")?)),
            "ListValue" => Some(self.field(&desc.get_field_by_name("values")?, &*get("values")?)),
            "Value" => Some(match message.fields().next() {
                Some((field, value)) => self.field(&field, value),
                None => leaf(Json::Null),
            }),
            _ if crate::parse::is_special(desc.full_name()) => {
                Some(self.field(&desc.get_field_by_name("value")?, &*get("value")?))
            }
            _ => None,
        }
    }
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(flag) => flag.to_string(),
        MapKey::I32(number) => number.to_string(),
        MapKey::I64(number) => number.to_string(),
        MapKey::U32(number) => number.to_string(),
        MapKey::U64(number) => number.to_string(),
        MapKey::String(text) => text.clone(),
    }
}

fn float(number: f64) -> Tree {
    if number.is_nan() {
        leaf("NaN")
    } else if number.is_infinite() {
        leaf(if number > 0.0 { "Infinity" } else { "-Infinity" })
    } else if number.fract() == 0.0 && number.abs() < 9e15 && !(number == 0.0 && number.is_sign_negative()) {
        leaf(number as i64)
    } else {
        leaf(number)
    }
}

/// With 0, 3, 6 or 9 digits after the point.
fn duration(seconds: i64, nanos: i32) -> String {
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (seconds.unsigned_abs(), nanos.unsigned_abs());
    let mut digits = format!("{nanos:09}");
    while digits.ends_with("000") {
        digits.truncate(digits.len() - 3);
    }
    if digits.is_empty() { format!("{sign}{seconds}s") } else { format!("{sign}{seconds}.{digits}s") }
}

fn camel(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut up = false;
    for letter in path.chars() {
        if letter == '_' {
            up = true;
        } else {
            out.push(if up { letter.to_ascii_uppercase() } else { letter });
            up = false;
        }
    }
    out
}
