//! Matches.

use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{HttpPathMatch, HttpRouteMatch, PathMatchType, ValueMatch, ValueMatchType};
use foregate_api::route::{PathMatch, PathMatchKind, RouteMatch, ValueMatch as EffectiveMatch, ValueMatchKind};
use regex::RegexBuilder;

use crate::problem::Problem;

/// Memory that one expression may take when compiled, in bytes.
const EXPRESSION_SIZE: usize = 1 << 20;

/// The matches of a rule; none match every request.
pub(crate) fn parse(matches: &[HttpRouteMatch], path: &str) -> Result<Vec<RouteMatch>, Problem> {
    if matches.is_empty() {
        let every_path = PathMatch { kind: PathMatchKind::PathPrefix, value: "/".to_owned() };
        return Ok(vec![RouteMatch { path: Some(every_path), ..RouteMatch::default() }]);
    }
    matches.iter().enumerate().map(|(i, m)| parse_match(m, &format!("{path}.matches[{i}]"))).collect()
}

fn parse_match(given: &HttpRouteMatch, path: &str) -> Result<RouteMatch, Problem> {
    Ok(RouteMatch {
        path: given.path.as_ref().map(|p| parse_path(p, path)).transpose()?,
        method: given.method.clone(),
        headers: headers(&given.headers, path)?,
        query_params: parse_values(&given.query_params, path, "queryParams", |a, b| a == b)?,
    })
}

/// Headers, whose names are equal whatever their case.
pub(super) fn headers(given: &[ValueMatch], path: &str) -> Result<Vec<EffectiveMatch>, Problem> {
    parse_values(given, path, "headers", |a, b| a.eq_ignore_ascii_case(b))
}

fn parse_path(given: &HttpPathMatch, path: &str) -> Result<PathMatch, Problem> {
    let value = given.value.clone().unwrap_or_else(|| "/".to_owned());
    let kind = match given.kind.unwrap_or_default() {
        PathMatchType::Exact => PathMatchKind::Exact,
        PathMatchType::PathPrefix => PathMatchKind::PathPrefix,
        PathMatchType::RegularExpression => PathMatchKind::RegularExpression,
        PathMatchType::Unknown => return Err(unsupported(format!("{path}.path.type: not known to this version"))),
    };
    if kind == PathMatchKind::RegularExpression {
        check_expression(&value, &format!("{path}.path.value"))?;
    } else if !value.starts_with('/') {
        return Err(unsupported(format!("{path}.path.value: {value:?} must begin with /")));
    }
    Ok(PathMatch { kind, value })
}

/// Of several matches with the same name the first counts, as the standard says.
fn parse_values(
    given: &[ValueMatch],
    path: &str,
    field: &str,
    same: fn(&str, &str) -> bool,
) -> Result<Vec<EffectiveMatch>, Problem> {
    let mut parsed: Vec<EffectiveMatch> = Vec::with_capacity(given.len());
    for (i, value) in given.iter().enumerate() {
        if parsed.iter().any(|p| same(&p.name, &value.name)) {
            continue;
        }
        let kind = match value.kind.unwrap_or_default() {
            ValueMatchType::Exact => ValueMatchKind::Exact,
            ValueMatchType::RegularExpression => {
                check_expression(&value.value, &format!("{path}.{field}[{i}].value"))?;
                ValueMatchKind::RegularExpression
            }
            ValueMatchType::Unknown => {
                return Err(unsupported(format!("{path}.{field}[{i}].type: not known to this version")));
            }
        };
        parsed.push(EffectiveMatch { name: value.name.clone(), kind, value: value.value.clone() });
    }
    Ok(parsed)
}

pub(super) fn check_expression(expression: &str, path: &str) -> Result<(), Problem> {
    match RegexBuilder::new(expression).size_limit(EXPRESSION_SIZE).build() {
        Ok(_) => Ok(()),
        Err(error) => {
            // The library's messages draw the place over several lines; the last one says what is wrong.
            let error = error.to_string();
            let what = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Err(unsupported(format!("{path}: {expression:?} isn't a regular expression (RE2): {what}")))
        }
    }
}

fn unsupported(message: String) -> Problem {
    Problem::new(reason::UNSUPPORTED_VALUE, message)
}
