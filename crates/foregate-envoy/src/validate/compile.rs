//! Rules, compiled from the `validate.rules` options.
//!
//! Every rule is read by name from the option's message; a name that isn't known here is reported and not skipped, so
//! that a new Envoy can't bring a rule that is silently ignored.

use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, OneofDescriptor, ReflectMessage as _, Value};
use regex::Regex;

use super::rules::{
    AnyRules, BytesRules, EnumRules, FieldRules, Form, ListRules, MapRules, NumberRules, StringRules, TimestampRules,
    ValueRules,
};

/// Whether one member of a oneof must be set.
pub(crate) fn is_required(oneof: &OneofDescriptor) -> bool {
    option(&oneof.options(), "validate.required").is_some_and(|value| value.as_bool() == Some(true))
}

/// Whether a message's rules are switched off.
pub(crate) fn is_disabled(desc: &MessageDescriptor) -> bool {
    let options = desc.options();
    ["validate.disabled", "validate.ignored"]
        .iter()
        .any(|name| option(&options, name).is_some_and(|value| value.as_bool() == Some(true)))
}

/// The rules of a field; rules that aren't known are named in `unknown`.
pub(crate) fn of_field(field: &FieldDescriptor, unknown: &mut Vec<String>) -> Option<FieldRules> {
    let value = option(&field.options(), "validate.rules")?;
    Some(field_rules(value.as_message()?, unknown))
}

fn option(options: &DynamicMessage, name: &str) -> Option<Value> {
    let extension = options.descriptor().parent_pool().get_extension_by_name(name)?;
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}

/// Every rule that is set in an option: its name and value.
fn each(rules: &DynamicMessage) -> impl Iterator<Item = (String, &Value)> {
    rules.fields().map(|(field, value)| (field.name().to_owned(), value))
}

fn field_rules(rules: &DynamicMessage, unknown: &mut Vec<String>) -> FieldRules {
    let mut out = FieldRules::default();
    for (kind, value) in each(rules) {
        let Some(inner) = value.as_message() else {
            unknown.push(kind);
            continue;
        };
        match kind.as_str() {
            "message" => message_rules(inner, &mut out, unknown),
            "float" => out.value = ValueRules::Float("float", numbers(inner, "float", value_float, unknown)),
            "double" => out.value = ValueRules::Float("double", numbers(inner, "double", value_float, unknown)),
            "bool" => out.value = bool_rules(inner, unknown),
            "string" => out.value = string_rules(inner, unknown),
            "bytes" => out.value = bytes_rules(inner, unknown),
            "enum" => out.value = enum_rules(inner, unknown),
            "repeated" => out.value = list_rules(inner, unknown),
            "map" => out.value = map_rules(inner, unknown),
            "any" => any_rules(inner, &mut out, unknown),
            "duration" => {
                let range = times(inner, "duration", "duration.required", &mut out, unknown);
                out.value = ValueRules::Duration(range.range);
            }
            "timestamp" => {
                let range = times(inner, "timestamp", "timestamp.required", &mut out, unknown);
                out.value = ValueRules::Timestamp(Box::new(range));
            }
            other => match INTEGERS.iter().find(|name| **name == other) {
                Some(name) => out.value = ValueRules::Int(name, numbers(inner, name, value_int, unknown)),
                None => unknown.push(other.to_owned()),
            },
        }
    }
    out
}

const INTEGERS: [&str; 10] =
    ["int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64"];

fn message_rules(rules: &DynamicMessage, out: &mut FieldRules, unknown: &mut Vec<String>) {
    for (name, value) in each(rules) {
        match name.as_str() {
            "skip" => out.skip = value.as_bool() == Some(true),
            "required" => out.required = (value.as_bool() == Some(true)).then_some("message.required"),
            other => unknown.push(format!("message.{other}")),
        }
    }
}

fn value_int(value: &Value) -> Option<i128> {
    match value {
        Value::I32(number) => Some(i128::from(*number)),
        Value::I64(number) => Some(i128::from(*number)),
        Value::U32(number) => Some(i128::from(*number)),
        Value::U64(number) => Some(i128::from(*number)),
        _ => None,
    }
}

fn value_float(value: &Value) -> Option<f64> {
    match value {
        Value::F32(number) => Some(f64::from(*number)),
        Value::F64(number) => Some(*number),
        _ => None,
    }
}

fn all<N>(value: &Value, read: fn(&Value) -> Option<N>) -> Vec<N> {
    value.as_list().unwrap_or_default().iter().filter_map(read).collect()
}

fn numbers<N>(
    rules: &DynamicMessage,
    kind: &str,
    read: fn(&Value) -> Option<N>,
    unknown: &mut Vec<String>,
) -> NumberRules<N> {
    let mut out = NumberRules::default();
    for (name, value) in each(rules) {
        match name.as_str() {
            "const" => out.constant = read(value),
            "lt" => out.lt = read(value),
            "lte" => out.lte = read(value),
            "gt" => out.gt = read(value),
            "gte" => out.gte = read(value),
            "in" => out.within = all(value, read),
            "not_in" => out.not_in = all(value, read),
            "ignore_empty" => out.ignore_empty = value.as_bool() == Some(true),
            other => unknown.push(format!("{kind}.{other}")),
        }
    }
    out
}

fn bool_rules(rules: &DynamicMessage, unknown: &mut Vec<String>) -> ValueRules {
    let mut constant = None;
    for (name, value) in each(rules) {
        match name.as_str() {
            "const" => constant = value.as_bool(),
            other => unknown.push(format!("bool.{other}")),
        }
    }
    ValueRules::Bool(constant)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn blob(value: &Value) -> Option<Vec<u8>> {
    value.as_bytes().map(|bytes| bytes.to_vec())
}

fn string_rules(rules: &DynamicMessage, unknown: &mut Vec<String>) -> ValueRules {
    let mut out = StringRules::default();
    let strict = rules.get_field_by_name("strict").and_then(|value| value.as_bool()).unwrap_or(true);
    for (name, value) in each(rules) {
        match name.as_str() {
            "const" => out.constant = text(value),
            "len" => out.len = value.as_u64(),
            "min_len" => out.min_len = value.as_u64(),
            "max_len" => out.max_len = value.as_u64(),
            "len_bytes" => out.len_bytes = value.as_u64(),
            "min_bytes" => out.min_bytes = value.as_u64(),
            "max_bytes" => out.max_bytes = value.as_u64(),
            // Envoy matches the whole string.
            "pattern" => match Regex::new(&format!(r"\A(?:{})\z", value.as_str().unwrap_or_default())) {
                Ok(regex) => out.pattern = Some(regex),
                Err(_) => unknown.push("string.pattern with an unusual pattern".to_owned()),
            },
            "prefix" => out.prefix = text(value),
            "suffix" => out.suffix = text(value),
            "contains" => out.contains = text(value),
            "not_contains" => out.not_contains = text(value),
            "in" => out.within = all(value, text),
            "not_in" => out.not_in = all(value, text),
            "well_known_regex" => match value.as_enum_number() {
                Some(1) => out.form = Some(Form::HeaderName(strict)),
                Some(2) => out.form = Some(Form::HeaderValue(strict)),
                other => unknown.push(format!("string.well_known_regex {other:?}")),
            },
            "strict" => {}
            "ignore_empty" => out.ignore_empty = value.as_bool() == Some(true),
            other => match form(other) {
                Some(form) => out.form = (value.as_bool() == Some(true)).then_some(form),
                None => unknown.push(format!("string.{other}")),
            },
        }
    }
    ValueRules::String(Box::new(out))
}

fn form(name: &str) -> Option<Form> {
    Some(match name {
        "email" => Form::Email,
        "hostname" => Form::Hostname,
        "ip" => Form::Ip,
        "ipv4" => Form::Ipv4,
        "ipv6" => Form::Ipv6,
        "uri" => Form::Uri,
        "uri_ref" => Form::UriRef,
        "address" => Form::Address,
        "uuid" => Form::Uuid,
        _ => return None,
    })
}

fn bytes_rules(rules: &DynamicMessage, unknown: &mut Vec<String>) -> ValueRules {
    let mut out = BytesRules::default();
    for (name, value) in each(rules) {
        match name.as_str() {
            "const" => out.constant = blob(value),
            "len" => out.len = value.as_u64(),
            "min_len" => out.min_len = value.as_u64(),
            "max_len" => out.max_len = value.as_u64(),
            "pattern" => match regex::bytes::Regex::new(&format!(r"\A(?:{})\z", value.as_str().unwrap_or_default())) {
                Ok(regex) => out.pattern = Some(regex),
                Err(_) => unknown.push("bytes.pattern with an unusual pattern".to_owned()),
            },
            "prefix" => out.prefix = blob(value),
            "suffix" => out.suffix = blob(value),
            "contains" => out.contains = blob(value),
            "in" => out.within = all(value, blob),
            "not_in" => out.not_in = all(value, blob),
            "ignore_empty" => out.ignore_empty = value.as_bool() == Some(true),
            "ip" | "ipv4" | "ipv6" => out.form = form(&name).filter(|_| value.as_bool() == Some(true)),
            other => unknown.push(format!("bytes.{other}")),
        }
    }
    ValueRules::Bytes(Box::new(out))
}

fn enum_rules(rules: &DynamicMessage, unknown: &mut Vec<String>) -> ValueRules {
    let read = |value: &Value| value.as_i32();
    let mut out = EnumRules::default();
    for (name, value) in each(rules) {
        match name.as_str() {
            "const" => out.constant = read(value),
            "defined_only" => out.defined_only = value.as_bool() == Some(true),
            "in" => out.within = all(value, read),
            "not_in" => out.not_in = all(value, read),
            other => unknown.push(format!("enum.{other}")),
        }
    }
    ValueRules::Enum(out)
}

fn nested(value: &Value, unknown: &mut Vec<String>) -> FieldRules {
    value.as_message().map(|rules| field_rules(rules, unknown)).unwrap_or_default()
}

fn list_rules(rules: &DynamicMessage, unknown: &mut Vec<String>) -> ValueRules {
    let mut out = ListRules::default();
    for (name, value) in each(rules) {
        match name.as_str() {
            "min_items" => out.min_items = value.as_u64(),
            "max_items" => out.max_items = value.as_u64(),
            "unique" => out.unique = value.as_bool() == Some(true),
            "items" => out.items = nested(value, unknown),
            "ignore_empty" => out.ignore_empty = value.as_bool() == Some(true),
            other => unknown.push(format!("repeated.{other}")),
        }
    }
    ValueRules::List(Box::new(out))
}

fn map_rules(rules: &DynamicMessage, unknown: &mut Vec<String>) -> ValueRules {
    let mut out = MapRules::default();
    for (name, value) in each(rules) {
        match name.as_str() {
            "min_pairs" => out.min_pairs = value.as_u64(),
            "max_pairs" => out.max_pairs = value.as_u64(),
            "no_sparse" => out.no_sparse = value.as_bool() == Some(true),
            "keys" => out.keys = nested(value, unknown),
            "values" => out.values = nested(value, unknown),
            "ignore_empty" => out.ignore_empty = value.as_bool() == Some(true),
            other => unknown.push(format!("map.{other}")),
        }
    }
    ValueRules::Map(Box::new(out))
}

fn any_rules(rules: &DynamicMessage, field: &mut FieldRules, unknown: &mut Vec<String>) {
    let mut out = AnyRules::default();
    for (name, value) in each(rules) {
        match name.as_str() {
            "required" => field.required = (value.as_bool() == Some(true)).then_some("any.required"),
            "in" => out.within = all(value, text),
            "not_in" => out.not_in = all(value, text),
            other => unknown.push(format!("any.{other}")),
        }
    }
    field.value = ValueRules::Any(out);
}

/// A Duration or Timestamp as nanoseconds.
fn nanoseconds(value: &Value) -> Option<i128> {
    let message = value.as_message()?;
    let seconds = message.get_field_by_name("seconds")?.as_i64()?;
    let nanos = message.get_field_by_name("nanos")?.as_i32()?;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

fn times(
    rules: &DynamicMessage,
    kind: &'static str,
    required: &'static str,
    field: &mut FieldRules,
    unknown: &mut Vec<String>,
) -> TimestampRules {
    let mut out = TimestampRules::default();
    for (name, value) in each(rules) {
        match (kind, name.as_str()) {
            (_, "required") => field.required = (value.as_bool() == Some(true)).then_some(required),
            (_, "const") => out.range.constant = nanoseconds(value),
            (_, "lt") => out.range.lt = nanoseconds(value),
            (_, "lte") => out.range.lte = nanoseconds(value),
            (_, "gt") => out.range.gt = nanoseconds(value),
            (_, "gte") => out.range.gte = nanoseconds(value),
            ("duration", "in") => out.range.within = all(value, nanoseconds),
            ("duration", "not_in") => out.range.not_in = all(value, nanoseconds),
            ("timestamp", "lt_now") => out.lt_now = value.as_bool() == Some(true),
            ("timestamp", "gt_now") => out.gt_now = value.as_bool() == Some(true),
            ("timestamp", "within") => out.within = nanoseconds(value),
            (_, other) => unknown.push(format!("{kind}.{other}")),
        }
    }
    out
}
