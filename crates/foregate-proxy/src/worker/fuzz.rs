//! What fuzzing reaches: the pure parsers of bytes that clients and operators choose. Built for fuzzing only.

use super::framing::Framing;
use super::normalize::{Normalized, normalize};
use super::redirect::split_port;
use super::strict::{is_host, without_port};
use crate::config::format;
use crate::config::hcm::{EscapedSlashes, Normalization};

/// What is seen in a head doesn't depend on the pieces that it comes in.
pub fn head(bytes: &[u8], cuts: &[u8]) {
    let whole = Framing::default().read(bytes);
    let mut rest = bytes;
    let mut pieces = Framing::default();
    for cut in cuts {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*cut)));
        pieces = pieces.read(piece);
        rest = after;
    }
    pieces = pieces.read(rest);
    assert_eq!(pieces.is_ambiguous(), whole.is_ambiguous());
    assert_eq!(pieces.has_odd_target(), whole.has_odd_target());
}

/// A path's normal form has no dot segments, and is its own normal form.
pub fn path(text: &str, rules: u8) {
    let escaped_slashes = match rules >> 1 & 3 {
        0 => EscapedSlashes::Keep,
        1 => EscapedSlashes::Reject,
        2 => EscapedSlashes::Redirect,
        _ => EscapedSlashes::Unescape,
    };
    let rules = Normalization { path: true, merge_slashes: rules & 1 > 0, escaped_slashes };
    let normal = match normalize(text, rules) {
        Normalized::Path(normal) => normal.into_owned(),
        Normalized::Redirect(normal) => normal,
        Normalized::Refused => return,
    };
    assert!(!normal.split('/').any(|segment| segment == "." || segment == ".."), "{text:?} → {normal:?}");
    assert!(normal.starts_with('/') || normal == "*", "{text:?} → {normal:?}");
    if escaped_slashes == EscapedSlashes::Keep {
        assert_eq!(normalize(&normal, rules), Normalized::Path(normal.as_str().into()), "{text:?}");
    }
}

/// A host is taken apart without losing anything.
pub fn host(text: &str) {
    let (host, port) = split_port(text);
    assert_eq!(text, port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")));
    assert!(text.starts_with(without_port(text)));
    let _ = is_host(text.as_bytes());
}

/// A header's value compiles or is refused.
pub fn value(text: &[u8]) {
    let _ = format::compile(text);
}
