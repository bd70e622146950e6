//! What operators and functions do to values.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::Value;

use super::evaluate::{Budget, Datum, Fault, Outcome};
use super::expression::{Field, Function, Operator};

/// A field of an object, or whether it is there.
pub(super) fn select<'a>(operand: &Datum<'a>, field: &'a Field, test: bool) -> Outcome<'a, Datum<'a>> {
    let Datum::Json(Value::Object(map)) = operand else { return Err(Fault::NoSuchOverload) };
    let found = map.get(&*field.name).or_else(|| field.raw.as_ref().and_then(|raw| map.get(&**raw)));
    if test {
        return Ok(Datum::Bool(found.is_some()));
    }
    found.map(Datum::of).ok_or(Fault::NoSuchKey(&field.name))
}

/// How many things a macro visits: items of a list, keys of a map.
pub(super) fn length<'a>(range: &Datum<'a>) -> Outcome<'a, usize> {
    match range {
        Datum::Json(Value::Array(items)) => Ok(items.len()),
        Datum::Json(Value::Object(map)) => Ok(map.len()),
        Datum::List(items) => Ok(items.len()),
        _ => Err(Fault::NoSuchOverload),
    }
}

/// What a macro visits at `index`.
pub(super) fn item<'a>(range: &Datum<'a>, index: usize) -> Outcome<'a, Datum<'a>> {
    match range {
        Datum::Json(Value::Array(items)) => items.get(index).map(Datum::of),
        Datum::Json(Value::Object(map)) => map.keys().nth(index).map(|key| Datum::Text(Cow::Borrowed(key))),
        Datum::List(items) => items.get(index).cloned(),
        _ => None,
    }
    .ok_or(Fault::Index)
}

/// An operator with both its sides.
pub(super) fn binary<'a>(
    operator: Operator,
    left: &Datum<'a>,
    right: &Datum<'a>,
    budget: &mut Budget,
) -> Outcome<'a, Datum<'a>> {
    Ok(match operator {
        Operator::Equal => Datum::Bool(equal(left, right)),
        Operator::NotEqual => Datum::Bool(!equal(left, right)),
        Operator::Less => Datum::Bool(order(left, right)? == Ordering::Less),
        Operator::LessEqual => Datum::Bool(order(left, right)? != Ordering::Greater),
        Operator::Greater => Datum::Bool(order(left, right)? == Ordering::Greater),
        Operator::GreaterEqual => Datum::Bool(order(left, right)? != Ordering::Less),
        Operator::In => Datum::Bool(contains(right, left, budget)?),
        Operator::Index => index(left, right)?,
        _ => arithmetic(operator, left, right)?,
    })
}

fn equal(left: &Datum<'_>, right: &Datum<'_>) -> bool {
    match (left, right) {
        (Datum::Null, Datum::Null) => true,
        (Datum::Bool(a), Datum::Bool(b)) => a == b,
        (Datum::Int(a), Datum::Int(b)) => a == b,
        (Datum::Int(a), Datum::Double(b)) | (Datum::Double(b), Datum::Int(a)) => *a as f64 == *b,
        (Datum::Double(a), Datum::Double(b)) => a == b,
        (Datum::Text(a), Datum::Text(b)) => a == b,
        (Datum::Duration(a), Datum::Duration(b)) => a == b,
        (Datum::Json(Value::Object(a)), Datum::Json(Value::Object(b))) => a == b,
        (Datum::Json(Value::Object(_)), _) | (_, Datum::Json(Value::Object(_))) => false,
        (Datum::Json(_) | Datum::List(_), Datum::Json(_) | Datum::List(_)) => {
            let (Ok(a), Ok(b)) = (length(left), length(right)) else { return false };
            a == b && (0..a).all(|at| matches!((item(left, at), item(right, at)), (Ok(x), Ok(y)) if equal(&x, &y)))
        }
        _ => false,
    }
}

fn order<'a>(left: &Datum<'a>, right: &Datum<'a>) -> Outcome<'a, Ordering> {
    match (left, right) {
        (Datum::Int(a), Datum::Int(b)) => Some(a.cmp(b)),
        (Datum::Int(a), Datum::Double(b)) => (*a as f64).partial_cmp(b),
        (Datum::Double(a), Datum::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Datum::Double(a), Datum::Double(b)) => a.partial_cmp(b),
        (Datum::Text(a), Datum::Text(b)) => Some(a.cmp(b)),
        (Datum::Bool(a), Datum::Bool(b)) => Some(a.cmp(b)),
        (Datum::Duration(a), Datum::Duration(b)) => Some(a.cmp(b)),
        _ => None,
    }
    .ok_or(Fault::NoSuchOverload)
}

fn contains<'a>(container: &Datum<'a>, needle: &Datum<'a>, budget: &mut Budget) -> Outcome<'a, bool> {
    if let Datum::Json(Value::Object(map)) = container {
        return match needle {
            Datum::Text(key) => Ok(map.contains_key(&**key)),
            _ => Ok(false),
        };
    }
    for index in 0..length(container)? {
        budget.step()?;
        if equal(&item(container, index)?, needle) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn index<'a>(container: &Datum<'a>, key: &Datum<'a>) -> Outcome<'a, Datum<'a>> {
    match (container, key) {
        (Datum::Json(Value::Object(map)), Datum::Text(key)) => {
            map.get(&**key).map(Datum::of).ok_or(Fault::NoSuchKey(""))
        }
        (Datum::Json(Value::Array(_)) | Datum::List(_), Datum::Int(at)) => {
            item(container, usize::try_from(*at).map_err(|_| Fault::Index)?)
        }
        _ => Err(Fault::NoSuchOverload),
    }
}

/// A concatenation may not grow beyond this.
const JOINED: usize = 1 << 20;

fn arithmetic<'a>(operator: Operator, left: &Datum<'a>, right: &Datum<'a>) -> Outcome<'a, Datum<'a>> {
    match (left, right) {
        (Datum::Int(a), Datum::Int(b)) => integers(operator, *a, *b).map(Datum::Int),
        (Datum::Text(a), Datum::Text(b)) if operator == Operator::Add => {
            if a.len() + b.len() > JOINED {
                return Err(Fault::Budget);
            }
            Ok(Datum::Text(Cow::Owned(format!("{a}{b}"))))
        }
        (Datum::Duration(a), Datum::Duration(b)) => match operator {
            Operator::Add => a.checked_add(*b).map(Datum::Duration).ok_or(Fault::Overflow),
            Operator::Subtract => a.checked_sub(*b).map(Datum::Duration).ok_or(Fault::Overflow),
            _ => Err(Fault::NoSuchOverload),
        },
        (Datum::Int(_) | Datum::Double(_), Datum::Int(_) | Datum::Double(_)) => {
            let number = |datum: &Datum<'a>| match datum {
                Datum::Int(value) => *value as f64,
                Datum::Double(value) => *value,
                _ => f64::NAN,
            };
            floats(operator, number(left), number(right)).map(Datum::Double)
        }
        _ if operator == Operator::Add => {
            let (a, b) = (length(left)?, length(right)?);
            if a + b > JOINED
                || matches!(left, Datum::Json(Value::Object(_)))
                || matches!(right, Datum::Json(Value::Object(_)))
            {
                return Err(Fault::NoSuchOverload);
            }
            let items = (0..a).map(|at| item(left, at)).chain((0..b).map(|at| item(right, at)));
            Ok(Datum::List(Rc::new(items.collect::<Outcome<'a, Vec<_>>>()?)))
        }
        _ => Err(Fault::NoSuchOverload),
    }
}

fn integers<'a>(operator: Operator, a: i64, b: i64) -> Outcome<'a, i64> {
    if matches!(operator, Operator::Divide | Operator::Modulo) && b == 0 {
        return Err(Fault::Zero);
    }
    match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
        Operator::Modulo => a.checked_rem(b),
        _ => return Err(Fault::NoSuchOverload),
    }
    .ok_or(Fault::Overflow)
}

fn floats<'a>(operator: Operator, a: f64, b: f64) -> Outcome<'a, f64> {
    match operator {
        Operator::Add => Ok(a + b),
        Operator::Subtract => Ok(a - b),
        Operator::Multiply => Ok(a * b),
        Operator::Divide => Ok(a / b),
        _ => Err(Fault::NoSuchOverload),
    }
}

/// A function.
pub(super) fn call<'a>(function: Function, values: &[Datum<'a>]) -> Outcome<'a, Datum<'a>> {
    match (function, values) {
        (Function::Size, [Datum::Text(text)]) => Ok(Datum::Int(text.chars().count() as i64)),
        (Function::Size, [other]) => Ok(Datum::Int(length(other)? as i64)),
        (_, [Datum::Text(text), rest @ ..]) => text_call(function, text, rest),
        (Function::String, [Datum::Int(value)]) => Ok(Datum::Text(Cow::Owned(value.to_string()))),
        (Function::String, [Datum::Double(value)]) => Ok(Datum::Text(Cow::Owned(value.to_string()))),
        (Function::String, [Datum::Bool(value)]) => Ok(Datum::Text(Cow::Owned(value.to_string()))),
        (Function::Int, [Datum::Int(value)]) => Ok(Datum::Int(*value)),
        _ => Err(Fault::NoSuchOverload),
    }
}

/// A function of a text.
fn text_call<'a>(function: Function, text: &Cow<'a, str>, rest: &[Datum<'a>]) -> Outcome<'a, Datum<'a>> {
    let made = |text: String| Ok(Datum::Text(Cow::Owned(text)));
    match (function, rest) {
        (Function::StartsWith, [Datum::Text(other)]) => Ok(Datum::Bool(text.starts_with(&**other))),
        (Function::EndsWith, [Datum::Text(other)]) => Ok(Datum::Bool(text.ends_with(&**other))),
        (Function::Contains, [Datum::Text(other)]) => Ok(Datum::Bool(text.contains(&**other))),
        (Function::LowerAscii, []) => made(text.to_ascii_lowercase()),
        (Function::UpperAscii, []) => made(text.to_ascii_uppercase()),
        (Function::Trim, []) => made(text.trim().to_string()),
        (Function::String, []) => Ok(Datum::Text(text.clone())),
        (Function::Split, [Datum::Text(separator)]) => Ok(split(text, separator)),
        (Function::Substring, [Datum::Int(start)]) => substring(text, *start, None),
        (Function::Substring, [Datum::Int(start), Datum::Int(end)]) => substring(text, *start, Some(*end)),
        (Function::IsIp, []) => Ok(Datum::Bool(is_ip(text))),
        (Function::Int, []) => text.parse().map(Datum::Int).map_err(|_| Fault::Number(text.to_string())),
        (Function::Duration, []) => {
            duration(text).map(Datum::Duration).ok_or_else(|| Fault::Duration(text.to_string()))
        }
        _ => Err(Fault::NoSuchOverload),
    }
}

fn split<'a>(text: &str, separator: &str) -> Datum<'a> {
    let part = |part: &str| Datum::Text(Cow::Owned(part.to_string()));
    // An empty separator gives the characters, and no empty ends.
    let parts = if separator.is_empty() {
        text.chars().map(|c| part(c.encode_utf8(&mut [0; 4]))).collect()
    } else {
        text.split(separator).map(part).collect()
    };
    Datum::List(Rc::new(parts))
}

/// By characters, as CEL counts.
fn substring<'a>(text: &str, start: i64, end: Option<i64>) -> Outcome<'a, Datum<'a>> {
    let count = text.chars().count();
    let place = |at: i64| usize::try_from(at).ok().filter(|at| *at <= count).ok_or(Fault::Index);
    let (start, end) = (place(start)?, end.map_or(Ok(count), place)?);
    let length = end.checked_sub(start).ok_or(Fault::Index)?;
    Ok(Datum::Text(Cow::Owned(text.chars().skip(start).take(length).collect())))
}

/// Kubernetes takes no IPv4 addresses in IPv6 form.
fn is_ip(text: &str) -> bool {
    match text.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V6(address)) => address.to_ipv4_mapped().is_none(),
        Ok(std::net::IpAddr::V4(_)) => true,
        Err(_) => false,
    }
}

/// Go's durations in nanoseconds.
fn duration(text: &str) -> Option<i128> {
    const UNITS: &[(&str, f64)] =
        &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, scale) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        total = total.checked_add((number * scale).round() as i128)?;
    }
    Some(if negative { -total } else { total })
}
