//! The beginning of a TLS connection, looked at without taking it: which name does the client ask for?
//!
//! What is looked at stays in the kernel's buffer, so that whoever speaks with the client afterwards, here or at an
//! endpoint, reads it as if nobody had been there.

use std::cell::RefCell;
use std::io;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// No client hello is longer, records' headers included; Envoy's bound.
pub(super) const LONGEST: usize = 16 * 1024;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First {
    /// A client hello, and the name that it asks for.
    Hello(Option<Box<str>>),
    /// Something else.
    Other,
    /// More has to come to know.
    Unclear,
    /// A client hello beyond all bounds.
    TooLong,
}

/// Waits for the client hello. `None`: the connection ended before it was clear what it is.
pub(super) async fn peek(stream: &TcpStream, scratch: &RefCell<Box<[u8]>>) -> io::Result<Option<First>> {
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let looked = stream.try_io(Interest::READABLE, || {
            let mut scratch = scratch.borrow_mut();
            let scratch = &mut scratch[..LONGEST];
            let seen = rustix::net::recv(stream, &mut *scratch, rustix::net::RecvFlags::PEEK)?.0;
            match first(&scratch[..seen]) {
                First::Unclear if seen == LONGEST => Ok(Some(First::TooLong)),
                First::Unclear if seen == 0 || ready.is_read_closed() => Ok(None),
                // Waits for more than there is: the kernel tells of every segment that comes.
                First::Unclear => Err(io::ErrorKind::WouldBlock.into()),
                clear => Ok(Some(clear)),
            }
        });
        match looked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

/// Says what the first bytes of a connection are (RFC 8446 §4.1.2 and §5.1, RFC 6066 §3).
pub fn first(bytes: &[u8]) -> First {
    let mut assembled = Vec::new();
    let mut rest = bytes;
    loop {
        let (payload, after) = match record(rest) {
            Record::Whole(payload, after) => (payload, Some(after)),
            Record::Part(payload) => (payload, None),
            Record::Bad => return First::Other,
        };
        // One record is the rule: nothing is copied then.
        let single = assembled.is_empty();
        if !single {
            assembled.extend_from_slice(payload);
        }
        match message(if single { payload } else { &assembled }) {
            First::Unclear => {}
            clear => return clear,
        }
        let Some(after) = after else { return First::Unclear };
        if single {
            assembled.extend_from_slice(payload);
        }
        rest = after;
    }
}

enum Record<'a> {
    /// Its payload, and what follows.
    Whole(&'a [u8], &'a [u8]),
    /// What there is of its payload.
    Part(&'a [u8]),
    /// Not one of a handshake.
    Bad,
}

fn record(bytes: &[u8]) -> Record<'_> {
    let head = [Some(22), Some(3), None];
    if bytes.iter().zip(head).any(|(byte, want)| want.is_some_and(|want| want != *byte)) {
        return Record::Bad;
    }
    let [_, _, _, high, low, payload @ ..] = bytes else { return Record::Part(&[]) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    match payload.split_at_checked(length) {
        _ if length == 0 || length > 16 * 1024 => Record::Bad,
        Some((payload, after)) => Record::Whole(payload, after),
        None => Record::Part(payload),
    }
}

/// What a handshake message is of which this much is there.
fn message(bytes: &[u8]) -> First {
    if bytes.first().is_some_and(|kind| *kind != 1) {
        return First::Other;
    }
    let [_, a, b, c, body @ ..] = bytes else { return First::Unclear };
    let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
    if length > LONGEST {
        return First::TooLong;
    }
    match body.get(..length) {
        Some(body) => name_in(body).map_or(First::Other, First::Hello),
        None => First::Unclear,
    }
}

/// The name that a client hello asks for; `None`: it isn't well-formed.
fn name_in(body: &[u8]) -> Option<Option<Box<str>>> {
    let mut body = Reader(body);
    body.take(2 + 32)?;
    body.vector8()?;
    let suites = body.vector16()?;
    let compressions = body.vector8()?;
    if suites.0.is_empty() || !suites.0.len().is_multiple_of(2) || compressions.0.is_empty() {
        return None;
    }
    if body.0.is_empty() {
        return Some(None);
    }
    let mut extensions = body.vector16()?;
    if !body.0.is_empty() {
        return None;
    }
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let content = extensions.vector16()?;
        if kind == 0 {
            if name.is_some() {
                return None;
            }
            name = Some(host_name(content)?);
        }
    }
    Some(name)
}

fn host_name(mut extension: Reader<'_>) -> Option<Box<str>> {
    let mut list = extension.vector16()?;
    let kind = list.take(1)?[0];
    let name = list.vector16()?.0;
    // The list has one entry, as there is one kind of name.
    if kind != 0 || !list.0.is_empty() || !extension.0.is_empty() || name.is_empty() || name.len() > 255 {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?;
    name.bytes().all(|byte| byte.is_ascii_graphic()).then(|| name.into())
}

/// Reads TLS' presentation language (RFC 8446 §3).
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn vector8(&mut self) -> Option<Reader<'a>> {
        let length = usize::from(self.take(1)?[0]);
        self.take(length).map(Reader)
    }

    fn vector16(&mut self) -> Option<Reader<'a>> {
        let length = usize::from(self.number()?);
        self.take(length).map(Reader)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    /// What rustls' client says first.
    fn hello(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
        let mut out = Vec::new();
        client.write_tls(&mut out).unwrap();
        out
    }

    /// The same in records of at most this many bytes.
    fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
        let parts = hello[5..].chunks(size);
        parts.flat_map(|part| [&[22, 3, 1, 0, u8::try_from(part.len()).unwrap()][..], part].concat()).collect()
    }

    #[test]
    fn names_are_found() {
        let named = First::Hello(Some("a.example.com".into()));
        let whole = hello("a.example.com");
        assert_eq!(first(&whole), named);
        assert_eq!(first(&[&whole[..], b"more"].concat()), named);
        assert_eq!(first(&hello("192.0.2.1")), First::Hello(None), "addresses aren't asked for by name");
        for size in [1, 2, 3, 5, 100, 255] {
            assert_eq!(first(&in_records(&whole, size)), named, "records of {size} bytes");
        }
    }

    #[test]
    fn every_beginning_is_unclear() {
        let whole = hello("a.example.com");
        for bytes in [whole.clone(), in_records(&whole, 7)] {
            for cut in 0..bytes.len() {
                assert_eq!(first(&bytes[..cut]), First::Unclear, "{cut} of {}", bytes.len());
            }
        }
    }

    #[test]
    fn other_protocols() {
        let long = [&[22, 3, 1, 64, 0, 1, 1, 0, 0][..], &[0; 100]].concat();
        let rows: [(&[u8], First); 9] = [
            (b"GET / HTTP/1.1\r\n", First::Other),
            (b"SSH-2.0-x\r\n", First::Other),
            (&[22], First::Unclear),
            (&[22, 2], First::Other),
            (&[22, 3, 3, 0, 0], First::Other),
            (&[22, 3, 1, 255, 255], First::Other),
            (&[22, 3, 1, 0, 4, 2, 0, 0, 0], First::Other),
            (&[22, 3, 1, 0, 4, 1, 0, 0, 0], First::Other),
            (&long, First::TooLong),
        ];
        for (bytes, want) in rows {
            assert_eq!(first(bytes), want, "{bytes:?}");
        }
    }

    #[test]
    fn names_that_are_none() {
        let whole = hello("a.example.com");
        let at = whole.windows(13).position(|part| part == b"a.example.com").unwrap();
        for byte in [0, b' ', 0xff] {
            let mut bad = whole.clone();
            bad[at + 1] = byte;
            assert_eq!(first(&bad), First::Other, "{byte}");
        }
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(
            at in any::<prop::sample::Index>(),
            byte: u8,
            size in 1..300_usize,
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = in_records(&hello("a.example.com"), size.min(255));
            let place = at.index(bytes.len());
            bytes[place] = byte;
            bytes.truncate(cut.index(bytes.len()).max(bytes.len() / 2));
            super::super::fuzz::hello(&bytes);
        }
    }
}
