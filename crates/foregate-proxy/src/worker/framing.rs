//! What is to be refused in a head, and can't be seen any more when it has been parsed.
//!
//! A request with both `content-length` and `transfer-encoding`, or with two of one of them, is the sign of somebody
//! who wants two proxies to disagree; hyper drops one and goes on, so what is passed on is unambiguous in any case. A
//! fragment is dropped as well. So heads are looked over as they are read.

use memchr::memchr;

/// So much of a line's beginning is looked at: the longer name and what comes behind it.
const LOOK: usize = 18;
/// No line is open: the rest of this one isn't of interest.
const NONE: u8 = u8::MAX;

/// What a head has in it, as far as it has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Framing {
    /// Lines that say where the body ends.
    ends: u8,
    /// A fragment, or bytes beyond ASCII, in the first line.
    odd: bool,
    /// The first line is over.
    second: bool,
    /// Bytes so far.
    size: u32,
    begun: bool,
    over: bool,
    /// The beginning of a line of which more is to come.
    line: [u8; LOOK],
    open: u8,
}

impl Default for Framing {
    fn default() -> Self {
        Self { ends: 0, odd: false, second: false, size: 0, begun: false, over: false, line: [0; LOOK], open: NONE }
    }
}

impl Framing {
    /// Looks at more bytes of a head, and of what follows it.
    #[inline]
    pub(super) fn read(mut self, mut bytes: &[u8]) -> Self {
        if self.over {
            return self;
        }
        // Empty lines before a request's first line are none of it.
        while !self.begun
            && let [b'\r' | b'\n', rest @ ..] = bytes
        {
            bytes = rest;
        }
        self.begun |= !bytes.is_empty();
        let all = bytes.len();
        if !self.second {
            let end = memchr(b'\n', bytes);
            let line = &bytes[..end.unwrap_or(all)];
            self.odd |= line.iter().any(|byte| *byte == b'#' || !byte.is_ascii());
            self.second = end.is_some();
            // A client that doesn't wait for answers may have sent the beginning of this head before: then what comes
            // first now is the rest of some other line.
            self.odd &= !self.second || may_end_a_request_line(line);
        }
        if self.open != NONE && !self.go_on(bytes) {
            self.size = self.size.saturating_add(all as u32);
            return self;
        }
        while !self.over
            && let Some(end) = memchr(b'\n', bytes)
        {
            bytes = &bytes[end + 1..];
            if bytes.len() < LOOK && memchr(b'\n', bytes).is_none() {
                self.line[..bytes.len()].copy_from_slice(bytes);
                self.open = bytes.len() as u8;
                break;
            }
            self.judge(bytes);
        }
        // Of a head's last bytes only those up to its end; what follows is the body, or the next head.
        let read = if self.over { all - bytes.len() } else { all };
        self.size = self.size.saturating_add(read as u32);
        self
    }

    /// Adds to the open line; whether enough of it is there now.
    #[cold]
    fn go_on(&mut self, bytes: &[u8]) -> bool {
        let have = usize::from(self.open);
        let end = memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1).min(LOOK - have);
        self.line[have..have + end].copy_from_slice(&bytes[..end]);
        let line = self.line;
        let line = &line[..have + end];
        if line.len() < LOOK && line.last() != Some(&b'\n') {
            self.open = line.len() as u8;
            return false;
        }
        self.open = NONE;
        self.judge(line);
        true
    }

    fn judge(&mut self, line: &[u8]) {
        match line.first() {
            Some(b'c' | b'C') if begins(line, b"content-length") => self.ends = self.ends.saturating_add(1),
            Some(b't' | b'T') if begins(line, b"transfer-encoding") => self.ends = self.ends.saturating_add(1),
            // An empty line: the head is over.
            Some(b'\r' | b'\n') => self.over = true,
            _ => {}
        }
    }

    /// More than one line says where the body ends.
    pub(super) fn is_ambiguous(self) -> bool {
        self.ends > 1
    }

    /// The target has a fragment, which is nobody's business but the client's, or isn't ASCII.
    pub(super) fn has_odd_target(self) -> bool {
        self.odd
    }

    /// Bytes of the head, about.
    pub(super) fn size(self) -> usize {
        self.size as usize
    }
}

fn may_end_a_request_line(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.last_chunk::<8>().is_none_or(|version| version.starts_with(b"HTTP/1."))
}

fn begins(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name))
        && matches!(line.get(name.len()), Some(b':' | b' ' | b'\t'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADS: [(&str, bool); 9] = [
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", true),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n", true),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", true),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nhost: a\r\nCONTENT-LENGTH: 1\r\n\r\n", true),
        ("\r\n\r\nPOST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", true),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\ncontent-length: 1\r\n", false),
        ("POST / HTTP/1.1\r\ntransfer-encodings: x\r\ncontent-length: 1\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", false),
        ("", false),
    ];

    #[test]
    fn both_are_seen_in_the_head_only() {
        for (text, want) in HEADS {
            assert_eq!(Framing::default().read(text.as_bytes()).is_ambiguous(), want, "{text}");
        }
    }

    #[test]
    fn targets_and_sizes() {
        for (text, odd, size) in [
            ("GET /#x HTTP/1.1\r\nhost: a\r\n\r\nbody", true, 27),
            ("GET /\u{e4} HTTP/1.1\r\n\r\n", true, 18),
            ("\r\nGET / HTTP/1.1\r\nx: #\r\n\r\n", false, 22),
            ("or: the rest of #ffffff\r\nx: 1\r\n\r\n", false, 31),
        ] {
            let framing = Framing::default().read(text.as_bytes());
            assert_eq!((framing.has_odd_target(), framing.size()), (odd, size), "{text}");
        }
    }

    proptest! {
        #[test]
        fn however_the_bytes_come(cuts in prop::collection::vec(0_usize..100, 0..12)) {
            for (text, want) in HEADS {
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
                cuts.extend([0, text.len()]);
                cuts.sort_unstable();
                let framing =
                    cuts.windows(2).fold(Framing::default(), |framing, cut| framing.read(&text.as_bytes()[cut[0]..cut[1]]));
                prop_assert_eq!(framing.is_ambiguous(), want, "{} cut at {:?}", text, cuts);
                let whole = Framing::default().read(text.as_bytes());
                // The empty line at the end may have been counted in part.
                prop_assert!(framing.size().abs_diff(whole.size()) <= 2, "{} cut at {:?}", text, cuts);
            }
        }
    }
}
