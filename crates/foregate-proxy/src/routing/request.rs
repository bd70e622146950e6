//! What routes look at: the parts of a request, borrowed.

use http::header::HeaderMap;
use http::{HeaderName, Method};
use std::borrow::Cow;

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
}

impl<'a> RequestView<'a> {
    /// A header's value: several lines of one name count as one, joined by commas; bytes beyond UTF-8 don't match text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<Cow<'a, str>> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?;
        let first = std::str::from_utf8(first.as_bytes()).unwrap_or("\u{fffd}");
        let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
        let mut joined = first.to_owned();
        for value in std::iter::once(second).chain(values) {
            joined.push(',');
            joined.push_str(std::str::from_utf8(value.as_bytes()).unwrap_or("\u{fffd}"));
        }
        Some(Cow::Owned(joined))
    }

    /// The first value of a query parameter, percent-decoded.
    pub(crate) fn query_parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        first_parameter(self.query?, name)
    }
}

/// The first value of a parameter of a query, percent-decoded.
pub(crate) fn first_parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decoded(key) == name).then(|| percent_decoded(value))
    })
}

/// Decodes `%XX`; what isn't valid stays as it is.
pub(crate) fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let decoded = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = decoded {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_decoding() {
        for (text, want) in
            [("a", "a"), ("a%20b", "a b"), ("%", "%"), ("%2", "%2"), ("%zz", "%zz"), ("%41%42", "AB"), ("%+1", "%+1")]
        {
            assert_eq!(percent_decoded(text), want, "{text}");
        }
    }
}
