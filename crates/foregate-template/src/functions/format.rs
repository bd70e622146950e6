//! `print`, `println`, `printf`: the engine's own, reached through small templates so that their output can be bounded
//! beforehand.

use std::fmt::Write as _;
use std::sync::LazyLock;

use gotmpl::{Template, Value};

use super::args::Args;
use super::{ANY, Entry, heavy};
use crate::meter::fits;
use crate::value::{list, text};

pub(crate) const TABLE: &[Entry] = &[
    heavy("print", 0, ANY, |a| Ok(text(spaced(a, false)))),
    heavy("println", 0, ANY, |a| Ok(text(spaced(a, true)))),
    heavy("printf", 1, MOST, printf),
];

/// The most arguments of `printf`, its format included.
const MOST: usize = 33;
/// The engine cuts widths and precisions at this.
const WIDEST: usize = u16::MAX as usize;

/// Go's rule: a space between operands when neither is a string; `println` always, and a newline.
fn spaced(args: Args<'_>, line: bool) -> String {
    let mut out = String::new();
    let string = |value: Option<&Value>| matches!(value, Some(Value::String(_)));
    for (at, value) in args.0.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| args.0.get(before));
        if at > 0 && (line || !(string(before) || string(Some(value)))) {
            out.push(' ');
        }
        // Writing to a string can't fail.
        let _ = write!(out, "{value}");
    }
    if line {
        out.push('\n');
    }
    out
}

/// `{{printf (index . 0) (index . 1) …}}` for each number of arguments.
static CALLS: LazyLock<Vec<Option<Template>>> = LazyLock::new(|| {
    (0..=MOST)
        .map(|count| {
            let args: String = (0..count).map(|at| format!(" (index . {at})")).collect();
            Template::new("printf").parse(&format!("{{{{printf{args}}}}}")).ok()
        })
        .collect()
});

fn printf(args: Args<'_>) -> Result<Value, String> {
    let format = args.str(0)?;
    let longest = args.rest(1).iter().map(|value| value.to_string().len()).max().unwrap_or(0);
    fits(format.len().saturating_add(format.matches('%').count().saturating_mul(longest + 32)))?;
    // Each run of digits may be a width, and each star takes one from the arguments.
    let mut wide = format.matches('*').count().saturating_mul(WIDEST);
    for digits in format.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty()) {
        wide = wide.saturating_add(digits.parse().unwrap_or(WIDEST).min(WIDEST));
    }
    fits(wide)?;
    let call = CALLS.get(args.len()).and_then(Option::as_ref).ok_or_else(|| "too many arguments".to_owned())?;
    let values = list(args.0.iter().cloned());
    call.execute_to_string(&values).map(text).map_err(|error| match error {
        gotmpl::TemplateError::Exec(message) => message,
        other => other.to_string(),
    })
}
