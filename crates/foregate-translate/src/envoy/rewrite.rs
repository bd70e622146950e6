//! Path rewrites. The query is kept: Envoy rewrites only what is before it.

use foregate_api::route::PathEdit;
use foregate_envoy::pb::envoy::config::route::v3::RouteAction;
use foregate_envoy::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;

use super::common::regex;
use crate::Problem;
use crate::ir::Path;

/// How a matched prefix is replaced.
pub(super) enum PrefixEdit {
    /// It isn't.
    None,
    /// By this text.
    Prefix(String),
    /// By an expression.
    Regex(RegexMatchAndSubstitute),
}

/// Applies a path rewrite to an action.
pub(super) fn apply(action: &mut RouteAction, edit: &PathEdit, path: &Path, field: &str) -> Result<(), Problem> {
    match edit {
        PathEdit::ReplaceFullPath(full) => action.regex_rewrite = Some(substitute("^/.*$", &absolute(full))),
        PathEdit::ReplacePrefixMatch(with) => match prefix(path, with, field)? {
            PrefixEdit::None => {}
            PrefixEdit::Prefix(prefix) => action.prefix_rewrite = prefix,
            PrefixEdit::Regex(regex) => action.regex_rewrite = Some(regex),
        },
    }
    Ok(())
}

/// Gateway API `ReplacePrefixMatch`: whole path elements, and a slash at the end of either side doesn't count.
pub(super) fn prefix(path: &Path, with: &str, field: &str) -> Result<PrefixEdit, Problem> {
    let with = absolute(with.trim_end_matches('/'));
    match (path, with.as_str()) {
        (Path::Any, "/") => Ok(PrefixEdit::None),
        // The prefix that matched is `/`: what replaces it must end with one.
        (Path::Any, with) => Ok(PrefixEdit::Prefix(format!("{with}/"))),
        // `/foo/bar` must not become `//bar`, nor `/foo` the empty path.
        (Path::Prefix(prefix), "/") => {
            Ok(PrefixEdit::Regex(substitute(&format!("^{}/?", ::regex::escape(prefix)), "/")))
        }
        (Path::Prefix(_), with) => Ok(PrefixEdit::Prefix(with.to_owned())),
        (Path::Exact(_) | Path::Regex(_), _) => Err(Problem::invalid(
            field,
            "ReplacePrefixMatch needs path matches of type PathPrefix; use ReplaceFullPath, or change the match",
        )),
    }
}

/// The path, with a slash at its start.
pub(super) fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn substitute(pattern: &str, with: &str) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute {
        pattern: Some(regex(pattern)),
        // A backslash starts a reference to a group in RE2.
        substitution: with.replace('\\', "\\\\"),
    }
}
