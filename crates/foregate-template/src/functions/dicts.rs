//! Dictionaries. None is ever changed in place (see the crate's notes on `set`).

use std::sync::Arc;

use gotmpl::Value;

use super::args::{Args, Dict};
use super::{ANY, Entry, heavy, light};
use crate::value::{dict, list, print, text};

pub(crate) const TABLE: &[Entry] = &[
    heavy("dict", 0, ANY, new),
    light("get", 2, 2, |a| Ok(a.dict(0)?.get(a.str(1)?).cloned().unwrap_or_else(|| text("")))),
    light("hasKey", 2, 2, |a| Ok(Value::Bool(a.dict(0)?.contains_key(a.str(1)?)))),
    light("dig", 3, ANY, dig),
    heavy("set", 3, 3, set),
    heavy("unset", 2, 2, |a| Ok(filtered(a.dict(0)?, |key| a.str(1).is_ok_and(|gone| gone != key)))),
    heavy("keys", 0, ANY, keys),
    heavy("values", 1, 1, |a| Ok(list(a.dict(0)?.values().cloned()))),
    heavy("pluck", 1, ANY, pluck),
    heavy("pick", 1, ANY, |a| Ok(filtered(a.dict(0)?, |key| named(a, key)))),
    heavy("omit", 1, ANY, |a| Ok(filtered(a.dict(0)?, |key| !named(a, key)))),
    heavy("merge", 1, ANY, |a| merged(a, false)),
    heavy("mergeOverwrite", 1, ANY, |a| merged(a, true)),
    light("deepCopy", 1, 1, |a| Ok(a.any(0).clone())),
];

/// Keys and values in turn; a key without a value has the empty string.
fn new(args: Args<'_>) -> Result<Value, String> {
    let pairs = args.0.chunks(2).map(|pair| match pair {
        [key, value] => (Arc::from(print(key)), value.clone()),
        [key, ..] => (Arc::from(print(key)), text("")),
        [] => (Arc::from(""), Value::Nil),
    });
    Ok(dict(pairs.collect()))
}

fn set(args: Args<'_>) -> Result<Value, String> {
    let mut map = args.dict(0)?.clone();
    map.insert(Arc::from(args.str(1)?), args.any(2).clone());
    Ok(dict(map))
}

fn filtered(map: &Dict, keep: impl Fn(&str) -> bool) -> Value {
    dict(map.iter().filter(|(key, _)| keep(key)).map(|(key, value)| (Arc::clone(key), value.clone())).collect())
}

/// Whether the arguments after the first name that key, one by one or in lists.
fn named(args: Args<'_>, key: &str) -> bool {
    let is = |value: &Value| value.as_str() == Some(key);
    args.rest(1).iter().any(|value| match value {
        Value::List(items) => items.iter().any(is),
        other => is(other),
    })
}

fn keys(args: Args<'_>) -> Result<Value, String> {
    let mut keys = Vec::new();
    for at in 0..args.len() {
        keys.extend(args.dict(at)?.keys().map(|key| Value::String(Arc::clone(key))));
    }
    Ok(list(keys))
}

fn pluck(args: Args<'_>) -> Result<Value, String> {
    let key = args.str(0)?;
    let mut values = Vec::new();
    for at in 1..args.len() {
        values.extend(args.dict(at)?.get(key).cloned());
    }
    Ok(list(values))
}

/// `dig "a" "b" default $dict`.
fn dig(args: Args<'_>) -> Result<Value, String> {
    let default = args.any(args.len() - 2);
    let mut value = args.last();
    for at in 0..args.len() - 2 {
        let key = args.str(at)?;
        match value {
            Value::Map(map) => match map.get(key) {
                Some(below) => value = below,
                None => return Ok(default.clone()),
            },
            Value::Nil => return Ok(default.clone()),
            other => {
                return Err(format!("can't look up {key:?} in a value of kind {}", crate::value::kind(other)));
            }
        }
    }
    Ok(value.clone())
}

fn merged(args: Args<'_>, overwrite: bool) -> Result<Value, String> {
    let mut target = args.dict(0)?.clone();
    for at in 1..args.len() {
        merge(&mut target, args.dict(at)?, overwrite);
    }
    Ok(dict(target))
}

/// Deep for dictionaries. As in sprig, an empty value counts as absent on the side that would win.
fn merge(target: &mut Dict, source: &Dict, overwrite: bool) {
    for (key, new) in source {
        match target.get_mut(key) {
            None => {
                target.insert(Arc::clone(key), new.clone());
            }
            Some(Value::Map(old)) if matches!(new, Value::Map(_)) => {
                if let Value::Map(new) = new {
                    merge(Arc::make_mut(old), new, overwrite);
                }
            }
            Some(old) if (overwrite && new.is_truthy()) || (!overwrite && !old.is_truthy()) => *old = new.clone(),
            Some(_) => {}
        }
    }
}
