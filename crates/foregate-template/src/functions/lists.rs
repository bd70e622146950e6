//! Lists. None is ever changed in place.

use gotmpl::Value;

use super::args::Args;
use super::{ANY, Entry, heavy, light};
use crate::meter::fits;
use crate::value::{list, print, text};

pub(crate) const TABLE: &[Entry] = &[
    heavy("list", 0, ANY, |a| Ok(list(a.0.iter().cloned()))),
    light("first", 1, 1, |a| end(a, <[Value]>::first)),
    light("last", 1, 1, |a| end(a, <[Value]>::last)),
    heavy("rest", 1, 1, |a| Ok(list(a.list(0)?.iter().skip(1).cloned()))),
    heavy("initial", 1, 1, |a| Ok(list(a.list(0)?.split_last().map_or(&[][..], |(_, rest)| rest).iter().cloned()))),
    heavy("append", 2, 2, |a| Ok(list(a.list(0)?.iter().chain([a.any(1)]).cloned()))),
    heavy("prepend", 2, 2, |a| Ok(list([a.any(1)].into_iter().chain(a.list(0)?).cloned()))),
    heavy("concat", 0, ANY, concat),
    heavy("reverse", 1, 1, |a| Ok(list(a.list(0)?.iter().rev().cloned()))),
    heavy("uniq", 1, 1, uniq),
    heavy("compact", 1, 1, |a| Ok(list(a.list(0)?.iter().filter(|item| item.is_truthy()).cloned()))),
    heavy("without", 1, ANY, |a| Ok(list(a.list(0)?.iter().filter(|item| !a.rest(1).contains(item)).cloned()))),
    heavy("has", 2, 2, |a| Ok(Value::Bool(a.list(1)?.contains(a.any(0))))),
    heavy("sortAlpha", 1, 1, sort_alpha),
    heavy("chunk", 2, 2, chunk),
    heavy("until", 1, 1, |a| counting(0, a.int(0)?, if a.int(0)? < 0 { -1 } else { 1 })),
    heavy("untilStep", 3, 3, |a| counting(a.int(0)?, a.int(1)?, a.int(2)?)),
    heavy("seq", 1, 3, seq),
    heavy("slice", 1, 3, slice),
    heavy("all", 0, ANY, |a| Ok(Value::Bool(a.0.iter().all(Value::is_truthy)))),
    heavy("any", 0, ANY, |a| Ok(Value::Bool(a.0.iter().any(Value::is_truthy)))),
];

/// The first or last item, or character of a string; null when there is none.
fn end(args: Args<'_>, pick: fn(&[Value]) -> Option<&Value>) -> Result<Value, String> {
    Ok(pick(args.list(0)?).cloned().unwrap_or(Value::Nil))
}

fn concat(args: Args<'_>) -> Result<Value, String> {
    let mut items = Vec::new();
    for at in 0..args.len() {
        items.extend_from_slice(args.list(at)?);
    }
    Ok(list(items))
}

/// By printed form, so that it takes n log n and not n² comparisons.
fn uniq(args: Args<'_>) -> Result<Value, String> {
    let mut seen = std::collections::HashSet::new();
    let items = args.list(0)?;
    Ok(list(items.iter().filter(|item| seen.insert((crate::value::kind(item), print(item)))).cloned()))
}

fn sort_alpha(args: Args<'_>) -> Result<Value, String> {
    let mut items: Vec<String> = match args.any(0) {
        Value::List(items) => items.iter().map(print).collect(),
        other => vec![print(other)],
    };
    items.sort();
    Ok(list(items.into_iter().map(text)))
}

fn chunk(args: Args<'_>) -> Result<Value, String> {
    match args.size(0)? {
        0 => Err("argument 1 must be at least 1".to_owned()),
        size => Ok(list(args.list(1)?.chunks(size).map(|part| list(part.iter().cloned())))),
    }
}

/// From `start` up to but not including `end`.
fn counting(start: i64, end: i64, step: i64) -> Result<Value, String> {
    if step == 0 {
        return Ok(list([]));
    }
    let span = i128::from(end) - i128::from(start);
    let count =
        (span * i128::from(step.signum()) + i128::from(step.unsigned_abs()) - 1) / i128::from(step.unsigned_abs());
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    fits(count.saturating_mul(size_of::<Value>()))?;
    Ok(list((0..count as i64).map(|at| Value::Int(start + at * step))))
}

/// As the command: both ends included, numbers joined by spaces.
fn seq(args: Args<'_>) -> Result<Value, String> {
    let (start, step, end) = match args.len() {
        1 => (1, if args.int(0)? < 1 { -1 } else { 1 }, args.int(0)?),
        2 => (args.int(0)?, if args.int(1)? < args.int(0)? { -1 } else { 1 }, args.int(1)?),
        _ => (args.int(0)?, args.int(1)?, args.int(2)?),
    };
    let numbers = counting(start, end.saturating_add(step.signum()), step)?;
    let Value::List(numbers) = numbers else { return Ok(text("")) };
    Ok(text(numbers.iter().map(print).collect::<Vec<_>>().join(" ")))
}

/// `slice x from to`, of a list or of a string's bytes.
fn slice(args: Args<'_>) -> Result<Value, String> {
    let bound = |at: usize| (at < args.len()).then(|| args.int(at)).transpose();
    args.any(0).slice(bound(1)?, bound(2)?).map_err(|error| match error {
        gotmpl::TemplateError::Exec(message) => message.trim_start_matches("slice: ").to_owned(),
        other => other.to_string(),
    })
}
