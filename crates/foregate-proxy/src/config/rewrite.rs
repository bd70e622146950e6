//! Path rewrites, of forwarded requests and of redirects.

use std::borrow::Cow;

use foregate_envoy::pb::envoy::r#type::matcher::v3 as matcher;
use regex::Regex;

use super::parts::partial_regex;
use super::refusal::{At, Refusal, nothing_left};
use crate::routing::matchers::{PathMatch, PathMatcher};

/// How a path (without query) changes.
#[derive(Debug, Default)]
pub(crate) enum PathRewrite {
    /// Not at all.
    #[default]
    Keep,
    /// The matched prefix, or exact path, is replaced.
    Prefix(Box<str>),
    /// What matches the expression is replaced, wherever it is.
    Regex(Regex, Substitution),
}

/// A replacement with groups: text and numbers of capture groups, in turns.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Substitution(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

impl Substitution {
    /// RE2's notation: `\1` is a group, `\\` a backslash.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                literal.push(c);
                continue;
            }
            match chars.next() {
                Some('\\') => literal.push('\\'),
                Some(digit) if digit.is_ascii_digit() => {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Group(digit as usize - '0' as usize));
                }
                _ => return Err(Refusal::new("a backslash must be followed by a digit or a backslash")),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    fn highest_group(&self) -> usize {
        self.0.iter().map(|part| if let Part::Group(n) = part { *n } else { 0 }).max().unwrap_or(0)
    }
}

impl regex::Replacer for &Substitution {
    fn replace_append(&mut self, captures: &regex::Captures<'_>, out: &mut String) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Group(n) => out.push_str(captures.get(*n).map_or("", |group| group.as_str())),
            }
        }
    }
}

/// Compiles `regex_rewrite`.
pub(crate) fn regex_rewrite(mut message: matcher::RegexMatchAndSubstitute) -> Result<PathRewrite, Refusal> {
    let pattern = message.pattern.take().ok_or_else(|| Refusal::field("pattern", "must be set"))?;
    let regex = partial_regex(pattern).at("pattern")?;
    let substitution = Substitution::parse(&std::mem::take(&mut message.substitution)).at("substitution")?;
    nothing_left(&message)?;
    if substitution.highest_group() >= regex.captures_len() {
        return Err(Refusal::field("substitution", "names a group that the pattern doesn't have"));
    }
    Ok(PathRewrite::Regex(regex, substitution))
}

impl PathRewrite {
    /// The new path, if it changes. `matcher` is the one that the path matched.
    pub(crate) fn apply<'a>(&self, path: &'a str, matcher: &PathMatcher) -> Cow<'a, str> {
        match self {
            Self::Keep => Cow::Borrowed(path),
            Self::Regex(regex, substitution) => regex.replace_all(path, substitution),
            // Envoy lets an expression match decide where the replacement ends too: at the path's end.
            Self::Prefix(replacement) => {
                let rest = path.get(matcher.matched_len(path)..).unwrap_or("");
                let separated = matches!(matcher.kind, PathMatch::PathSeparatedPrefix(_));
                Cow::Owned(join(replacement, rest, separated))
            }
        }
    }
}

/// Joins a replacement and the rest of a path. With a separated prefix, "/" as the replacement of "/a" makes "/b" of
/// "/a/b" and never "//b".
fn join(replacement: &str, rest: &str, separated: bool) -> String {
    let replacement = if separated && rest.starts_with('/') {
        replacement.strip_suffix('/').unwrap_or(replacement)
    } else {
        replacement
    };
    let mut path = String::with_capacity(replacement.len() + rest.len() + 1);
    path.push_str(replacement);
    path.push_str(rest);
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    path
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn matcher(kind: PathMatch) -> PathMatcher {
        PathMatcher { kind, case_sensitive: true }
    }

    #[test]
    fn a_prefix_is_replaced() {
        for (kind, replacement, path, want) in [
            (PathMatch::Prefix("/a/".into()), "/", "/a/b", "/b"),
            (PathMatch::Prefix("/a".into()), "/x", "/ab", "/xb"),
            (PathMatch::PathSeparatedPrefix("/a".into()), "/x", "/a/b", "/x/b"),
            (PathMatch::PathSeparatedPrefix("/a".into()), "/x/", "/a/b", "/x/b"),
            (PathMatch::PathSeparatedPrefix("/a".into()), "/", "/a/b", "/b"),
            (PathMatch::PathSeparatedPrefix("/a".into()), "/", "/a", "/"),
            (PathMatch::PathSeparatedPrefix("/a".into()), "/x", "/a", "/x"),
            (PathMatch::Exact("/a".into()), "/x", "/a", "/x"),
            (PathMatch::Prefix("/".into()), "/x/", "/b", "/x/b"),
            (PathMatch::Prefix("/a".into()), "", "/a", "/"),
        ] {
            let kind = matcher(kind);
            let rewrite = PathRewrite::Prefix(replacement.into());
            assert_eq!(rewrite.apply(path, &kind), want, "{kind:?} → {replacement} on {path}");
        }
    }

    #[test]
    fn an_expression_is_replaced() {
        let rewrite = regex_rewrite(matcher::RegexMatchAndSubstitute {
            pattern: Some(matcher::RegexMatcher { regex: "^/svc/([^/]+)(/.*)$".into(), ..Default::default() }),
            substitution: r"\2/by/\1".into(),
        })
        .unwrap();
        let any = matcher(PathMatch::Prefix("/".into()));
        assert_eq!(rewrite.apply("/svc/foo/v1/api", &any), "/v1/api/by/foo");
        assert_eq!(rewrite.apply("/other", &any), "/other");
        assert!(Substitution::parse(r"\x").is_err());
        assert_eq!(Substitution::parse(r"a\\b").unwrap(), Substitution(vec![Part::Text(r"a\b".into())]));
        let missing = regex_rewrite(matcher::RegexMatchAndSubstitute {
            pattern: Some(matcher::RegexMatcher { regex: "a".into(), ..Default::default() }),
            substitution: r"\1".into(),
        });
        assert!(missing.unwrap_err().to_string().contains("group"));
    }
}
