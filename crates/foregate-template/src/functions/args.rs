//! Typed access to a call's arguments.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use crate::value::kind;

/// The arguments of one call; their number has been checked.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a>(pub(crate) &'a [Value]);

pub(crate) type Dict = BTreeMap<Arc<str>, Value>;

impl<'a> Args<'a> {
    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    pub(crate) fn any(self, at: usize) -> &'a Value {
        self.0.get(at).unwrap_or(&Value::Nil)
    }

    pub(crate) fn last(self) -> &'a Value {
        self.0.last().unwrap_or(&Value::Nil)
    }

    pub(crate) fn rest(self, from: usize) -> &'a [Value] {
        self.0.get(from..).unwrap_or_default()
    }

    pub(crate) fn str(self, at: usize) -> Result<&'a str, String> {
        match self.any(at) {
            Value::String(text) => Ok(text),
            other => Err(wrong(at, "a string", other)),
        }
    }

    /// An integer: also a whole float, and a string of digits, as sprig's cast takes them.
    pub(crate) fn int(self, at: usize) -> Result<i64, String> {
        let value = self.any(at);
        integer(value).ok_or_else(|| wrong(at, "an integer", value))
    }

    /// A count or a position: an integer from 0.
    pub(crate) fn size(self, at: usize) -> Result<usize, String> {
        let number = self.int(at)?;
        usize::try_from(number).map_err(|_| format!("argument {} must not be negative, it is {number}", at + 1))
    }

    pub(crate) fn float(self, at: usize) -> Result<f64, String> {
        let value = self.any(at);
        float(value).ok_or_else(|| wrong(at, "a number", value))
    }

    /// A list; null is an empty one.
    pub(crate) fn list(self, at: usize) -> Result<&'a [Value], String> {
        match self.any(at) {
            Value::List(items) => Ok(items),
            Value::Nil => Ok(&[]),
            other => Err(wrong(at, "a list", other)),
        }
    }

    pub(crate) fn dict(self, at: usize) -> Result<&'a Dict, String> {
        static EMPTY: Dict = Dict::new();
        match self.any(at) {
            Value::Map(map) => Ok(map),
            Value::Nil => Ok(&EMPTY),
            other => Err(wrong(at, "a dictionary", other)),
        }
    }
}

pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Uint(number) => i64::try_from(*number).ok(),
        Value::Float(number) if number.abs() < 9.2e18 => Some(*number as i64),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(i64::from(*flag)),
        _ => None,
    }
}

pub(crate) fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Uint(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    }
}

fn wrong(at: usize, wanted: &str, got: &Value) -> String {
    let kind = match got {
        Value::Nil => "null",
        other => kind(other),
    };
    format!("argument {} must be {wanted}, it is {kind}", at + 1)
}
