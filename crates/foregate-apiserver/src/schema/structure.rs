//! Structural checks: types, required fields, enumerations, bounds, patterns, list keys.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::correlation::Correlation;
use super::error::{FieldError, FieldErrorKind};
use super::format::Format;
use super::path::Path;
use super::tree::{Bound, Checks, Kind, ListType, Node, NodeId, Schema};

/// More errors of one object than this are not listed.
pub(super) const REPORTED: usize = 100;

pub(super) struct Structure<'s> {
    pub(super) schema: &'s Schema,
    pub(super) errors: Vec<FieldError>,
}

impl Structure<'_> {
    /// Checks `value`; what equals `old` is left alone.
    pub(super) fn value(&mut self, value: &Value, old: Option<&Value>, id: NodeId, path: &Path<'_>) {
        if old == Some(value) || self.errors.len() >= REPORTED {
            return;
        }
        let node = self.schema.node(id);
        if value.is_null() && (node.nullable || self.schema.builtin) {
            return;
        }
        if let Some(expected) = mismatch(node.kind, value) {
            let detail = format!("{path} in body must be of type {expected}: \"{}\"", type_name(value));
            // Only the type is shown, as upstream: the value may be a secret in the wrong field.
            self.errors.push(FieldError::new(FieldErrorKind::TypeInvalid, path, &type_name(value).into(), detail));
            return;
        }
        match value {
            Value::Object(map) => self.object(map, old, node, path),
            Value::Array(items) => self.array(items, old, node, path),
            _ => {}
        }
        if let Some(checks) = &node.checks {
            self.checks(value, checks, path);
        }
    }

    fn push(&mut self, kind: FieldErrorKind, path: &Path<'_>, value: &Value, detail: String) {
        self.errors.push(FieldError::new(kind, path, value, detail));
    }

    fn object(&mut self, map: &Map<String, Value>, old: Option<&Value>, node: &Node, path: &Path<'_>) {
        for name in &node.required {
            if !map.contains_key(&**name) {
                self.errors.push(FieldError::required(path.field(name), ""));
            }
        }
        for (name, value) in map {
            let id = node.child(name);
            if let Some(id) = id {
                let old = old.and_then(|old| old.get(name));
                self.value(value, old, id, &path.field(name));
            }
        }
    }

    fn array(&mut self, items: &[Value], old: Option<&Value>, node: &Node, path: &Path<'_>) {
        self.unique(items, node, path);
        let Some(id) = node.items else { return };
        let before = Correlation::new(old, &node.list_type);
        for (index, item) in items.iter().enumerate() {
            self.value(item, before.of(item, index), id, &path.index(index));
        }
    }

    fn unique(&mut self, items: &[Value], node: &Node, path: &Path<'_>) {
        match &node.list_type {
            ListType::Atomic => {}
            ListType::Set => {
                let mut seen = HashSet::new();
                for (index, item) in items.iter().enumerate() {
                    if !seen.insert(item.to_string()) {
                        self.push(FieldErrorKind::Duplicate, &path.index(index), item, String::new());
                    }
                }
            }
            ListType::Map(keys) => {
                let mut seen = HashSet::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let key: Vec<Option<&Value>> = keys.iter().map(|key| item.get(&**key)).collect();
                    if !seen.insert(key) {
                        let key: Map<String, Value> =
                            keys.iter().filter_map(|key| Some((key.to_string(), item.get(&**key)?.clone()))).collect();
                        let mut error =
                            FieldError::new(FieldErrorKind::Duplicate, path.index(index), &Value::Null, String::new());
                        error.value = Some(Value::Object(key).to_string());
                        self.errors.push(error);
                    }
                }
            }
        }
    }

    fn checks(&mut self, value: &Value, checks: &Checks, path: &Path<'_>) {
        if !checks.enums.is_empty() && !checks.enums.contains(value) {
            let list: Vec<String> = checks.enums.iter().map(Value::to_string).collect();
            self.push(FieldErrorKind::NotSupported, path, value, format!("supported values: {}", list.join(", ")));
        }
        if let Some(format) = checks.format
            && !(format == Format::Byte && self.schema.builtin) // Their own checks say it better.
            && !format.accepts(value)
        {
            // Bytes are what secrets are made of.
            let hidden = Value::from("<hidden>");
            let value = if format == Format::Byte { &hidden } else { value };
            let detail = format!("{path} in body must be of type {}: {value}", format.name());
            self.push(FieldErrorKind::Invalid, path, value, detail);
        }
        match value {
            Value::String(text) => self.text(text, value, checks, path),
            Value::Number(number) => self.number(number.as_f64().unwrap_or(f64::NAN), value, checks, path),
            Value::Array(items) => self.list_size(items, value, checks, path),
            Value::Object(map) => self.map_size(map.len() as u64, value, checks, path),
            _ => {}
        }
        self.combined(value, checks, path);
    }

    fn text(&mut self, text: &str, value: &Value, checks: &Checks, path: &Path<'_>) {
        if checks.min_length.is_some() || checks.max_length.is_some() {
            let length = text.chars().count() as u64;
            if let Some(limit) = checks.min_length.filter(|limit| length < *limit) {
                let detail = format!("{path} in body should be at least {limit} chars long");
                self.push(FieldErrorKind::Invalid, path, value, detail);
            }
            if let Some(limit) = checks.max_length.filter(|limit| length > *limit) {
                self.push(FieldErrorKind::TooLong, path, value, format!("may not be more than {limit} bytes"));
            }
        }
        if let Some(pattern) = checks.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            let detail = format!("{path} in body should match '{}'", pattern.as_str());
            self.push(FieldErrorKind::Invalid, path, value, detail);
        }
    }

    fn number(&mut self, number: f64, value: &Value, checks: &Checks, path: &Path<'_>) {
        let below = |bound: &Bound| number < bound.value || (bound.exclusive && number == bound.value);
        let above = |bound: &Bound| number > bound.value || (bound.exclusive && number == bound.value);
        if let Some(bound) = checks.minimum.filter(below) {
            let equal = if bound.exclusive { "" } else { " or equal to" };
            let detail = format!("{path} in body should be greater than{equal} {}", bound.value);
            self.push(FieldErrorKind::Invalid, path, value, detail);
        }
        if let Some(bound) = checks.maximum.filter(above) {
            let equal = if bound.exclusive { "" } else { " or equal to" };
            let detail = format!("{path} in body should be less than{equal} {}", bound.value);
            self.push(FieldErrorKind::Invalid, path, value, detail);
        }
        if let Some(factor) =
            checks.multiple_of.filter(|factor| ((number / factor) - (number / factor).round()).abs() > 1e-9)
        {
            self.push(FieldErrorKind::Invalid, path, value, format!("{path} in body should be a multiple of {factor}"));
        }
    }

    fn list_size(&mut self, items: &[Value], value: &Value, checks: &Checks, path: &Path<'_>) {
        let length = items.len() as u64;
        if let Some(limit) = checks.min_items.filter(|limit| length < *limit) {
            let detail = format!("{path} in body should have at least {limit} items");
            self.push(FieldErrorKind::Invalid, path, value, detail);
        }
        if let Some(limit) = checks.max_items.filter(|limit| length > *limit) {
            self.too_many(length, limit, path);
        }
        let mut seen = HashSet::new();
        if checks.unique_items && !items.iter().all(|item| seen.insert(item.to_string())) {
            self.push(FieldErrorKind::Invalid, path, value, format!("{path} in body shouldn't contain duplicates"));
        }
    }

    fn map_size(&mut self, length: u64, value: &Value, checks: &Checks, path: &Path<'_>) {
        if let Some(limit) = checks.min_properties.filter(|limit| length < *limit) {
            let detail = format!("{path} in body should have at least {limit} properties");
            self.push(FieldErrorKind::Invalid, path, value, detail);
        }
        if let Some(limit) = checks.max_properties.filter(|limit| length > *limit) {
            self.too_many(length, limit, path);
        }
    }

    fn too_many(&mut self, length: u64, limit: u64, path: &Path<'_>) {
        self.push(FieldErrorKind::TooMany, path, &length.into(), format!("must have at most {limit} items"));
    }

    fn combined(&mut self, value: &Value, checks: &Checks, path: &Path<'_>) {
        for id in &checks.all_of {
            self.value(value, None, *id, path);
        }
        if !checks.any_of.is_empty() && !checks.any_of.iter().any(|id| self.fits(value, *id)) {
            let detail = format!("\"{path}\" must validate at least one schema (anyOf)");
            self.push(FieldErrorKind::Invalid, path, value, detail);
        }
        if !checks.one_of.is_empty() {
            let fitting = checks.one_of.iter().filter(|id| self.fits(value, **id)).count();
            if fitting != 1 {
                let found = if fitting == 0 { "Found none valid" } else { "Found more than one valid" };
                let detail = format!("\"{path}\" must validate one and only one schema (oneOf). {found}");
                self.push(FieldErrorKind::Invalid, path, value, detail);
            }
        }
        if checks.not.is_some_and(|id| self.fits(value, id)) {
            self.push(FieldErrorKind::Invalid, path, value, format!("\"{path}\" must not validate the schema (not)"));
        }
    }

    fn fits(&self, value: &Value, id: NodeId) -> bool {
        let mut alone = Structure { schema: self.schema, errors: Vec::new() };
        alone.value(value, None, id, &Path::ROOT);
        alone.errors.is_empty()
    }
}

/// The type that was expected, if `value` isn't of it.
fn mismatch(kind: Kind, value: &Value) -> Option<&'static str> {
    let (fits, name) = match kind {
        Kind::Any => (true, ""),
        Kind::Object => (value.is_object(), "object"),
        Kind::Array => (value.is_array(), "array"),
        Kind::String => (value.is_string(), "string"),
        Kind::Boolean => (value.is_boolean(), "boolean"),
        Kind::Number => (value.is_number(), "number"),
        Kind::Integer => (value.as_f64().is_some_and(|number| number.fract() == 0.0), "integer"),
        Kind::IntOrString => (value.is_string() || value.is_i64() || value.is_u64(), "integer or string"),
    };
    (!fits).then_some(name)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
