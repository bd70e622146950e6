//! Evaluates translated rules on JSON in place.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::Value;

use super::expression::{Expression, Field, Function, Macro, Operator};

/// Steps that the rules of one object may take together.
pub(crate) struct Budget(u64);

impl Budget {
    /// Some 0.1 to 0.5 s of work: far above what honest rules need.
    pub(crate) const STEPS: u64 = 10_000_000;

    pub(crate) fn new() -> Self {
        Self(Self::STEPS)
    }

    fn step(&mut self) -> Outcome<'static, ()> {
        self.0 = self.0.checked_sub(1).ok_or(Fault::Budget)?;
        Ok(())
    }
}

/// Why an expression has no value.
#[derive(Debug)]
enum Fault<'a> {
    Budget,
    NoSuchKey(&'a str),
    NoSuchOverload,
    Index,
    Overflow,
    Zero,
    Duration(String),
    Number(String),
}

impl std::fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Budget => f.write_str("the rules' budget is used up: shorten the object's lists"),
            Self::NoSuchKey(name) => write!(f, "no such key: {name}"),
            Self::NoSuchOverload => f.write_str("no such overload"),
            Self::Index => f.write_str("index out of bounds"),
            Self::Overflow => f.write_str("integer overflow"),
            Self::Zero => f.write_str("division by zero"),
            Self::Duration(text) => write!(f, "invalid duration {text:?}"),
            Self::Number(text) => write!(f, "{text:?} is not a number"),
        }
    }
}

type Outcome<'a, T> = Result<T, Fault<'a>>;

/// A CEL value. Objects and arrays of the input stay where they are.
#[derive(Clone, Debug)]
enum Datum<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    Json(&'a Value),
    List(Rc<Vec<Datum<'a>>>),
    /// Nanoseconds.
    Duration(i128),
}

/// Whether the rule holds.
pub(super) fn condition(expression: &Expression, value: &Value, old: Option<&Value>, budget: &mut Budget) -> Result<bool, String> {
    match run(expression, value, old, budget) {
        Ok(Datum::Bool(holds)) => Ok(holds),
        Ok(_) => Err("the rule is not true or false".to_string()),
        Err(fault) => Err(fault.to_string()),
    }
}

/// The text that a `messageExpression` gives.
pub(super) fn message(expression: &Expression, value: &Value, old: Option<&Value>, budget: &mut Budget) -> Option<String> {
    match run(expression, value, old, budget) {
        Ok(Datum::Text(text)) => Some(text.into_owned()),
        _ => None,
    }
}

fn run<'a>(expression: &'a Expression, value: &'a Value, old: Option<&'a Value>, budget: &mut Budget) -> Outcome<'a, Datum<'a>> {
    let mut machine = Machine { slots: vec![Datum::of(value), old.map_or(Datum::Null, Datum::of)], budget };
    machine.value(expression)
}

struct Machine<'a, 'b> {
    slots: Vec<Datum<'a>>,
    budget: &'b mut Budget,
}

impl<'a> Machine<'a, '_> {
    fn value(&mut self, expression: &'a Expression) -> Outcome<'a, Datum<'a>> {
        self.budget.step()?;
        Ok(match expression {
            Expression::Null => Datum::Null,
            Expression::Bool(value) => Datum::Bool(*value),
            Expression::Int(value) => Datum::Int(*value),
            Expression::Double(value) => Datum::Double(*value),
            Expression::Text(value) => Datum::Text(Cow::Borrowed(value)),
            Expression::Variable(slot) => self.slots.get(*slot).cloned().ok_or(Fault::NoSuchOverload)?,
            Expression::Select { operand, field, test } => {
                let operand = self.value(operand)?;
                select(&operand, field, *test)?
            }
            Expression::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                if self.truth(condition)? { self.value(yes)? } else { self.value(no)? }
            }
            Expression::And(sides) => Datum::Bool(self.either(&sides[0], &sides[1], false)?),
            Expression::Or(sides) => Datum::Bool(self.either(&sides[0], &sides[1], true)?),
            Expression::Not(operand) => Datum::Bool(!self.truth(operand)?),
            Expression::Negate(operand) => match self.value(operand)? {
                Datum::Int(value) => Datum::Int(value.checked_neg().ok_or(Fault::Overflow)?),
                Datum::Double(value) => Datum::Double(-value),
                _ => return Err(Fault::NoSuchOverload),
            },
            Expression::Binary(operator, sides) => {
                let (left, right) = (self.value(&sides[0])?, self.value(&sides[1])?);
                binary(*operator, &left, &right, self.budget)?
            }
            Expression::List(items) => {
                let items = items.iter().map(|item| self.value(item)).collect::<Outcome<'a, Vec<_>>>()?;
                Datum::List(Rc::new(items))
            }
            Expression::Macro { kind, range, filter, body, slot } => {
                let range = self.value(range)?;
                self.comprehension(*kind, range, filter.as_deref(), body, *slot)?
            }
            Expression::Matches(subject, pattern) => match self.value(subject)? {
                Datum::Text(text) => Datum::Bool(pattern.is_match(&text)),
                _ => return Err(Fault::NoSuchOverload),
            },
            Expression::Call(function, values) => {
                let first = self.value(&values[0])?;
                let second = values.get(1).map(|value| self.value(value)).transpose()?;
                call(*function, &first, second.as_ref())?
            }
        })
    }

    fn truth(&mut self, expression: &'a Expression) -> Outcome<'a, bool> {
        match self.value(expression)? {
            Datum::Bool(value) => Ok(value),
            _ => Err(Fault::NoSuchOverload),
        }
    }

    /// `&&` and `||`: one deciding side is enough, even if the other one fails.
    fn either(&mut self, left: &'a Expression, right: &'a Expression, decides: bool) -> Outcome<'a, bool> {
        match self.truth(left) {
            Ok(value) if value == decides => Ok(decides),
            Ok(_) => self.truth(right),
            Err(fault) => match self.truth(right) {
                Ok(value) if value == decides => Ok(decides),
                _ => Err(fault),
            },
        }
    }

    fn comprehension(
        &mut self,
        kind: Macro,
        range: Datum<'a>,
        filter: Option<&'a Expression>,
        body: &'a Expression,
        slot: usize,
    ) -> Outcome<'a, Datum<'a>> {
        let mut found = 0usize;
        let mut failed: Option<Fault<'a>> = None;
        let mut collected = Vec::new();
        for index in 0..length(&range)? {
            self.slots.truncate(slot);
            self.slots.push(item(&range, index)?);
            match kind {
                Macro::All | Macro::Exists => match self.truth(body) {
                    Ok(value) if value == (kind == Macro::Exists) => {
                        self.slots.truncate(slot);
                        return Ok(Datum::Bool(value));
                    }
                    Ok(_) => {}
                    Err(Fault::Budget) => return Err(Fault::Budget),
                    Err(fault) => failed = Some(fault),
                },
                Macro::ExistsOne => found += usize::from(self.truth(body)?),
                Macro::Collect => {
                    let keep = filter.map_or(Ok(true), |filter| self.truth(filter))?;
                    if keep {
                        let value = self.value(body)?;
                        collected.push(value);
                    }
                }
            }
        }
        self.slots.truncate(slot);
        match (kind, failed) {
            (_, Some(fault)) => Err(fault),
            (Macro::All, None) => Ok(Datum::Bool(true)),
            (Macro::Exists, None) => Ok(Datum::Bool(false)),
            (Macro::ExistsOne, None) => Ok(Datum::Bool(found == 1)),
            (Macro::Collect, None) => Ok(Datum::List(Rc::new(collected))),
        }
    }
}

impl<'a> Datum<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => {
                number.as_i64().map_or_else(|| Self::Double(number.as_f64().unwrap_or(f64::NAN)), Self::Int)
            }
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            other => Self::Json(other),
        }
    }
}

fn select<'a>(operand: &Datum<'a>, field: &'a Field, test: bool) -> Outcome<'a, Datum<'a>> {
    let Datum::Json(Value::Object(map)) = operand else { return Err(Fault::NoSuchOverload) };
    let found = map.get(&*field.name).or_else(|| field.raw.as_ref().and_then(|raw| map.get(&**raw)));
    if test {
        return Ok(Datum::Bool(found.is_some()));
    }
    found.map(Datum::of).ok_or(Fault::NoSuchKey(&field.name))
}

/// How many things a macro visits: items of a list, keys of a map.
fn length<'a>(range: &Datum<'a>) -> Outcome<'a, usize> {
    match range {
        Datum::Json(Value::Array(items)) => Ok(items.len()),
        Datum::Json(Value::Object(map)) => Ok(map.len()),
        Datum::List(items) => Ok(items.len()),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn item<'a>(range: &Datum<'a>, index: usize) -> Outcome<'a, Datum<'a>> {
    match range {
        Datum::Json(Value::Array(items)) => items.get(index).map(Datum::of),
        Datum::Json(Value::Object(map)) => map.keys().nth(index).map(|key| Datum::Text(Cow::Borrowed(key))),
        Datum::List(items) => items.get(index).cloned(),
        _ => None,
    }
    .ok_or(Fault::Index)
}

fn binary<'a>(operator: Operator, left: &Datum<'a>, right: &Datum<'a>, budget: &mut Budget) -> Outcome<'a, Datum<'a>> {
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
        (Datum::Json(Value::Object(map)), Datum::Text(key)) => map.get(&**key).map(Datum::of).ok_or(Fault::NoSuchKey("")),
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
            if a + b > JOINED || matches!(left, Datum::Json(Value::Object(_))) || matches!(right, Datum::Json(Value::Object(_))) {
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

fn call<'a>(function: Function, first: &Datum<'a>, second: Option<&Datum<'a>>) -> Outcome<'a, Datum<'a>> {
    match (function, first, second) {
        (Function::Size, Datum::Text(text), _) => Ok(Datum::Int(text.chars().count() as i64)),
        (Function::Size, other, _) => Ok(Datum::Int(length(other)? as i64)),
        (Function::StartsWith, Datum::Text(a), Some(Datum::Text(b))) => Ok(Datum::Bool(a.starts_with(&**b))),
        (Function::EndsWith, Datum::Text(a), Some(Datum::Text(b))) => Ok(Datum::Bool(a.ends_with(&**b))),
        (Function::Contains, Datum::Text(a), Some(Datum::Text(b))) => Ok(Datum::Bool(a.contains(&**b))),
        (Function::LowerAscii, Datum::Text(text), _) => Ok(Datum::Text(Cow::Owned(text.to_ascii_lowercase()))),
        (Function::Trim, Datum::Text(text), _) => Ok(Datum::Text(Cow::Owned(text.trim().to_string()))),
        (Function::String, Datum::Text(text), _) => Ok(Datum::Text(text.clone())),
        (Function::String, Datum::Int(value), _) => Ok(Datum::Text(Cow::Owned(value.to_string()))),
        (Function::String, Datum::Double(value), _) => Ok(Datum::Text(Cow::Owned(value.to_string()))),
        (Function::String, Datum::Bool(value), _) => Ok(Datum::Text(Cow::Owned(value.to_string()))),
        (Function::Int, Datum::Int(value), _) => Ok(Datum::Int(*value)),
        (Function::Int, Datum::Text(text), _) => {
            text.parse().map(Datum::Int).map_err(|_| Fault::Number(text.clone().into_owned()))
        }
        (Function::Duration, Datum::Text(text), _) => {
            duration(text).map(Datum::Duration).ok_or_else(|| Fault::Duration(text.clone().into_owned()))
        }
        _ => Err(Fault::NoSuchOverload),
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
