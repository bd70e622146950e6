//! Strings.

use gotmpl::Value;

use super::args::Args;
use super::{ANY, Entry, heavy};
use crate::meter::fits;
use crate::value::{list, print, text};

pub(crate) const TABLE: &[Entry] = &[
    heavy("upper", 1, 1, |a| Ok(text(a.str(0)?.to_uppercase()))),
    heavy("lower", 1, 1, |a| Ok(text(a.str(0)?.to_lowercase()))),
    heavy("title", 1, 1, |a| Ok(text(each_word(a.str(0)?, true)))),
    heavy("untitle", 1, 1, |a| Ok(text(each_word(a.str(0)?, false)))),
    heavy("trim", 1, 1, |a| Ok(text(a.str(0)?.trim()))),
    heavy("trimAll", 2, 2, |a| Ok(text(a.str(1)?.trim_matches(|c| a.str(0).is_ok_and(|set| set.contains(c)))))),
    heavy("trimPrefix", 2, 2, |a| Ok(text(a.str(1)?.strip_prefix(a.str(0)?).unwrap_or(a.str(1)?)))),
    heavy("trimSuffix", 2, 2, |a| Ok(text(a.str(1)?.strip_suffix(a.str(0)?).unwrap_or(a.str(1)?)))),
    heavy("swapcase", 1, 1, |a| Ok(text(a.str(0)?.chars().map(swapped).collect::<String>()))),
    heavy("plural", 3, 3, |a| Ok(text(if a.int(2)? == 1 { a.str(0)? } else { a.str(1)? }))),
    heavy("wrap", 2, 2, |a| wrap(a.size(0)?, "\n", a.str(1)?)),
    heavy("wrapWith", 3, 3, |a| wrap(a.size(0)?, a.str(1)?, a.str(2)?)),
    heavy("base", 1, 1, |a| Ok(text(a.str(0)?.trim_end_matches('/').rsplit('/').next().unwrap_or_default()))),
    heavy("dir", 1, 1, |a| {
        Ok(text(a.str(0)?.rsplit_once('/').map_or(".", |(dir, _)| if dir.is_empty() { "/" } else { dir })))
    }),
    heavy("ext", 1, 1, |a| Ok(text(extension(a.str(0)?)))),
    heavy("isAbs", 1, 1, |a| Ok(Value::Bool(a.str(0)?.starts_with('/')))),
    heavy("nospace", 1, 1, |a| Ok(text(a.str(0)?.chars().filter(|c| !c.is_whitespace()).collect::<String>()))),
    heavy("replace", 3, 3, replace),
    heavy("contains", 2, 2, |a| Ok(Value::Bool(a.str(1)?.contains(a.str(0)?)))),
    heavy("hasPrefix", 2, 2, |a| Ok(Value::Bool(a.str(1)?.starts_with(a.str(0)?)))),
    heavy("hasSuffix", 2, 2, |a| Ok(Value::Bool(a.str(1)?.ends_with(a.str(0)?)))),
    heavy("split", 2, 2, split),
    heavy("splitn", 3, 3, splitn),
    heavy("splitList", 2, 2, |a| Ok(list(a.str(1)?.split(a.str(0)?).map(text)))),
    heavy("join", 2, 2, join),
    heavy("cat", 0, ANY, cat),
    heavy("indent", 2, 2, |a| indent(a.size(0)?, a.str(1)?, "")),
    heavy("nindent", 2, 2, |a| indent(a.size(0)?, a.str(1)?, "\n")),
    heavy("repeat", 2, 2, repeat),
    heavy("substr", 3, 3, substr),
    heavy("trunc", 2, 2, trunc),
    heavy("abbrev", 2, 2, abbrev),
    heavy("initials", 1, 1, |a| {
        Ok(text(a.str(0)?.split_whitespace().filter_map(|w| w.chars().next()).collect::<String>()))
    }),
    heavy("quote", 0, ANY, |a| Ok(text(each_quoted(a, |value| Json::from(value).to_string())))),
    heavy("squote", 0, ANY, |a| Ok(text(each_quoted(a, |value| format!("'{}'", value.replace('\'', "''")))))),
    heavy("snakecase", 1, 1, |a| Ok(text(words(a.str(0)?).join("_").to_lowercase()))),
    heavy("kebabcase", 1, 1, |a| Ok(text(words(a.str(0)?).join("-").to_lowercase()))),
    heavy("camelcase", 1, 1, |a| {
        Ok(text(words(a.str(0)?).iter().map(|w| each_word(&w.to_lowercase(), true)).collect::<String>()))
    }),
    heavy("toString", 1, 1, |a| Ok(text(print(a.any(0))))),
    heavy("toStrings", 1, 1, |a| Ok(list(a.list(0)?.iter().map(|value| text(print(value)))))),
    heavy("html", 1, 1, |a| Ok(text(gotmpl::html_escape(&print(a.any(0)))))),
    heavy("js", 1, 1, |a| Ok(text(gotmpl::js_escape(&print(a.any(0)))))),
    heavy("urlquery", 1, 1, |a| Ok(text(gotmpl::url_encode(&print(a.any(0)))))),
];

use serde_json::Value as Json;

/// First letters of words, in the case asked for.
fn each_word(source: &str, upper: bool) -> String {
    let mut start = true;
    let mut out = String::with_capacity(source.len());
    for letter in source.chars() {
        match (start, upper) {
            (true, true) => out.extend(letter.to_uppercase()),
            (true, false) => out.extend(letter.to_lowercase()),
            _ => out.push(letter),
        }
        start = letter.is_whitespace();
    }
    out
}

/// The words of an identifier in whatever case: `fooBar-baz` has three.
fn words(source: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut current = String::new();
    let mut before_lower = false;
    for letter in source.chars() {
        let cut = !letter.is_alphanumeric() || (letter.is_uppercase() && before_lower);
        if cut && !current.is_empty() {
            words.push(std::mem::take(&mut current));
        }
        if letter.is_alphanumeric() {
            current.push(letter);
        }
        before_lower = letter.is_lowercase() || letter.is_numeric();
    }
    if !current.is_empty() {
        words.push(current);
    }
    words
}

fn each_quoted(args: Args<'_>, quote: fn(&str) -> String) -> String {
    let quoted = args.0.iter().filter(|value| !matches!(value, Value::Nil)).map(|value| quote(&print(value)));
    quoted.collect::<Vec<_>>().join(" ")
}

fn replace(args: Args<'_>) -> Result<Value, String> {
    let (old, new, source) = (args.str(0)?, args.str(1)?, args.str(2)?);
    fits(source.len() + source.matches(old).count().saturating_mul(new.len()))?;
    Ok(text(source.replace(old, new)))
}

/// Sprig's `split` yields `{_0: …, _1: …}`.
fn numbered<'a>(parts: impl Iterator<Item = &'a str>) -> Value {
    let map = parts.enumerate().map(|(at, part)| (format!("_{at}").into(), text(part)));
    crate::value::dict(map.collect())
}

fn split(args: Args<'_>) -> Result<Value, String> {
    Ok(numbered(args.str(1)?.split(args.str(0)?)))
}

fn splitn(args: Args<'_>) -> Result<Value, String> {
    Ok(numbered(args.str(2)?.splitn(args.size(1)?, args.str(0)?)))
}

fn join(args: Args<'_>) -> Result<Value, String> {
    let separator = args.str(0)?;
    let parts: Vec<String> = match args.any(1) {
        Value::List(items) => items.iter().filter(|item| !matches!(item, Value::Nil)).map(print).collect(),
        other => vec![print(other)],
    };
    fits(parts.iter().map(String::len).sum::<usize>() + parts.len().saturating_mul(separator.len()))?;
    Ok(text(parts.join(separator)))
}

fn cat(args: Args<'_>) -> Result<Value, String> {
    let parts: Vec<String> = args.0.iter().filter(|value| !matches!(value, Value::Nil)).map(print).collect();
    Ok(text(parts.join(" ")))
}

fn indent(spaces: usize, source: &str, before: &str) -> Result<Value, String> {
    let lines = source.matches('\n').count() + 1;
    fits(source.len().saturating_add(lines.saturating_mul(spaces)))?;
    let pad = " ".repeat(spaces);
    Ok(text(format!("{before}{pad}{}", source.replace('\n', &format!("\n{pad}")))))
}

fn repeat(args: Args<'_>) -> Result<Value, String> {
    let (count, source) = (args.size(0)?, args.str(1)?);
    fits(source.len().saturating_mul(count))?;
    Ok(text(source.repeat(count)))
}

/// Characters `[start, end)`; a negative start or end means from the first or to the last.
fn substr(args: Args<'_>) -> Result<Value, String> {
    let (start, end, source) = (args.int(0)?, args.int(1)?, args.str(2)?);
    let start = usize::try_from(start).unwrap_or(0);
    let kept = source.chars().skip(start);
    match usize::try_from(end) {
        Ok(end) => Ok(text(kept.take(end.saturating_sub(start)).collect::<String>())),
        Err(_) => Ok(text(kept.collect::<String>())),
    }
}

/// The first characters, or the last when the number is negative.
fn trunc(args: Args<'_>) -> Result<Value, String> {
    let (count, source) = (args.int(0)?, args.str(1)?);
    match usize::try_from(count) {
        Ok(count) => Ok(text(source.chars().take(count).collect::<String>())),
        Err(_) => {
            let keep = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            let length = source.chars().count();
            Ok(text(source.chars().skip(length.saturating_sub(keep)).collect::<String>()))
        }
    }
}

fn abbrev(args: Args<'_>) -> Result<Value, String> {
    let (width, source) = (args.size(0)?, args.str(1)?);
    if width < 4 || source.chars().count() <= width {
        return Ok(text(source));
    }
    Ok(text(source.chars().take(width - 3).chain("...".chars()).collect::<String>()))
}

fn swapped(letter: char) -> char {
    let mut other: Vec<char> = match letter.is_uppercase() {
        true => letter.to_lowercase().collect(),
        false => letter.to_uppercase().collect(),
    };
    // A letter whose other case is several letters stays.
    if other.len() == 1 { other.remove(0) } else { letter }
}

/// Breaks lines at spaces, so that none is longer than that unless one word is.
fn wrap(width: usize, end: &str, source: &str) -> Result<Value, String> {
    fits(source.len().saturating_add(source.matches(' ').count().saturating_mul(end.len())))?;
    let mut out = String::with_capacity(source.len());
    let mut column = 0;
    for (at, word) in source.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > width {
            out.push_str(end);
            column = 0;
        } else if at > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    Ok(text(out))
}

/// With its point, as Go's `path.Ext`.
fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rfind('.').and_then(|at| name.get(at..)).unwrap_or_default()
}
