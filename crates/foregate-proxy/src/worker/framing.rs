//! Requests with both `content-length` and `transfer-encoding`: the sign of somebody who wants two proxies to disagree.
//!
//! hyper drops the length and goes on, so what is passed on is unambiguous in any case; but such a request is to be
//! refused, and after parsing nothing shows that there was a length. So heads are looked over as they are read.

use memchr::memchr;

/// How a head says where its body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Framing {
    length: bool,
    encoding: bool,
}

impl Framing {
    /// What bytes of a head (or of all of it, and a body) say.
    #[inline]
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut framing = Self::default();
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            rest = &rest[end + 1..];
            match rest.first() {
                Some(b'c' | b'C') => framing.length |= begins(rest, b"content-length"),
                Some(b't' | b'T') => framing.encoding |= begins(rest, b"transfer-encoding"),
                // An empty line: the head is over.
                Some(b'\r' | b'\n') | None => break,
                Some(_) => {}
            }
        }
        framing
    }

    pub(super) fn and(self, more: Self) -> Self {
        Self { length: self.length || more.length, encoding: self.encoding || more.encoding }
    }

    pub(super) fn is_ambiguous(self) -> bool {
        self.length && self.encoding
    }
}

fn begins(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name))
        && matches!(line.get(name.len()), Some(b':' | b' ' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_seen_in_the_head_only() {
        for (text, want) in [
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", true),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nhost: a\r\nCONTENT-LENGTH: 1\r\n\r\n", true),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\ncontent-length: 1\r\n", false),
            ("POST / HTTP/1.1\r\ntransfer-encodings: x\r\ncontent-length: 1\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", false),
            ("", false),
        ] {
            assert_eq!(Framing::of(text.as_bytes()).is_ambiguous(), want, "{text}");
        }
        assert!(Framing::of(b"\ncontent-length: 1").and(Framing::of(b"\ntransfer-encoding: chunked")).is_ambiguous());
    }
}
