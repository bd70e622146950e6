//! What fuzzing reaches: the pure parsers of bytes that clients and operators choose. Built for fuzzing and tests only.

use bytes::BytesMut;
use foregate_envoy::normal_path::{EscapedSlashes, NormalPath, Rules, normalize};

use super::client_hello::{self, First};
use super::decode::{self, Decoded, Decoder, Head};
use super::framing::Framing;
use super::redirect::split_port;
use super::strict::{is_host, without_port};
use crate::config::format;

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

/// What an endpoint says doesn't depend on the pieces that it comes in.
pub fn response(bytes: &[u8], cuts: &[u8], bodiless: bool) {
    let whole = read_response(bytes, &[], bodiless);
    let pieces = read_response(bytes, cuts, bodiless);
    assert_eq!(whole, pieces);
}

/// Status and body, if they are whole; bodies that end with their connection end here with the bytes.
fn read_response(bytes: &[u8], cuts: &[u8], bodiless: bool) -> Option<(u16, Vec<u8>)> {
    let mut input = BytesMut::new();
    let mut rest = bytes;
    let mut head: Option<Head> = None;
    let mut body = Vec::new();
    let mut cuts = cuts.iter().map(|cut| usize::from(*cut)).chain(std::iter::repeat(usize::MAX));
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(cuts.next().unwrap_or(usize::MAX)));
        input.extend_from_slice(piece);
        rest = after;
        if head.is_none() {
            head = decode::head(&mut input, bodiless).ok()?;
        }
        let Some(head) = &mut head else { continue };
        loop {
            match head.body.next(&mut input).ok()? {
                Decoded::Frame(frame) => body.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Decoded::End => return Some((head.response.status().as_u16(), body)),
                Decoded::More => break,
            }
        }
    }
    head.filter(|head| head.body == Decoder::Close).map(|head| (head.response.status().as_u16(), body))
}

/// What is said of the first bytes of a connection stays true whatever follows, and where rustls finds a name, it is
/// the one that was seen.
pub fn hello(bytes: &[u8]) {
    let whole = client_hello::first(bytes);
    for cut in 0..bytes.len() {
        let part = client_hello::first(&bytes[..cut]);
        assert!(part == First::Unclear || part == whole, "{part:?} of {cut} bytes, {whole:?} of {}", bytes.len());
    }
    let mut acceptor = rustls::server::Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() && acceptor.read_tls(&mut rest).is_ok_and(|count| count > 0) {
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let Some(name) = accepted.client_hello().server_name().map(str::to_owned) else { return };
                let First::Hello(Some(seen)) = whole else { panic!("{whole:?}, but it is {name}") };
                assert!(seen.eq_ignore_ascii_case(&name), "{seen}, but it is {name}");
                return;
            }
            Err(_) => return,
        }
    }
}

/// A path's normal form has no dot segments, and is its own normal form.
pub fn path(text: &str, rules: u8) {
    let escaped_slashes = match rules >> 1 & 3 {
        0 => EscapedSlashes::Keep,
        1 => EscapedSlashes::Reject,
        2 => EscapedSlashes::Redirect,
        _ => EscapedSlashes::Unescape,
    };
    let rules = Rules { path: true, merge_slashes: rules & 1 > 0, escaped_slashes };
    let normal = match normalize(text, rules) {
        NormalPath::Path(normal) => normal.into_owned(),
        NormalPath::Redirect(normal) => normal,
        NormalPath::Refused => return,
    };
    assert!(!normal.split('/').any(|segment| segment == "." || segment == ".."), "{text:?} → {normal:?}");
    assert!(normal.starts_with('/') || normal == "*", "{text:?} → {normal:?}");
    if escaped_slashes == EscapedSlashes::Keep {
        assert_eq!(normalize(&normal, rules), NormalPath::Path(normal.as_str().into()), "{text:?}");
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        /// A little of what the fuzz targets do for long.
        #[test]
        fn what_is_fuzzed_holds(
            text in "(/|\\.|%2|%2[eEfF]|%32|%65|[a-c;%\\\\0-9F:]|\\[|\\]|ä){0,24}",
            head in "GET /(#|é)? HTTP/1\\.1\r\n((content-length|Transfer-Encoding|x): [a-z0-9]{0,9}\r\n){0,4}(\r\n)?",
            body in "HTTP/1\\.1 (200|204|100) OK\r\n(content-length: [0-9]|transfer-encoding: chunked)\r\n\r\n([0-3]\r\n[abc]{0,3}\r\n){0,4}",
            cuts in prop::collection::vec(0_u8..40, 0..12),
            rules in any::<u8>(),
        ) {
            super::path(&text, rules);
            super::host(&text);
            super::value(text.as_bytes());
            super::head(head.as_bytes(), &cuts);
            super::response(body.as_bytes(), &cuts, rules & 1 > 0);
        }
    }
}
