//! Matches: normal form, and expressions that don't compile.

use foregate_api::route::{PathMatch, PathMatchKind, RouteMatch, ValueMatch, ValueMatchKind};

use crate::Problem;
use crate::ir;

/// A match in normal form: every path has a kind, each header and query parameter counts once.
pub(super) fn resolve(matched: &RouteMatch, field: &str) -> Result<ir::Match, Problem> {
    // Names of headers are equal whatever their case; of equal names the first counts (Gateway API).
    let headers = values(&matched.headers, &format!("{field}.headers"), |a, b| a.eq_ignore_ascii_case(b))?;
    let query = values(&matched.query_params, &format!("{field}.queryParams"), |a, b| a == b)?;
    Ok(ir::Match { path: path(matched.path.as_ref(), field)?, method: matched.method.clone(), headers, query })
}

fn path(path: Option<&PathMatch>, field: &str) -> Result<ir::Path, Problem> {
    let Some(PathMatch { kind, value }) = path else { return Ok(ir::Path::Any) };
    let field = format!("{field}.path.value");
    if *kind != PathMatchKind::RegularExpression && !value.starts_with('/') {
        return Err(Problem::invalid(field, format!("{value:?} doesn't start with /")));
    }
    Ok(match kind {
        PathMatchKind::Exact => ir::Path::Exact(value.clone()),
        PathMatchKind::PathPrefix => match value.trim_end_matches('/') {
            "" => ir::Path::Any,
            trimmed => ir::Path::Prefix(trimmed.to_owned()),
        },
        PathMatchKind::RegularExpression => ir::Path::Regex(regex(value, field)?),
    })
}

fn values(
    matches: &[ValueMatch],
    field: &str,
    same: impl Fn(&str, &str) -> bool,
) -> Result<Vec<ir::ValueMatch>, Problem> {
    let mut taken: Vec<ir::ValueMatch> = Vec::with_capacity(matches.len());
    for (index, matched) in matches.iter().enumerate() {
        if taken.iter().any(|other| same(&other.name, &matched.name)) {
            continue;
        }
        let value = match matched.kind {
            ValueMatchKind::Exact => ir::TextMatch::Exact(matched.value.clone()),
            ValueMatchKind::RegularExpression => {
                ir::TextMatch::Regex(regex(&matched.value, format!("{field}[{index}].value"))?)
            }
        };
        taken.push(ir::ValueMatch { name: matched.name.clone(), value });
    }
    Ok(taken)
}

/// Checks an expression. The crate `regex` speaks nearly the same language as RE2 and, like it, needs linear time.
fn regex(pattern: &str, field: String) -> Result<String, Problem> {
    if pattern.is_empty() {
        return Err(Problem::invalid(field, "an empty regular expression matches nothing; leave the match out"));
    }
    match regex::Regex::new(pattern) {
        Ok(_) => Ok(pattern.to_owned()),
        Err(error) => Err(Problem::Regex {
            field,
            pattern: pattern.to_owned(),
            // Its text draws the expression over several lines; the last one says what is wrong.
            reason: error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        }),
    }
}
