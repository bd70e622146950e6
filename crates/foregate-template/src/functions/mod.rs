//! The functions that templates may call.
//!
//! One table per theme. Each entry has a name, how many arguments it takes, and whether it touches its arguments' whole
//! size: those calls are metered (`meter`), the others only look.

mod args;
mod dicts;
mod encoding;
mod format;
mod lists;
mod logic;
mod numbers;
mod patterns;
mod strings;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use gotmpl::{Value, ValueFunc};

use crate::error::Problem;
use crate::meter::{charge, charge_values};
pub(crate) use args::Args;

/// One function.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// Fewest and most arguments.
    pub(crate) takes: (usize, usize),
    /// Whether its cost grows with the size of its arguments or result.
    pub(crate) metered: bool,
    pub(crate) call: fn(Args<'_>) -> Result<Value, String>,
}

/// As many arguments as there are.
pub(crate) const ANY: usize = usize::MAX;

/// A function whose cost grows with its arguments.
pub(crate) const fn heavy(
    name: &'static str,
    least: usize,
    most: usize,
    call: fn(Args<'_>) -> Result<Value, String>,
) -> Entry {
    Entry { name, takes: (least, most), metered: true, call }
}

/// A function that costs the same whatever its arguments.
pub(crate) const fn light(
    name: &'static str,
    least: usize,
    most: usize,
    call: fn(Args<'_>) -> Result<Value, String>,
) -> Entry {
    Entry { name, takes: (least, most), metered: false, call }
}

/// The engine's own that are safe as they are, or that it treats as syntax.
const ENGINE: [&str; 5] = ["and", "or", "not", "len", "index"];

fn entries() -> impl Iterator<Item = &'static Entry> {
    [
        strings::TABLE,
        numbers::TABLE,
        lists::TABLE,
        dicts::TABLE,
        logic::TABLE,
        encoding::TABLE,
        patterns::TABLE,
        format::TABLE,
    ]
    .into_iter()
    .flatten()
}

/// Sprig's second names, most of them for the variant that fails and doesn't hide the mistake: here all do.
const ALIASES: [(&str, &str); 32] = [
    ("biggest", "max"),
    ("mustAppend", "append"),
    ("mustChunk", "chunk"),
    ("mustCompact", "compact"),
    ("mustDeepCopy", "deepCopy"),
    ("mustFirst", "first"),
    ("mustFromJson", "fromJson"),
    ("mustHas", "has"),
    ("mustInitial", "initial"),
    ("mustLast", "last"),
    ("mustMerge", "merge"),
    ("mustMergeOverwrite", "mergeOverwrite"),
    ("mustPrepend", "prepend"),
    ("mustPush", "append"),
    ("mustRegexFind", "regexFind"),
    ("mustRegexFindAll", "regexFindAll"),
    ("mustRegexMatch", "regexMatch"),
    ("mustRegexReplaceAll", "regexReplaceAll"),
    ("mustRegexReplaceAllLiteral", "regexReplaceAllLiteral"),
    ("mustRegexSplit", "regexSplit"),
    ("mustRest", "rest"),
    ("mustReverse", "reverse"),
    ("mustSlice", "slice"),
    ("mustToJson", "toJson"),
    ("mustToPrettyJson", "toPrettyJson"),
    ("mustToRawJson", "toRawJson"),
    ("mustToYaml", "toYaml"),
    ("mustUniq", "uniq"),
    ("mustWithout", "without"),
    ("push", "append"),
    ("trimall", "trimAll"),
    ("tuple", "list"),
];

/// Every function's name.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let aliases = ALIASES.iter().map(|(alias, _)| *alias);
    entries().map(|entry| entry.name).chain(aliases).chain(ENGINE)
}

/// Every function as the engine wants it.
pub(crate) fn table() -> BTreeMap<String, ValueFunc> {
    static TABLE: LazyLock<BTreeMap<String, ValueFunc>> = LazyLock::new(|| {
        let mut table: BTreeMap<String, ValueFunc> =
            entries().map(|entry| (entry.name.to_owned(), engine_function(entry))).collect();
        for (alias, name) in ALIASES {
            if let Some(function) = table.get(name).cloned() {
                table.insert(alias.to_owned(), function);
            }
        }
        table
    });
    TABLE.clone()
}

fn engine_function(entry: &'static Entry) -> ValueFunc {
    Arc::new(move |args: &[Value]| call(entry, args).map_err(|message| failure(entry.name, &message)))
}

fn call(entry: &Entry, args: &[Value]) -> Result<Value, String> {
    let (least, most) = entry.takes;
    if args.len() < least || args.len() > most {
        return Err(format!("takes {}, got {}", count(least, most), args.len()));
    }
    if !entry.metered {
        charge(16)?;
        return (entry.call)(Args(args));
    }
    charge_values(args)?;
    let result = (entry.call)(Args(args))?;
    charge_values(std::slice::from_ref(&result))?;
    Ok(result)
}

fn count(least: usize, most: usize) -> String {
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    match (least, most) {
        (0, 0) => "no arguments".to_owned(),
        (least, ANY) => format!("at least {least} argument{}", plural(least)),
        (least, most) if least == most => format!("{least} argument{}", plural(least)),
        (least, most) => format!("{least} to {most} arguments"),
    }
}

/// Separates the function's name from its message on the way through the engine, which carries one string.
const SEPARATOR: char = '\u{1}';
/// The name under which `fail` and `required` report.
pub(crate) const FAIL: &str = "fail";

/// A function's refusal as the engine's error.
pub(crate) fn failure(function: &str, message: &str) -> gotmpl::TemplateError {
    gotmpl::TemplateError::Exec(format!("{function}{SEPARATOR}{message}"))
}

/// The engine's error, taken apart again.
pub(crate) fn problem(message: String) -> Problem {
    match message.split_once(SEPARATOR) {
        Some((FAIL | "required", message)) => Problem::Failed(message.to_owned()),
        Some((function, message)) => Problem::Function { function: function.to_owned(), message: message.to_owned() },
        None => Problem::Other(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_function() {
        let table = table();
        let mut names: Vec<&str> = names().collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for name in names.iter().filter(|name| !ENGINE.contains(name)) {
            assert!(table.contains_key(*name), "{name}");
        }
    }
}
