//! The rules of single values.

use std::collections::HashMap;
use std::fmt::Debug;

use crate::validate::forms;
use crate::validate::rules::{AnyRules, BytesRules, EnumRules, NumberRules, StringRules, TimestampRules};
use crate::wire::Raw;

/// Takes a broken rule's name and the message.
pub(crate) type Report<'a> = &'a mut dyn FnMut(String, String);

/// Integers, floats, and durations in nanoseconds. A range whose bounds are the wrong way round means everything
/// outside it, as in protoc-gen-validate.
pub(crate) fn number<N: PartialOrd + Copy + Default>(
    kind: &str,
    rules: &NumberRules<N>,
    value: N,
    show: &dyn Fn(N) -> String,
    report: Report<'_>,
) {
    if rules.ignore_empty && value == N::default() {
        return;
    }
    let mut broken = |rule: &str, message: String| report(format!("{kind}.{rule}"), message);
    if let Some(constant) = rules.constant.filter(|constant| *constant != value) {
        broken("const", format!("must be {}, it is {}", show(constant), show(value)));
    }
    // What is past a limit, and not what is within it: NaN is neither, and Envoy takes it.
    let below =
        rules.lt.map(|limit| ("lt", limit, value >= limit)).or(rules.lte.map(|limit| ("lte", limit, value > limit)));
    let above =
        rules.gt.map(|limit| ("gt", limit, value <= limit)).or(rules.gte.map(|limit| ("gte", limit, value < limit)));
    let words = |rule: &str, limit: N| match rule {
        "lt" => format!("less than {}", show(limit)),
        "lte" => format!("at most {}", show(limit)),
        "gt" => format!("greater than {}", show(limit)),
        _ => format!("at least {}", show(limit)),
    };
    match (below, above) {
        (Some((upper, most, too_high)), Some((lower, least, too_low))) if most < least => {
            if too_high && too_low {
                let message =
                    format!("must be {} or {}, it is {}", words(upper, most), words(lower, least), show(value));
                broken(upper, message);
            }
        }
        (below, above) => {
            for (rule, limit, past) in below.into_iter().chain(above) {
                if past {
                    broken(rule, format!("must be {}, it is {}", words(rule, limit), show(value)));
                }
            }
        }
    }
    let list = |values: &[N]| values.iter().map(|value| show(*value)).collect::<Vec<_>>().join(", ");
    if !rules.within.is_empty() && !rules.within.contains(&value) {
        broken("in", format!("must be one of {}, it is {}", list(&rules.within), show(value)));
    }
    if rules.not_in.contains(&value) {
        broken("not_in", format!("must be none of {}", list(&rules.not_in)));
    }
}

pub(crate) fn boolean(constant: Option<bool>, value: bool, report: Report<'_>) {
    if let Some(constant) = constant.filter(|constant| *constant != value) {
        report("bool.const".to_owned(), format!("must be {constant}"));
    }
}

/// A value for a message: quoted, cut, or not at all.
fn shown(value: &str, hidden: bool) -> String {
    const LONGEST: usize = 64;
    if hidden {
        return "the value".to_owned();
    }
    if value.chars().count() <= LONGEST {
        return format!("{value:?}");
    }
    format!("{:?}…", value.chars().take(LONGEST).collect::<String>())
}

pub(crate) fn string(rules: &StringRules, value: &str, hidden: bool, report: Report<'_>) {
    if rules.ignore_empty && value.is_empty() {
        return;
    }
    let mut broken = |rule: &str, message: String| report(format!("string.{rule}"), message);
    if let Some(constant) = rules.constant.as_ref().filter(|constant| *constant != value) {
        broken("const", format!("must be {constant:?}"));
    }
    if rules.len.is_some() || rules.min_len.is_some() || rules.max_len.is_some() {
        let length = value.chars().count() as u64;
        lengths(
            ["len", "min_len", "max_len"],
            "characters",
            [rules.len, rules.min_len, rules.max_len],
            length,
            &mut broken,
        );
    }
    let sizes = [rules.len_bytes, rules.min_bytes, rules.max_bytes];
    lengths(["len_bytes", "min_bytes", "max_bytes"], "bytes", sizes, value.len() as u64, &mut broken);
    if let Some(pattern) = rules.pattern.as_ref().filter(|pattern| !pattern.is_match(value)) {
        let pattern = pattern.as_str().trim_start_matches(r"\A(?:").trim_end_matches(r")\z");
        broken("pattern", format!("{} doesn't match {pattern:?}", shown(value, hidden)));
    }
    if let Some(prefix) = rules.prefix.as_ref().filter(|prefix| !value.starts_with(prefix.as_str())) {
        broken("prefix", format!("{} must begin with {prefix:?}", shown(value, hidden)));
    }
    if let Some(suffix) = rules.suffix.as_ref().filter(|suffix| !value.ends_with(suffix.as_str())) {
        broken("suffix", format!("{} must end with {suffix:?}", shown(value, hidden)));
    }
    if let Some(part) = rules.contains.as_ref().filter(|part| !value.contains(part.as_str())) {
        broken("contains", format!("{} must contain {part:?}", shown(value, hidden)));
    }
    if let Some(part) = rules.not_contains.as_ref().filter(|part| value.contains(part.as_str())) {
        broken("not_contains", format!("{} must not contain {part:?}", shown(value, hidden)));
    }
    let is = |other: &String| other == value;
    membership(rules.within.is_empty() || rules.within.iter().any(is), &rules.within, "in", &mut broken);
    membership(!rules.not_in.iter().any(is), &rules.not_in, "not_in", &mut broken);
    if let Some(form) = rules.form.filter(|form| !forms::matches(*form, value)) {
        let (rule, what) = forms::describe(form);
        broken(rule, format!("{} is not {what}", shown(value, hidden)));
    }
}

fn membership<T: Debug>(kept: bool, values: &[T], rule: &str, broken: &mut dyn FnMut(&str, String)) {
    if kept {
        return;
    }
    let how = if rule == "in" { "one of" } else { "none of" };
    broken(rule, format!("must be {how} {values:?}"));
}

/// Exact, least and most length.
fn lengths(
    names: [&str; 3],
    unit: &str,
    [exact, least, most]: [Option<u64>; 3],
    length: u64,
    broken: &mut dyn FnMut(&str, String),
) {
    let mut check = |name: &str, limit: Option<u64>, words: &str, kept: fn(u64, u64) -> bool| {
        if let Some(limit) = limit.filter(|limit| !kept(length, *limit)) {
            let unit = if limit == 1 { unit.trim_end_matches('s') } else { unit };
            broken(name, format!("must have {words} {limit} {unit}, it has {length}"));
        }
    };
    check(names[0], exact, "exactly", |length, limit| length == limit);
    check(names[1], least, "at least", |length, limit| length >= limit);
    check(names[2], most, "at most", |length, limit| length <= limit);
}

/// Bytes are never shown.
pub(crate) fn bytes(rules: &BytesRules, value: &[u8], report: Report<'_>) {
    if rules.ignore_empty && value.is_empty() {
        return;
    }
    let mut broken = |rule: &str, message: String| report(format!("bytes.{rule}"), message);
    if rules.constant.as_ref().is_some_and(|constant| constant != value) {
        broken("const", "must be the one value that is allowed".to_owned());
    }
    let limits = [rules.len, rules.min_len, rules.max_len];
    lengths(["len", "min_len", "max_len"], "bytes", limits, value.len() as u64, &mut broken);
    if rules.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(value)) {
        broken("pattern", "the bytes don't match the pattern".to_owned());
    }
    if rules.prefix.as_ref().is_some_and(|prefix| !value.starts_with(prefix)) {
        broken("prefix", "the bytes don't begin as they must".to_owned());
    }
    if rules.suffix.as_ref().is_some_and(|suffix| !value.ends_with(suffix)) {
        broken("suffix", "the bytes don't end as they must".to_owned());
    }
    let holds = |part: &Vec<u8>| part.is_empty() || value.windows(part.len()).any(|window| window == part);
    if rules.contains.as_ref().is_some_and(|part| !holds(part)) {
        broken("contains", "the bytes don't contain what they must".to_owned());
    }
    if !rules.within.is_empty() && !rules.within.iter().any(|other| other == value) {
        broken("in", "must be one of the values that are allowed".to_owned());
    }
    if rules.not_in.iter().any(|other| other == value) {
        broken("not_in", "must be none of the values that are forbidden".to_owned());
    }
    if let Some(form) = rules.form.filter(|form| !forms::matches_bytes(*form, value)) {
        let (rule, what) = forms::describe(form);
        broken(rule, format!("the bytes are not {what}"));
    }
}

pub(crate) fn enumeration(rules: &EnumRules, value: i32, defined: &[i32], report: Report<'_>) {
    let mut broken = |rule: &str, message: String| report(format!("enum.{rule}"), message);
    if let Some(constant) = rules.constant.filter(|constant| *constant != value) {
        broken("const", format!("must be {constant}, it is {value}"));
    }
    if rules.defined_only && !defined.contains(&value) {
        broken("defined_only", format!("{value} is not a value of the enum"));
    }
    membership(rules.within.is_empty() || rules.within.contains(&value), &rules.within, "in", &mut broken);
    membership(!rules.not_in.contains(&value), &rules.not_in, "not_in", &mut broken);
}

pub(crate) fn any(rules: &AnyRules, url: &str, report: Report<'_>) {
    let mut broken = |rule: &str, message: String| report(format!("any.{rule}"), message);
    let is = |other: &String| other == url;
    membership(rules.within.is_empty() || rules.within.iter().any(is), &rules.within, "in", &mut broken);
    membership(!rules.not_in.iter().any(is), &rules.not_in, "not_in", &mut broken);
}

pub(crate) fn timestamp(rules: &TimestampRules, value: i128, now: i128, report: Report<'_>) {
    number("timestamp", &rules.range, value, &seconds, report);
    let mut broken = |rule: &str, message: &str| report(format!("timestamp.{rule}"), message.to_owned());
    if rules.lt_now && value >= now {
        broken("lt_now", "must be in the past");
    }
    if rules.gt_now && value <= now {
        broken("gt_now", "must be in the future");
    }
    if rules.within.is_some_and(|limit| (value - now).abs() > limit) {
        broken("within", "is too far from now");
    }
}

/// Nanoseconds as seconds, e.g. `1.5s`.
pub(crate) fn seconds(nanoseconds: i128) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let (whole, rest) = (nanoseconds.unsigned_abs() / 1_000_000_000, nanoseconds.unsigned_abs() % 1_000_000_000);
    let fraction = format!(".{rest:09}");
    format!("{sign}{whole}{}s", fraction.trim_end_matches('0').trim_end_matches('.'))
}

/// The first two equal items.
pub(crate) fn repeated(items: &[Raw<'_>]) -> Option<(usize, usize)> {
    let mut seen: HashMap<(u8, &[u8], u64), usize> = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        let key = match *item {
            Raw::Varint(bits) => (0, &[][..], bits),
            Raw::Fixed64(bits) => (1, &[][..], bits),
            Raw::Fixed32(bits) => (2, &[][..], u64::from(bits)),
            Raw::Bytes(bytes) => (3, bytes, 0),
        };
        if let Some(first) = seen.insert(key, at) {
            return Some((first, at));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::rules::Form;

    fn broken(check: impl FnOnce(Report<'_>)) -> Vec<String> {
        let mut rules = Vec::new();
        check(&mut |rule, _| rules.push(rule));
        rules
    }

    fn int(rules: NumberRules<i128>, value: i128) -> Vec<String> {
        broken(|report| number("int32", &rules, value, &|n| n.to_string(), report))
    }

    #[test]
    fn ranges_of_numbers() {
        let inside = || NumberRules { gt: Some(1), lte: Some(5), ..NumberRules::default() };
        assert_eq!(int(inside(), 1), ["int32.gt"]);
        assert_eq!(int(inside(), 6), ["int32.lte"]);
        assert!(int(inside(), 5).is_empty());
        // Bounds the wrong way round: everything but what lies between.
        let outside = || NumberRules { gte: Some(10), lt: Some(2), ..NumberRules::default() };
        assert!(int(outside(), 1).is_empty() && int(outside(), 10).is_empty());
        assert_eq!(int(outside(), 2), ["int32.lt"]);
        assert_eq!(int(NumberRules { constant: Some(3), ..NumberRules::default() }, 4), ["int32.const"]);
        assert_eq!(int(NumberRules { within: vec![1, 2], ..NumberRules::default() }, 4), ["int32.in"]);
        assert_eq!(int(NumberRules { not_in: vec![4], ..NumberRules::default() }, 4), ["int32.not_in"]);
        // NaN is past no limit.
        let limits = NumberRules { gte: Some(0.0), lte: Some(1.0), ..NumberRules::default() };
        assert_eq!(broken(|report| number("double", &limits, f64::NAN, &|n| n.to_string(), report)), [""; 0]);
        let lenient = NumberRules { gt: Some(5), ignore_empty: true, ..NumberRules::default() };
        assert!(int(lenient, 0).is_empty());
    }

    fn text(rules: StringRules, value: &str) -> Vec<String> {
        broken(|report| string(&rules, value, false, report))
    }

    #[test]
    fn rules_of_strings() {
        let none = StringRules::default;
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(text(StringRules { constant: some("a"), ..none() }, "b"), ["string.const"]);
        // Characters are not bytes.
        assert_eq!(text(StringRules { len: Some(2), len_bytes: Some(2), ..none() }, "éé"), ["string.len_bytes"]);
        assert_eq!(
            text(StringRules { min_bytes: Some(3), max_bytes: Some(1), ..none() }, "é"),
            ["string.min_bytes", "string.max_bytes"]
        );
        assert_eq!(text(StringRules { contains: some("x"), ..none() }, "a"), ["string.contains"]);
        assert_eq!(text(StringRules { not_contains: some("x"), ..none() }, "ax"), ["string.not_contains"]);
        assert_eq!(text(StringRules { not_in: vec!["a".into()], ..none() }, "a"), ["string.not_in"]);
        assert_eq!(text(StringRules { form: Some(Form::Ip), ..none() }, "a"), ["string.ip"]);
        assert_eq!(text(StringRules { form: Some(Form::Ip), ignore_empty: true, ..none() }, ""), [""; 0]);
    }

    #[test]
    fn rules_of_bytes() {
        let none = BytesRules::default;
        let check = |rules: BytesRules, value: &[u8]| broken(|report| bytes(&rules, value, report));
        let some = |text: &[u8]| Some(text.to_vec());
        assert_eq!(check(BytesRules { constant: some(b"a"), ..none() }, b"b"), ["bytes.const"]);
        assert_eq!(check(BytesRules { len: Some(1), ..none() }, b""), ["bytes.len"]);
        assert_eq!(
            check(BytesRules { prefix: some(b"a"), suffix: some(b"b"), contains: some(b"c"), ..none() }, b"x"),
            ["bytes.prefix", "bytes.suffix", "bytes.contains"]
        );
        assert_eq!(
            check(BytesRules { within: vec![b"a".to_vec()], not_in: vec![b"b".to_vec()], ..none() }, b"b"),
            ["bytes.in", "bytes.not_in"]
        );
        let pattern = regex::bytes::Regex::new(r"\A(?:a+)\z").ok();
        assert_eq!(
            check(BytesRules { pattern, form: Some(Form::Ipv4), ..none() }, b"ab"),
            ["bytes.pattern", "bytes.ipv4"]
        );
        assert!(check(BytesRules { min_len: Some(1), ignore_empty: true, ..none() }, b"").is_empty());
    }

    #[test]
    fn rules_of_other_values() {
        assert_eq!(broken(|report| boolean(Some(true), false, report)), ["bool.const"]);
        let rules = EnumRules { constant: Some(1), within: vec![1], ..EnumRules::default() };
        assert_eq!(broken(|report| enumeration(&rules, 2, &[1, 2], report)), ["enum.const", "enum.in"]);
        let rules = AnyRules { within: vec!["a".into()], not_in: vec!["b".into()] };
        assert_eq!(broken(|report| any(&rules, "b", report)), ["any.in", "any.not_in"]);
        let rules = TimestampRules { lt_now: true, within: Some(5), ..TimestampRules::default() };
        assert_eq!(broken(|report| timestamp(&rules, 20, 10, report)), ["timestamp.lt_now", "timestamp.within"]);
        let rules = TimestampRules { gt_now: true, ..TimestampRules::default() };
        assert_eq!(broken(|report| timestamp(&rules, 10, 10, report)), ["timestamp.gt_now"]);
        assert_eq!(repeated(&[Raw::Varint(1), Raw::Bytes(b"a"), Raw::Bytes(b"a")]), Some((1, 2)));
        assert_eq!(repeated(&[Raw::Fixed32(1), Raw::Fixed64(1), Raw::Varint(1)]), None);
        for (nanos, want) in [(1_500_000_000, "1.5s"), (-1, "-0.000000001s"), (60_000_000_000, "60s"), (0, "0s")] {
            assert_eq!(seconds(nanos), want);
        }
    }
}
