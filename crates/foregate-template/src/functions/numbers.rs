//! Numbers. Integers don't wrap: an overflow is an error.

use gotmpl::Value;

use super::args::{Args, float, integer};
use super::{ANY, Entry, light};

pub(crate) const TABLE: &[Entry] = &[
    light("int", 1, 1, |a| Ok(Value::Int(integer(a.any(0)).unwrap_or(0)))),
    light("int64", 1, 1, |a| Ok(Value::Int(integer(a.any(0)).unwrap_or(0)))),
    light("atoi", 1, 1, |a| Ok(Value::Int(a.int(0)?))),
    light("float", 1, 1, |a| Ok(Value::Float(float(a.any(0)).unwrap_or(0.0)))),
    light("float64", 1, 1, |a| Ok(Value::Float(float(a.any(0)).unwrap_or(0.0)))),
    light("add", 0, ANY, |a| fold(a, 0, i64::checked_add)),
    light("add1", 1, 1, |a| checked(a.int(0)?.checked_add(1))),
    light("sub", 2, 2, |a| checked(a.int(0)?.checked_sub(a.int(1)?))),
    light("mul", 1, ANY, |a| fold(a, 1, i64::checked_mul)),
    light("div", 2, 2, |a| divide(a, i64::checked_div)),
    light("mod", 2, 2, |a| divide(a, i64::checked_rem)),
    light("max", 1, ANY, |a| extreme(a, i64::max)),
    light("min", 1, ANY, |a| extreme(a, i64::min)),
    light("addf", 0, ANY, |a| floats(a, 0.0, |x, y| x + y)),
    light("mulf", 1, ANY, |a| floats(a, 1.0, |x, y| x * y)),
    light("subf", 2, 2, |a| Ok(Value::Float(a.float(0)? - a.float(1)?))),
    light("divf", 2, 2, |a| Ok(Value::Float(a.float(0)? / a.float(1)?))),
    light("maxf", 1, ANY, |a| floats(a, f64::NEG_INFINITY, f64::max)),
    light("minf", 1, ANY, |a| floats(a, f64::INFINITY, f64::min)),
    light("floor", 1, 1, |a| Ok(Value::Float(a.float(0)?.floor()))),
    light("ceil", 1, 1, |a| Ok(Value::Float(a.float(0)?.ceil()))),
    light("round", 2, 2, round),
];

fn checked(result: Option<i64>) -> Result<Value, String> {
    result.map(Value::Int).ok_or_else(|| "the result doesn't fit 64 bits".to_owned())
}

fn fold(args: Args<'_>, start: i64, step: fn(i64, i64) -> Option<i64>) -> Result<Value, String> {
    let mut total = start;
    for at in 0..args.len() {
        match step(total, args.int(at)?) {
            Some(next) => total = next,
            None => return checked(None),
        }
    }
    Ok(Value::Int(total))
}

fn divide(args: Args<'_>, step: fn(i64, i64) -> Option<i64>) -> Result<Value, String> {
    let (number, by) = (args.int(0)?, args.int(1)?);
    if by == 0 {
        return Err("division by zero".to_owned());
    }
    checked(step(number, by))
}

fn extreme(args: Args<'_>, pick: fn(i64, i64) -> i64) -> Result<Value, String> {
    let mut best = args.int(0)?;
    for at in 1..args.len() {
        best = pick(best, args.int(at)?);
    }
    Ok(Value::Int(best))
}

fn floats(args: Args<'_>, start: f64, step: fn(f64, f64) -> f64) -> Result<Value, String> {
    let mut total = start;
    for at in 0..args.len() {
        total = step(total, args.float(at)?);
    }
    Ok(Value::Float(total))
}

/// To that many places after the point, half away from zero.
fn round(args: Args<'_>) -> Result<Value, String> {
    let places = i32::try_from(args.size(1)?.min(15)).unwrap_or(15);
    let scale = 10f64.powi(places);
    Ok(Value::Float((args.float(0)? * scale).round() / scale))
}
