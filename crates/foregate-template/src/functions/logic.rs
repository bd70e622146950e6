//! Choice, comparison, kinds and failure.

use std::cmp::Ordering;

use gotmpl::Value;

use super::args::{Args, float};
use super::{ANY, Entry, FAIL, heavy, light};
use crate::value::{kind, print, text};

pub(crate) const TABLE: &[Entry] = &[
    light("default", 1, 2, |a| Ok(if a.len() == 2 && a.any(1).is_truthy() { a.any(1) } else { a.any(0) }.clone())),
    light("empty", 1, 1, |a| Ok(Value::Bool(!a.any(0).is_truthy()))),
    light("coalesce", 0, ANY, |a| Ok(a.0.iter().find(|value| value.is_truthy()).cloned().unwrap_or(Value::Nil))),
    light("ternary", 3, 3, ternary),
    heavy("eq", 2, ANY, |a| Ok(Value::Bool(equals_any(a)?))),
    heavy("ne", 2, 2, |a| Ok(Value::Bool(!equals_any(a)?))),
    heavy("lt", 2, 2, |a| ordered(a, Ordering::is_lt)),
    heavy("le", 2, 2, |a| ordered(a, Ordering::is_le)),
    heavy("gt", 2, 2, |a| ordered(a, Ordering::is_gt)),
    heavy("ge", 2, 2, |a| ordered(a, Ordering::is_ge)),
    heavy("deepEqual", 2, 2, |a| Ok(Value::Bool(same(a.any(0), a.any(1))))),
    light("kindOf", 1, 1, |a| Ok(text(kind(a.any(0))))),
    light("kindIs", 2, 2, |a| Ok(Value::Bool(a.str(0)? == kind(a.any(1))))),
    light("typeOf", 1, 1, |a| Ok(text(type_of(a.any(0))))),
    light("typeIs", 2, 2, |a| Ok(Value::Bool(a.str(0)? == type_of(a.any(1))))),
    light("typeIsLike", 2, 2, |a| Ok(Value::Bool(a.str(0)?.trim_start_matches('*') == type_of(a.any(1))))),
    light(FAIL, 1, 1, |a| Err(print(a.any(0)))),
    light("required", 2, 2, required),
];

fn ternary(args: Args<'_>) -> Result<Value, String> {
    match args.any(2) {
        Value::Bool(true) => Ok(args.any(0).clone()),
        Value::Bool(false) => Ok(args.any(1).clone()),
        other => Err(format!("argument 3 must be a boolean, it is {}", kind(other))),
    }
}

fn required(args: Args<'_>) -> Result<Value, String> {
    match args.any(1) {
        Value::Nil => Err(print(args.any(0))),
        Value::String(value) if value.is_empty() => Err(print(args.any(0))),
        value => Ok(value.clone()),
    }
}

fn numeric(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Float(_))
}

/// Whether two values are alike; numbers by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        _ if numeric(a) && numeric(b) => compare_numbers(a, b) == Some(Ordering::Equal),
        _ => a == b,
    }
}

fn compare_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    let whole = |value: &Value| match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::Uint(number) => Some(i128::from(*number)),
        _ => None,
    };
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => float(a)?.partial_cmp(&float(b)?),
    }
}

fn incomparable(a: &Value, b: &Value) -> String {
    format!("can't compare {} with {}", kind(a), kind(b))
}

/// Whether the first equals any of the others.
fn equals_any(args: Args<'_>) -> Result<bool, String> {
    let first = args.any(0);
    for other in args.rest(1) {
        let basic = |value: &Value| !matches!(value, Value::List(_) | Value::Map(_) | Value::Function(_));
        let alike = kind(first) == kind(other) || (numeric(first) && numeric(other));
        let null = matches!(first, Value::Nil) || matches!(other, Value::Nil);
        let comparable = alike && basic(first) && basic(other);
        if !(null || comparable) {
            return Err(incomparable(first, other));
        }
        if same(first, other) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn ordered(args: Args<'_>, holds: fn(Ordering) -> bool) -> Result<Value, String> {
    let (a, b) = (args.any(0), args.any(1));
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ if numeric(a) && numeric(b) => compare_numbers(a, b),
        _ => None,
    };
    order.map(|order| Value::Bool(holds(order))).ok_or_else(|| incomparable(a, b))
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
        other => kind(other),
    }
}
