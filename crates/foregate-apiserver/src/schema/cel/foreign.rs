//! Rules with uncommon functions: `cel`'s interpreter with `kube-cel`'s libraries.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Program, Value as Cel};
use serde_json::Value;

use super::super::format::Format;
use super::super::tree::{Additional, Kind, NodeId, Schema};
use super::expression::{ESCAPES, RESERVED};
use super::{Budget, Scope};

static BASE: LazyLock<Context<'static>> = LazyLock::new(|| Context::default().with_all());
static TIMESTAMP: LazyLock<Option<Program>> = LazyLock::new(|| Program::compile("timestamp(text)").ok());
static DURATION: LazyLock<Option<Program>> = LazyLock::new(|| Program::compile("duration(text)").ok());

/// Whether the rule holds.
pub(super) fn condition(program: &Program, scope: &Scope<'_>, budget: &mut Budget) -> Result<bool, String> {
    if budget.foreign.is_zero() {
        return Err("the rules' time is used up: shorten the object's lists".to_string());
    }
    let start = Instant::now();
    let result = run(program, scope);
    budget.foreign = budget.foreign.saturating_sub(start.elapsed());
    match result? {
        Cel::Bool(holds) => Ok(holds),
        _ => Err("the rule is not true or false".to_string()),
    }
}

/// The text that a `messageExpression` gives.
pub(super) fn message(program: &Program, scope: &Scope<'_>) -> Option<String> {
    match run(program, scope) {
        Ok(Cel::String(text)) => Some(text.to_string()),
        _ => None,
    }
}

/// What named roots are, for expressions that belong to no schema.
pub(super) fn context(roots: &[(&str, Option<&Value>)]) -> Context<'static> {
    let mut context = BASE.new_inner_scope();
    for (name, value) in roots {
        context.add_variable_from_value(*name, value.map_or(Cel::Null, untyped));
    }
    context
}

/// A value of which nothing but its JSON is known.
fn untyped(value: &Value) -> Cel {
    match value {
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(untyped).collect())),
        Value::Object(map) => {
            let entries = map.iter().map(|(name, value)| (Key::String(Arc::new(name.clone())), untyped(value)));
            Cel::Map(Map { map: Arc::new(entries.collect()) })
        }
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Cel::Float(number.as_f64().unwrap_or(f64::NAN)), Cel::Int)
        }
        Value::String(text) => Cel::String(Arc::new(text.clone())),
    }
}

fn run(program: &Program, scope: &Scope<'_>) -> Result<Cel, String> {
    let mut context = BASE.new_inner_scope();
    context.add_variable_from_value("self", convert(scope.value, Some(scope.node), scope.schema));
    let old = scope.old.map_or(Cel::Null, |old| convert(old, Some(scope.node), scope.schema));
    context.add_variable_from_value("oldSelf", old);
    program.execute(&context).map_err(|error| error.to_string())
}

fn convert(value: &Value, id: Option<NodeId>, schema: &Schema) -> Cel {
    let node = id.map(|id| schema.node(id));
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) if node.is_some_and(|node| node.kind == Kind::Number) => {
            Cel::Float(number.as_f64().unwrap_or(f64::NAN))
        }
        Value::Number(number) => number
            .as_i64()
            .map(Cel::Int)
            .or_else(|| number.as_u64().map(Cel::UInt))
            .unwrap_or_else(|| Cel::Float(number.as_f64().unwrap_or(f64::NAN))),
        Value::String(text) => {
            convert_text(text, node.and_then(|node| node.checks.as_ref()).and_then(|checks| checks.format))
        }
        Value::Array(items) => {
            let below = node.and_then(|node| node.items);
            Cel::List(Arc::new(items.iter().map(|item| convert(item, below, schema)).collect()))
        }
        Value::Object(map) => {
            // A map's keys are data; only declared fields are escaped.
            let is_map = node.is_some_and(|node| node.additional != Additional::Unknown);
            let mut out = HashMap::with_capacity(map.len());
            for (name, value) in map {
                let below = node.and_then(|node| node.child(name));
                let key = if is_map { name.clone() } else { escape(name) };
                out.insert(Key::String(Arc::new(key)), convert(value, below, schema));
            }
            Cel::Map(Map { map: Arc::new(out) })
        }
    }
}

fn convert_text(text: &str, format: Option<Format>) -> Cel {
    let special = match format {
        Some(Format::DateTime) => typed(&TIMESTAMP, text),
        Some(Format::Duration) => typed(&DURATION, text),
        Some(Format::Byte) => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).ok().map(|bytes| Cel::Bytes(Arc::new(bytes)))
        }
        _ => None,
    };
    special.unwrap_or_else(|| Cel::String(Arc::new(text.to_string())))
}

/// CEL's own conversion, so that its time types stay its own business.
fn typed(program: &Option<Program>, text: &str) -> Option<Cel> {
    let mut context = BASE.new_inner_scope();
    context.add_variable_from_value("text", Cel::String(Arc::new(text.to_string())));
    program.as_ref()?.execute(&context).ok()
}

fn escape(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    if !name.contains("__") && !name.contains(['.', '-', '/']) {
        return name.to_string();
    }
    let mut out = String::with_capacity(name.len() + 16);
    let mut rest = name;
    'outer: while let Some(first) = rest.chars().next() {
        for (escaped, plain) in ESCAPES {
            if let Some(after) = rest.strip_prefix(plain) {
                out.push_str(escaped);
                rest = after;
                continue 'outer;
            }
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    out
}
