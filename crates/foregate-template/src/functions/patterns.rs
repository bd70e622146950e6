//! Regular expressions, in linear time (the syntax of RE2, as Go's).

use gotmpl::Value;
use regex::{Regex, RegexBuilder};

use super::args::Args;
use super::{Entry, heavy};
use crate::meter::{charge, within};
use crate::value::{list, text};

pub(crate) const TABLE: &[Entry] = &[
    heavy("regexMatch", 2, 2, |a| Ok(Value::Bool(compile(a)?.is_match(a.str(1)?)))),
    heavy("regexFind", 2, 2, |a| Ok(text(compile(a)?.find(a.str(1)?).map_or("", |found| found.as_str())))),
    heavy("regexFindAll", 3, 3, find_all),
    heavy("regexReplaceAll", 3, 3, |a| replace(a, true)),
    heavy("regexReplaceAllLiteral", 3, 3, |a| replace(a, false)),
    heavy("regexSplit", 3, 3, split),
    heavy("regexQuoteMeta", 1, 1, |a| Ok(text(regex::escape(a.str(0)?)))),
];

/// A compiled expression may take this much memory; compiling is charged accordingly.
const SIZE: usize = 1 << 20;

fn compile(args: Args<'_>) -> Result<Regex, String> {
    let pattern = args.str(0)?;
    charge(20_000 + pattern.len() * 100)?;
    RegexBuilder::new(pattern)
        .size_limit(SIZE)
        .dfa_size_limit(SIZE)
        .build()
        .map_err(|error| format!("{pattern:?} is not a regular expression: {error}"))
}

/// How many; negative is all.
fn limit(args: Args<'_>, at: usize) -> Result<usize, String> {
    Ok(usize::try_from(args.int(at)?).unwrap_or(usize::MAX))
}

fn find_all(args: Args<'_>) -> Result<Value, String> {
    let regex = compile(args)?;
    Ok(list(regex.find_iter(args.str(1)?).take(limit(args, 2)?).map(|found| text(found.as_str()))))
}

/// `regexReplaceAll pattern source replacement`; `${1}` in the replacement is a group unless it is literal.
fn replace(args: Args<'_>, groups: bool) -> Result<Value, String> {
    let regex = compile(args)?;
    let (source, replacement) = (args.str(1)?, args.str(2)?);
    let mut out = String::new();
    let mut end = 0;
    for found in regex.captures_iter(source) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(source.get(end..whole.start()).unwrap_or_default());
        end = whole.end();
        let before = out.len();
        if groups {
            found.expand(replacement, &mut out)
        } else {
            out.push_str(replacement)
        }
        charge(out.len() - before)?;
        within(out.len())?;
    }
    out.push_str(source.get(end..).unwrap_or_default());
    Ok(text(out))
}

fn split(args: Args<'_>) -> Result<Value, String> {
    let regex = compile(args)?;
    Ok(list(regex.splitn(args.str(1)?, limit(args, 2)?).map(text)))
}
