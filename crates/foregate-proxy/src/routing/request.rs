//! What routes look at: the parts of a request, borrowed.

use std::cell::OnceCell;

use http::header::HeaderMap;
use http::{HeaderName, Method};

/// A request as matchers see it.
pub(crate) struct RequestView<'a> {
    /// The method.
    pub(crate) method: &'a Method,
    /// The host as it came, with its port.
    pub(crate) authority: &'a str,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Path without the query.
    pub(crate) path: &'a str,
    /// The query, without `?`.
    pub(crate) query: Option<&'a str>,
    /// The headers.
    pub(crate) headers: &'a HeaderMap,
    /// Its number among others, drawn when it is first asked for.
    pub(crate) luck: OnceCell<u64>,
}

impl<'a> RequestView<'a> {
    /// A number by chance, always the same for one request.
    pub(crate) fn luck(&self) -> u64 {
        *self.luck.get_or_init(rand::random)
    }

    /// The lines of one name; bytes beyond UTF-8 don't match text.
    pub(crate) fn lines(&self, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
        self.headers.get_all(name).iter().map(|value| std::str::from_utf8(value.as_bytes()).unwrap_or("\u{fffd}"))
    }

    /// The first value of a query parameter, as it is written: Envoy decodes nothing here either.
    pub(crate) fn query_parameter(&self, name: &str) -> Option<&'a str> {
        first_parameter(self.query?, name)
    }
}

/// The first value of a parameter of a query, as it is written.
pub(crate) fn first_parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_query() {
        let first = |query, name| first_parameter(query, name);
        assert_eq!(first("a=1&b=2&a=3", "a"), Some("1"));
        assert_eq!(first("a&b=", "a"), Some(""));
        assert_eq!(first("a%20b=c%20d", "a%20b"), Some("c%20d"));
        assert_eq!(first("%61=1", "a"), None);
    }
}
