//! The normal form of paths, so that what a route sees is what an endpoint will make of it.
//!
//! The engine brings paths to it, and `explain` says what became of one: they must never differ, so it is here once. It
//! is what Envoy's connection manager does by `normalize_path`, `merge_slashes` and `path_with_escaped_slashes_action`.

use std::borrow::Cow;

use crate::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use hcm::http_connection_manager::PathWithEscapedSlashesAction;

/// What happens to paths with `%2F` or `%5C`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// They stay.
    Keep,
    /// The request is refused with 400.
    Reject,
    /// The client is redirected to the unescaped path.
    Redirect,
    /// The path goes on unescaped.
    Unescape,
}

/// How a path is brought to its normal form before routes see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Dot segments, as RFC 3986.
    pub path: bool,
    /// `//` becomes `/`.
    pub merge_slashes: bool,
    /// `%2F`, `%5C`.
    pub escaped_slashes: EscapedSlashes,
}

impl Rules {
    /// What a connection manager wants; none if its `path_with_escaped_slashes_action` is no known value.
    pub fn of(manager: &hcm::HttpConnectionManager) -> Option<Self> {
        use PathWithEscapedSlashesAction as Action;
        let escaped_slashes = match Action::try_from(manager.path_with_escaped_slashes_action).ok()? {
            Action::ImplementationSpecificDefault | Action::KeepUnchanged => EscapedSlashes::Keep,
            Action::RejectRequest => EscapedSlashes::Reject,
            Action::UnescapeAndRedirect => EscapedSlashes::Redirect,
            Action::UnescapeAndForward => EscapedSlashes::Unescape,
        };
        let path = manager.normalize_path.is_some_and(|wanted| wanted.value);
        Some(Self { path, merge_slashes: manager.merge_slashes, escaped_slashes })
    }

    /// Whether there is nothing to do.
    pub fn is_off(self) -> bool {
        !self.path && !self.merge_slashes && self.escaped_slashes == EscapedSlashes::Keep
    }
}

/// What became of a path.
#[derive(Debug, PartialEq, Eq)]
pub enum NormalPath<'a> {
    /// This is it.
    Path(Cow<'a, str>),
    /// It can't be brought to a normal form, or has what isn't wanted.
    Refused,
    /// The client is to ask for this instead.
    Redirect(String),
}

/// Brings a path (without query) to its normal form.
pub fn normalize(path: &str, rules: Rules) -> NormalPath<'_> {
    let mut path = Cow::Borrowed(path);
    // First of all: what is a slash to an endpoint must be one when dot segments are resolved.
    let escaped = rules.escaped_slashes != EscapedSlashes::Keep && has_escaped_slash(&path);
    if escaped {
        if rules.escaped_slashes == EscapedSlashes::Reject {
            return NormalPath::Refused;
        }
        path = Cow::Owned(unescape_slashes(&path));
    }
    if rules.path {
        match dot_segments(&path) {
            Some(normal) if normal != *path => path = Cow::Owned(normal),
            Some(_) => {}
            None => return NormalPath::Refused,
        }
    }
    if rules.merge_slashes && path.contains("//") {
        path = Cow::Owned(merge_slashes(&path));
    }
    if escaped && rules.escaped_slashes == EscapedSlashes::Redirect {
        return NormalPath::Redirect(path.into_owned());
    }
    NormalPath::Path(path)
}

fn has_escaped_slash(path: &str) -> bool {
    path.as_bytes().windows(3).any(|w| w[0] == b'%' && matches!((w[1], w[2] | 0x20), (b'2', b'f') | (b'5', b'c')))
}

fn unescape_slashes(path: &str) -> String {
    path.replace("%2F", "/").replace("%2f", "/").replace("%5C", "\\").replace("%5c", "\\")
}

fn merge_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    out
}

/// RFC 3986 §6, as browsers and Envoy read it: dot segments are resolved, backslashes are slashes.
fn dot_segments(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return (path == "*").then(|| path.to_owned());
    }
    // What ends strings in half of the world's servers isn't passed on.
    if path.contains("%00") || path.contains('\0') {
        return None;
    }
    let path = unescape_unreserved(path).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path[1..].split('/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        // Servers that cut parameters off would see dots.
        match part.split_once(';').map_or(part, |(dots, _)| dots) {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => {
                segments.push(part);
                continue;
            }
        }
        if last {
            segments.push("");
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    Some(out)
}

/// `%41` of what needs no escape is unescaped, what needs one is escaped. A percent sign that begins no escape must not
/// begin one afterwards: `%%32e` would be `%2e`, and a dot to whoever reads it next, so it becomes `%252e`.
fn unescape_unreserved(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut bare = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        let byte =
            hex.filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit())).and_then(|h| u8::from_str_radix(h, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') => {
                out.push(char::from(byte));
                at += 3;
            }
            _ if matches!(bytes[at], b' ' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | ..=31 | 127..) => {
                out.push('%');
                out.extend(
                    [bytes[at] >> 4, bytes[at] & 15].map(|nibble| char::from(b"0123456789ABCDEF"[usize::from(nibble)])),
                );
                at += 1;
            }
            _ => {
                if bytes[at] == b'%' && byte.is_none() {
                    bare.push(out.len());
                }
                out.push(char::from(bytes[at]));
                at += 1;
            }
        }
    }
    for at in bare.into_iter().rev() {
        if out.get(at + 1..at + 3).is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())) {
            out.insert_str(at + 1, "25");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Rules = Rules { path: true, merge_slashes: true, escaped_slashes: EscapedSlashes::Unescape };

    #[test]
    fn normal_forms() {
        let dots = Rules { path: true, merge_slashes: false, escaped_slashes: EscapedSlashes::Keep };
        for (rules, path, want) in [
            (dots, "/a/b", "/a/b"),
            (dots, "/a/./b/../c", "/a/c"),
            (dots, "/../a", "/a"),
            (dots, "/a/..", "/"),
            (dots, "/a/.", "/a/"),
            (dots, "/a/..;x/b;y", "/b;y"),
            (dots, "/a//b", "/a//b"),
            (dots, "/%61/%2e%2E/b", "/b"),
            (dots, "/a%2Fb", "/a%2Fb"),
            (dots, "/a/%%32e%%32e/b", "/a/%252e%252e/b"),
            (dots, "/a/%2%65/b", "/a/%252e/b"),
            (dots, "/%%65%2%35", "/%e%2525"),
            (dots, "/a\\..\\b", "/b"),
            (dots, "/a{b}|^", "/a%7Bb%7D%7C%5E"),
            (ALL, "/a%2F%5cb", "/a/b"),
            (ALL, "/a%2f..%5cb", "/b"),
            (ALL, "//a///b", "/a/b"),
            (ALL, "/a//../b", "/a/b"),
            (ALL, "/a b\"^|`", "/a%20b%22%5E%7C%60"),
            (ALL, "/ä", "/%C3%A4"),
            (ALL, "*", "*"),
        ] {
            assert_eq!(normalize(path, rules), NormalPath::Path(want.into()), "{path}");
        }
        let reject = Rules { escaped_slashes: EscapedSlashes::Reject, ..dots };
        assert_eq!(normalize("/a%2fb", reject), NormalPath::Refused);
        assert_eq!(normalize("/a%25b", reject), NormalPath::Path("/a%25b".into()));
        assert_eq!(normalize("/a%00b", dots), NormalPath::Refused);
        let redirect = Rules { escaped_slashes: EscapedSlashes::Redirect, ..dots };
        assert_eq!(normalize("/a%2fb", redirect), NormalPath::Redirect("/a/b".into()));
    }

    proptest! {
        #[test]
        fn a_normal_form_stays(path in "/([a-c./%\\\\0-9F]|%2|%2[eEfF]|%32|%65){0,20}") {
            let dots = Rules { path: true, merge_slashes: true, escaped_slashes: EscapedSlashes::Keep };
            let NormalPath::Path(once) = normalize(&path, dots) else {
                prop_assert!(path.contains("%00"));
                return Ok(());
            };
            prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."));
            prop_assert!(once.starts_with('/'));
            let again = normalize(&once, dots);
            prop_assert_eq!(&again, &NormalPath::Path(once.clone()), "{}", path);
        }
    }
}
