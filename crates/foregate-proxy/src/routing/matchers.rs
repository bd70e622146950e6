//! Matchers of path, headers and query parameters.

use std::borrow::Cow;

use http::HeaderName;
use regex::Regex;

use super::request::RequestView;

/// How a route looks at the path (without query).
#[derive(Debug)]
pub(crate) enum PathMatch {
    /// The whole path.
    Exact(Box<str>),
    /// A prefix, also in the middle of a segment.
    Prefix(Box<str>),
    /// A prefix of whole segments; without a slash at its end.
    PathSeparatedPrefix(Box<str>),
    /// The whole path matches an expression.
    Regex(Regex),
}

/// A path matcher with its case option.
#[derive(Debug)]
pub(crate) struct PathMatcher {
    /// What.
    pub(crate) kind: PathMatch,
    /// Upper and lower case differ. Expressions always look at case, as in Envoy.
    pub(crate) case_sensitive: bool,
}

impl PathMatcher {
    /// Whether a path matches.
    pub(crate) fn matches(&self, path: &str) -> bool {
        match &self.kind {
            PathMatch::Exact(want) => path.len() == want.len() && self.starts(path, want),
            PathMatch::Prefix(prefix) => self.starts(path, prefix),
            PathMatch::PathSeparatedPrefix(prefix) => {
                self.starts(path, prefix) && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
            }
            PathMatch::Regex(regex) => regex.is_match(path),
        }
    }

    /// The part that a prefix rewrite replaces, in bytes.
    pub(crate) fn matched_len(&self, path: &str) -> usize {
        match &self.kind {
            PathMatch::Exact(text) | PathMatch::Prefix(text) | PathMatch::PathSeparatedPrefix(text) => text.len(),
            PathMatch::Regex(_) => path.len(),
        }
    }

    fn starts(&self, path: &str, prefix: &str) -> bool {
        let Some(head) = path.as_bytes().get(..prefix.len()) else { return false };
        if self.case_sensitive { head == prefix.as_bytes() } else { head.eq_ignore_ascii_case(prefix.as_bytes()) }
    }
}

/// Matches a text: `envoy.type.matcher.v3.StringMatcher`.
#[derive(Debug)]
pub(crate) enum TextMatch {
    /// The whole text.
    Exact(Box<str>),
    /// Its beginning.
    Prefix(Box<str>),
    /// Its end.
    Suffix(Box<str>),
    /// Something in it.
    Contains(Box<str>),
    /// The whole text matches an expression.
    Regex(Regex),
}

/// A text matcher with its case option.
#[derive(Debug)]
pub(crate) struct TextMatcher {
    /// What.
    pub(crate) kind: TextMatch,
    /// ASCII case doesn't matter; the pattern is in lower case then.
    pub(crate) ignore_case: bool,
}

impl TextMatcher {
    /// Whether a text matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let text = if self.ignore_case { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) };
        match &self.kind {
            TextMatch::Exact(want) => *text == **want,
            TextMatch::Prefix(want) => text.starts_with(&**want),
            TextMatch::Suffix(want) => text.ends_with(&**want),
            TextMatch::Contains(want) => text.contains(&**want),
            TextMatch::Regex(regex) => regex.is_match(&text),
        }
    }
}

/// What a header matcher looks at.
#[derive(Debug)]
pub(crate) enum HeaderSource {
    /// A header.
    Header(HeaderName),
    /// `:method`
    Method,
    /// `:authority`
    Authority,
    /// `:path`, with the query.
    Path,
    /// `:scheme`
    Scheme,
}

/// What a header must be.
#[derive(Debug)]
pub(crate) enum HeaderCheck {
    /// Present, or absent for false.
    Present(bool),
    /// A decimal integer in `start..end`.
    Range(i64, i64),
    /// A text.
    Text(TextMatcher),
}

/// `envoy.config.route.v3.HeaderMatcher`
#[derive(Debug)]
pub(crate) struct HeaderMatcher {
    /// Where to look.
    pub(crate) source: HeaderSource,
    /// What must be there.
    pub(crate) check: HeaderCheck,
    /// The opposite.
    pub(crate) invert: bool,
    /// A missing header counts as an empty one.
    pub(crate) missing_is_empty: bool,
}

impl HeaderMatcher {
    /// Whether a request matches. A missing header matches nothing, inverted or not, unless it is presence that counts.
    /// Lines of one name are looked at one by one, as Envoy does since 1.38: one that fits is enough.
    pub(crate) fn matches(&self, request: &RequestView<'_>) -> bool {
        match &self.source {
            HeaderSource::Header(name) => self.among(request.lines(name)),
            HeaderSource::Method => self.among(std::iter::once(request.method.as_str())),
            HeaderSource::Authority => self.among(std::iter::once(request.authority)),
            HeaderSource::Scheme => self.among(std::iter::once(request.scheme)),
            HeaderSource::Path => match request.query {
                Some(query) => self.among(std::iter::once(&*format!("{}?{query}", request.path))),
                None => self.among(std::iter::once(request.path)),
            },
        }
    }

    fn among<'v>(&self, values: impl Iterator<Item = &'v str>) -> bool {
        let mut values = values.peekable();
        let missing = values.peek().is_none();
        if let HeaderCheck::Present(wanted) = &self.check {
            return ((!missing || self.missing_is_empty) == *wanted) != self.invert;
        }
        if missing && !self.missing_is_empty {
            return false;
        }
        let hit = values.chain(missing.then_some("")).any(|value| match &self.check {
            HeaderCheck::Present(_) => true,
            HeaderCheck::Range(start, end) => value.parse::<i64>().is_ok_and(|n| (*start..*end).contains(&n)),
            HeaderCheck::Text(text) => text.matches(value),
        });
        hit != self.invert
    }
}

/// `envoy.config.route.v3.QueryParameterMatcher`
#[derive(Debug)]
pub(crate) struct QueryMatcher {
    /// The parameter.
    pub(crate) name: Box<str>,
    /// Its text, or only that it is there (or isn't, for `Err(false)`).
    pub(crate) check: Result<TextMatcher, bool>,
}

impl QueryMatcher {
    /// Whether a request matches.
    pub(crate) fn matches(&self, request: &RequestView<'_>) -> bool {
        let value = request.query_parameter(&self.name);
        match &self.check {
            Ok(text) => value.is_some_and(|value| text.matches(value)),
            Err(present) => value.is_some() == *present,
        }
    }
}

/// A share of requests, e.g. 10 of 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fraction {
    /// How many.
    pub(crate) numerator: u32,
    /// Of how many.
    pub(crate) denominator: u32,
}

impl Fraction {
    /// Whether a request with this number is one of them. A request has one number for all routes that ask for a share,
    /// so that shares that follow each other add up.
    pub(crate) fn hit_by(self, luck: u64) -> bool {
        luck % u64::from(self.denominator) < u64::from(self.numerator)
    }

    /// Whether something is one of them, by a number of its own.
    pub(crate) fn hit(self) -> bool {
        self.numerator >= self.denominator || rand::random_range(0..self.denominator) < self.numerator
    }
}

/// Everything that a route asks of a request.
#[derive(Debug)]
pub(crate) struct RouteMatcher {
    /// The path.
    pub(crate) path: PathMatcher,
    /// All of these.
    pub(crate) headers: Vec<HeaderMatcher>,
    /// And these.
    pub(crate) query: Vec<QueryMatcher>,
    /// And only this share.
    pub(crate) fraction: Option<Fraction>,
}

impl RouteMatcher {
    /// Whether a request matches.
    pub(crate) fn matches(&self, request: &RequestView<'_>) -> bool {
        self.path.matches(request.path)
            && self.headers.iter().all(|m| m.matches(request))
            && self.query.iter().all(|m| m.matches(request))
            && self.fraction.is_none_or(|share| share.hit_by(request.luck()))
    }
}
