//! Values worth trying in a field: those at the bounds of its rules and just past them, and odd ones.

use std::collections::HashMap;

use foregate_envoy::descriptors;
use prost_reflect::{
    DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, OneofDescriptor,
    ReflectMessage as _, Value,
};

use super::minimal::Minimal;

/// A field's value; none: absent.
pub type Candidate = Option<Value>;

/// What the rules of a field name: lengths, limits, texts.
#[derive(Default)]
struct Named {
    integers: Vec<i128>,
    floats: Vec<f64>,
    texts: Vec<String>,
    blobs: Vec<Vec<u8>>,
    /// In nanoseconds.
    durations: Vec<i128>,
}

impl Named {
    fn of(rules: Option<&DynamicMessage>) -> Self {
        let mut named = Self::default();
        for (field, value) in rules.into_iter().flat_map(DynamicMessage::fields) {
            // A list's and a map's inner rules are tried with its items.
            if !["items", "keys", "values"].contains(&field.name()) {
                named.add(value);
            }
        }
        named
    }

    fn add(&mut self, value: &Value) {
        match value {
            Value::I32(number) => self.integers.push((*number).into()),
            Value::I64(number) => self.integers.push((*number).into()),
            Value::U32(number) => self.integers.push((*number).into()),
            Value::U64(number) => self.integers.push((*number).into()),
            Value::F32(number) => self.floats.push((*number).into()),
            Value::F64(number) => self.floats.push(*number),
            Value::String(text) => self.texts.push(text.clone()),
            Value::Bytes(bytes) => self.blobs.push(bytes.to_vec()),
            Value::List(items) => items.iter().for_each(|item| self.add(item)),
            Value::Message(message) => {
                let part = |name: &str| message.get_field_by_name(name).map(|value| value.into_owned());
                let seconds = part("seconds").and_then(|value| value.as_i64()).unwrap_or(0);
                let nanos = part("nanos").and_then(|value| value.as_i32()).unwrap_or(0);
                self.durations.push(i128::from(seconds) * 1_000_000_000 + i128::from(nanos));
            }
            _ => {}
        }
    }
}

/// Where a field's rules are.
pub struct Rules {
    field: ExtensionDescriptor,
    required: ExtensionDescriptor,
}

impl Rules {
    pub fn new() -> Self {
        let pool = descriptors::pool();
        Self {
            field: pool.get_extension_by_name("validate.rules").unwrap(),
            required: pool.get_extension_by_name("validate.required").unwrap(),
        }
    }

    /// The `FieldRules` of a field.
    pub fn of(&self, field: &FieldDescriptor) -> Option<DynamicMessage> {
        let options = field.options();
        options.has_extension(&self.field).then(|| options.get_extension(&self.field).as_message().unwrap().clone())
    }

    /// Whether one of its members must be set.
    pub fn is_required(&self, oneof: &OneofDescriptor) -> bool {
        oneof.options().get_extension(&self.required).as_bool() == Some(true)
    }

    /// All rules and required oneofs of a message.
    pub fn count(&self, message: &MessageDescriptor) -> usize {
        message.fields().filter(|field| self.of(field).is_some()).count()
            + message.oneofs().filter(|oneof| self.is_required(oneof)).count()
    }
}

/// The rules of a kind, e.g. the `StringRules`, whatever the kind.
fn inner(rules: Option<&DynamicMessage>) -> Option<DynamicMessage> {
    let all = rules?;
    let (_, value) = all.fields().find(|(field, _)| field.name() != "message")?;
    value.as_message().cloned()
}

fn part(rules: Option<&DynamicMessage>, name: &str) -> Option<DynamicMessage> {
    let rules = rules?;
    let field = rules.descriptor().get_field_by_name(name)?;
    rules.has_field(&field).then(|| rules.get_field(&field).as_message().cloned()).flatten()
}

/// Values for a field with these `FieldRules`.
pub fn candidates(field: &FieldDescriptor, rules: Option<&DynamicMessage>, minimal: &mut Minimal) -> Vec<Candidate> {
    let rules = inner(rules);
    let mut all: Vec<Candidate> = vec![None];
    if field.is_map() {
        all.extend(maps(field, rules.as_ref(), minimal).into_iter().map(Some));
    } else if field.is_list() {
        all.extend(lists(field, rules.as_ref(), minimal).into_iter().map(Some));
    } else {
        all.extend(single(&field.kind(), rules.as_ref(), minimal).into_iter().map(Some));
    }
    all
}

fn lists(field: &FieldDescriptor, rules: Option<&DynamicMessage>, minimal: &mut Minimal) -> Vec<Value> {
    let items = part(rules, "items");
    let values = single(&field.kind(), inner(items.as_ref()).as_ref(), minimal);
    let mut all: Vec<Value> = values.iter().map(|value| Value::List(vec![value.clone()])).collect();
    for length in around(Named::of(rules).integers.iter().copied().chain([2])) {
        let Ok(length) = usize::try_from(length) else { continue };
        for value in values.iter().take(2) {
            all.push(Value::List((0..length).map(|at| numbered(value, at)).collect()));
            all.push(Value::List(vec![value.clone(); length]));
        }
    }
    all
}

/// Another value of the same kind for each number.
fn numbered(value: &Value, at: usize) -> Value {
    match value {
        Value::String(text) => Value::String(format!("{text}{at}")),
        Value::I32(number) => Value::I32(number.wrapping_add(i32::try_from(at).unwrap_or(0))),
        Value::U32(number) => Value::U32(number.wrapping_add(u32::try_from(at).unwrap_or(0))),
        Value::EnumNumber(number) => Value::EnumNumber(number.wrapping_add(i32::try_from(at).unwrap_or(0))),
        other => other.clone(),
    }
}

fn maps(field: &FieldDescriptor, rules: Option<&DynamicMessage>, minimal: &mut Minimal) -> Vec<Value> {
    let Kind::Message(entry) = field.kind() else { return Vec::new() };
    let of = |name: &str| inner(part(rules, name).as_ref());
    let keys = single(&entry.map_entry_key_field().kind(), of("keys").as_ref(), minimal);
    let values = single(&entry.map_entry_value_field().kind(), of("values").as_ref(), minimal);
    let map = |key: &Value, value: &Value| key_of(key).map(|key| Value::Map(HashMap::from([(key, value.clone())])));
    let mut all = Vec::new();
    if let (Some(key), Some(value)) = (keys.first(), values.first()) {
        all.extend(values.iter().filter_map(|value| map(key, value)));
        all.extend(keys.iter().filter_map(|key| map(key, value)));
        for length in around(Named::of(rules).integers) {
            let Ok(length) = usize::try_from(length) else { continue };
            let entries = (0..length).filter_map(|at| Some((key_of(&numbered(key, at))?, value.clone())));
            all.push(Value::Map(entries.collect()));
        }
    }
    all
}

fn key_of(value: &Value) -> Option<MapKey> {
    match value {
        Value::String(text) => Some(MapKey::String(text.clone())),
        Value::U32(number) => Some(MapKey::U32(*number)),
        Value::U64(number) => Some(MapKey::U64(*number)),
        Value::I32(number) => Some(MapKey::I32(*number)),
        Value::I64(number) => Some(MapKey::I64(*number)),
        Value::Bool(truth) => Some(MapKey::Bool(*truth)),
        _ => None,
    }
}

/// Each number, the one before and the one after.
fn around(numbers: impl IntoIterator<Item = i128>) -> Vec<i128> {
    let mut all: Vec<i128> = numbers.into_iter().flat_map(|number| [number, number - 1, number + 1]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Values of a kind; the first is the plainest.
fn single(kind: &Kind, rules: Option<&DynamicMessage>, minimal: &mut Minimal) -> Vec<Value> {
    let named = Named::of(rules);
    let integers = || around(named.integers.iter().copied().chain([1, 0]).chain([i128::from(u32::MAX) / 3, -1]));
    match kind {
        Kind::Bool => vec![Value::Bool(true), Value::Bool(false)],
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            narrow(integers(), |number| Some(Value::I32(i32::try_from(number).ok()?)))
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            narrow(integers(), |number| Some(Value::I64(i64::try_from(number).ok()?)))
        }
        Kind::Uint32 | Kind::Fixed32 => narrow(integers(), |number| Some(Value::U32(u32::try_from(number).ok()?))),
        Kind::Uint64 | Kind::Fixed64 => narrow(integers(), |number| Some(Value::U64(u64::try_from(number).ok()?))),
        Kind::Float => floats(&named).into_iter().map(|number| Value::F32(number as f32)).collect(),
        Kind::Double => floats(&named).into_iter().map(Value::F64).collect(),
        Kind::String => texts(&named).into_iter().map(Value::String).collect(),
        Kind::Bytes => blobs(&named).into_iter().map(|bytes| Value::Bytes(bytes.into())).collect(),
        Kind::Enum(desc) => {
            let mut all: Vec<i32> = desc.values().map(|value| value.number()).take(6).collect();
            all.extend(named.integers.iter().filter_map(|number| i32::try_from(*number).ok()));
            all.extend([9_999, -1]);
            all.into_iter().map(Value::EnumNumber).collect()
        }
        Kind::Message(desc) => messages(desc, &named, rules, minimal),
    }
}

fn narrow(numbers: Vec<i128>, value: impl Fn(i128) -> Option<Value>) -> Vec<Value> {
    // The plainest first.
    let first = numbers.iter().copied().filter(|number| *number == 1);
    first.chain(numbers.iter().copied().filter(|number| *number != 1)).filter_map(value).collect()
}

fn floats(named: &Named) -> Vec<f64> {
    let mut all = vec![0.5, 0.0, 1.0, -1.0, 1e9, f64::NAN];
    all.extend(named.floats.iter().flat_map(|number| [*number, number - 0.25, number + 0.25]));
    all
}

/// Texts of every form that a rule asks for, of the lengths that the rules name, and with what no header may hold.
fn texts(named: &Named) -> Vec<String> {
    const FORMS: [&str; 18] = [
        "x",
        "",
        "/x",
        "a.example.com",
        "127.0.0.1",
        "::1",
        "http://a.example.com/b",
        "a b",
        "a\u{1}b",
        "a\r\nb",
        "é",
        ":path",
        "x-Header_1",
        "a@example.com",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "-bad-.a",
        "a,b",
        "%",
    ];
    let mut all: Vec<String> = FORMS.map(str::to_owned).into();
    for length in around(named.integers.iter().copied()) {
        if let Ok(length) = usize::try_from(length) {
            all.push("x".repeat(length));
            all.push("é".repeat(length));
        }
    }
    for text in &named.texts {
        all.extend([text.clone(), format!("{text}x"), format!("x{text}")]);
    }
    all
}

fn blobs(named: &Named) -> Vec<Vec<u8>> {
    let mut all = vec![b"x".to_vec(), Vec::new(), vec![127, 0, 0, 1], vec![0; 16], vec![0xff; 3]];
    for length in around(named.integers.iter().copied()) {
        all.extend(usize::try_from(length).map(|length| vec![b'x'; length]));
    }
    all.extend(named.blobs.iter().cloned());
    all
}

fn messages(
    desc: &MessageDescriptor,
    named: &Named,
    rules: Option<&DynamicMessage>,
    minimal: &mut Minimal,
) -> Vec<Value> {
    match desc.full_name() {
        "google.protobuf.Duration" | "google.protobuf.Timestamp" => {
            let own = [1_000_000_000, 0, -1_000_000_000, 1_500_000, 400_000_000_000 * 1_000_000_000];
            let mut times: Vec<i128> = own.into();
            times.extend(around(named.durations.iter().copied()));
            times.into_iter().map(|nanos| Value::Message(time(desc, nanos))).collect()
        }
        "google.protobuf.Any" => {
            let url = |url: &str| {
                let mut any = DynamicMessage::new(desc.clone());
                any.set_field_by_name("type_url", Value::String(url.to_owned()));
                Value::Message(any)
            };
            let mut all = vec![url("type.googleapis.com/google.protobuf.Empty")];
            all.extend(named.texts.iter().map(|text| url(text)));
            all
        }
        wrapper if wrapper.starts_with("google.protobuf.") && wrapper.ends_with("Value") && wrapper.len() > 21 => {
            let Some(field) = desc.get_field_by_name("value") else { return Vec::new() };
            let values = single(&field.kind(), rules, minimal);
            let wrap = |value| {
                let mut message = DynamicMessage::new(desc.clone());
                message.set_field(&field, value);
                Value::Message(message)
            };
            values.into_iter().map(wrap).collect()
        }
        _ => {
            let mut all = vec![Value::Message(minimal.of(desc))];
            if all[0].as_message().is_none_or(|message| message.fields().next().is_some()) {
                all.push(Value::Message(DynamicMessage::new(desc.clone())));
            }
            all
        }
    }
}

fn time(desc: &MessageDescriptor, nanos: i128) -> DynamicMessage {
    let mut message = DynamicMessage::new(desc.clone());
    let second = 1_000_000_000;
    message.set_field_by_name("seconds", Value::I64(i64::try_from(nanos / second).unwrap_or(0)));
    message.set_field_by_name("nanos", Value::I32(i32::try_from(nanos % second).unwrap_or(0)));
    message
}
