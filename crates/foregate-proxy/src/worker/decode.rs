//! Responses of HTTP/1.1 as bytes: heads, and where bodies end (RFC 9112 §6.3, §7.1).

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use memchr::memchr;

/// Lines of a head.
const MOST_HEADERS: usize = 100;
/// Bytes of a head.
const LONGEST_HEAD: usize = 64 * 1024;
/// Bytes of a chunk's first line.
const LONGEST_LINE: usize = 4096;
/// Bytes of all trailers.
const LONGEST_TRAILERS: usize = 16 * 1024;

/// What came is no HTTP.
#[derive(Debug)]
pub(super) struct NoHttp;

/// A head, and what follows from it.
pub(super) struct Head {
    pub(super) response: Response<()>,
    /// Where the body ends.
    pub(super) body: Decoder,
    /// The connection can be used again after that.
    pub(super) keep: bool,
}

/// Takes a head from what has come, if it is whole; `bodiless` if the request says that there is no body (HEAD).
pub(super) fn head(input: &mut BytesMut, bodiless: bool) -> Result<Option<Head>, NoHttp> {
    loop {
        // Uninitialised, as clearing room for the most takes longer than parsing the usual head.
        let mut lines = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let status = config.parse_response_with_uninit_headers(&mut parsed, input, &mut lines);
        let length = match status.map_err(|_| NoHttp)? {
            httparse::Status::Complete(length) if length <= LONGEST_HEAD => length,
            httparse::Status::Partial if input.len() <= LONGEST_HEAD => return Ok(None),
            _ => return Err(NoHttp),
        };
        let code = parsed.code.ok_or(NoHttp)?;
        // Said on the way to the response, and to nobody but this side of the connection.
        if (100..200).contains(&code) && code != 101 {
            input.advance(length);
            continue;
        }
        let old = parsed.version == Some(0);
        let start = input.as_ptr() as usize;
        let within = |text: &[u8]| {
            let at = text.as_ptr() as usize - start;
            at..at + text.len()
        };
        // Where names and values are, in bytes that the header map's values then share.
        let spans: smallvec::SmallVec<[_; 32]> =
            parsed.headers.iter().map(|line| (within(line.name.as_bytes()), within(line.value))).collect();
        let bytes = input.split_to(length).freeze();
        let mut headers = HeaderMap::with_capacity(spans.len() + 4);
        for (name, value) in spans {
            let name = HeaderName::from_bytes(&bytes[name]).map_err(|_| NoHttp)?;
            // An empty slice has no place of its own.
            let value = if value.is_empty() { Bytes::new() } else { bytes.slice(value) };
            headers.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| NoHttp)?);
        }
        let status = StatusCode::from_u16(code).map_err(|_| NoHttp)?;
        return finish(status, headers, old, bodiless).map(Some);
    }
}

fn finish(status: StatusCode, headers: HeaderMap, old: bool, bodiless: bool) -> Result<Head, NoHttp> {
    let none = bodiless
        || matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = match (headers.contains_key(TRANSFER_ENCODING), length(&headers)?) {
        _ if none => Decoder::Length(0),
        (true, _) if old => return Err(NoHttp),
        (true, _) if is_chunked(&headers) => Decoder::Chunked(Chunk::Size),
        (true, _) | (false, None) => Decoder::Close,
        (false, Some(length)) => Decoder::Length(length),
    };
    let says = |word: &str| {
        let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    let keep = body != Decoder::Close && if old { says("keep-alive") } else { !says("close") };
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(Head { response, body, keep })
}

/// The length that the head says; several must be the same.
fn length(headers: &HeaderMap) -> Result<Option<u64>, NoHttp> {
    let mut length = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        for text in line.to_str().map_err(|_| NoHttp)?.split(',').map(str::trim) {
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(NoHttp);
            }
            let one: u64 = text.parse().map_err(|_| NoHttp)?;
            if length.is_some_and(|other| other != one) {
                return Err(NoHttp);
            }
            length = Some(one);
        }
    }
    Ok(length)
}

/// Whether the last coding is `chunked`.
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let last = last.and_then(|line| line.to_str().ok()?.rsplit(',').next());
    last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

/// Where a body ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    /// After so many more bytes.
    Length(u64),
    /// After the last chunk.
    Chunked(Chunk),
    /// With the connection.
    Close,
}

/// What comes next of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

/// What a decoder makes of what has come.
#[derive(Debug)]
pub(super) enum Decoded {
    /// A part of the body.
    Frame(Frame<Bytes>),
    /// More has to come first.
    More,
    /// The body is whole.
    End,
}

impl Decoder {
    /// Whether the body is whole.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Done))
    }

    /// The bytes that are still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(Chunk::Done) => Some(0),
            _ => None,
        }
    }

    /// Takes the next part from what has come.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Decoded, NoHttp> {
        match self {
            Self::Length(0) => Ok(Decoded::End),
            Self::Length(left) => Ok(data(left, input)),
            Self::Close if input.is_empty() => Ok(Decoded::More),
            Self::Close => Ok(Decoded::Frame(Frame::data(input.split().freeze()))),
            Self::Chunked(chunk) => chunk.next(input),
        }
    }
}

fn data(left: &mut u64, input: &mut BytesMut) -> Decoded {
    if input.is_empty() {
        return Decoded::More;
    }
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= length as u64;
    Decoded::Frame(Frame::data(input.split_to(length).freeze()))
}

impl Chunk {
    fn next(&mut self, input: &mut BytesMut) -> Result<Decoded, NoHttp> {
        loop {
            match self {
                Self::Done => return Ok(Decoded::End),
                Self::Size => {
                    let Some(end) = memchr(b'\n', input) else { return more(input, LONGEST_LINE) };
                    let size = size(&input[..end])?;
                    input.advance(end + 1);
                    *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
                }
                Self::Data(left) => {
                    let decoded = data(left, input);
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(decoded);
                }
                Self::DataEnd => {
                    if input.len() < 2 {
                        return Ok(Decoded::More);
                    }
                    if !input.starts_with(b"\r\n") {
                        return Err(NoHttp);
                    }
                    input.advance(2);
                    *self = Self::Size;
                }
                Self::Trailers => {
                    let mut lines = [httparse::EMPTY_HEADER; MOST_HEADERS];
                    let (length, lines) = match httparse::parse_headers(input, &mut lines).map_err(|_| NoHttp)? {
                        httparse::Status::Complete(parsed) => parsed,
                        httparse::Status::Partial => return more(input, LONGEST_TRAILERS),
                    };
                    let mut trailers = HeaderMap::new();
                    for line in lines {
                        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| NoHttp)?;
                        trailers.append(name, HeaderValue::from_bytes(line.value).map_err(|_| NoHttp)?);
                    }
                    input.advance(length);
                    *self = Self::Done;
                    if !trailers.is_empty() {
                        return Ok(Decoded::Frame(Frame::trailers(trailers)));
                    }
                }
            }
        }
    }
}

fn more(input: &BytesMut, longest: usize) -> Result<Decoded, NoHttp> {
    if input.len() > longest { Err(NoHttp) } else { Ok(Decoded::More) }
}

/// The size in a chunk's first line, which is without its `\n` here.
fn size(line: &[u8]) -> Result<u64, NoHttp> {
    let line = line.strip_suffix(b"\r").ok_or(NoHttp)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (text, rest) = line.split_at(digits);
    // Space before an extension is bad, but harmless.
    let rest = rest.trim_ascii_start();
    if text.is_empty() || text.len() > 16 || !(rest.is_empty() || rest.starts_with(b";")) {
        return Err(NoHttp);
    }
    let text = std::str::from_utf8(text).map_err(|_| NoHttp)?;
    u64::from_str_radix(text, 16).map_err(|_| NoHttp)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    /// A head and a body, cut into pieces of this size: status, body, trailers, whether the connection stays, what is
    /// left over. `None`: no HTTP. The end of the text is the connection's.
    fn read(text: &str, piece: usize) -> Option<(u16, String, Vec<String>, bool, String)> {
        let mut pieces = text.as_bytes().chunks(piece.max(1));
        let mut input = BytesMut::new();
        let head = loop {
            if let Some(head) = head(&mut input, false).ok()? {
                break head;
            }
            input.extend_from_slice(pieces.next()?);
        };
        let Head { response, mut body, keep } = head;
        let (mut whole, mut trailers) = (Vec::new(), Vec::new());
        loop {
            match body.next(&mut input).ok()? {
                Decoded::Frame(frame) if frame.is_data() => whole.extend_from_slice(frame.data_ref().unwrap()),
                Decoded::Frame(frame) => trailers
                    .extend(frame.trailers_ref().unwrap().iter().map(|(n, v)| format!("{n}={}", v.to_str().unwrap()))),
                Decoded::More => match pieces.next() {
                    Some(piece) => input.extend_from_slice(piece),
                    None if body == Decoder::Close => break,
                    None => return None,
                },
                Decoded::End => break,
            }
        }
        let rest: Vec<u8> = input.iter().copied().chain(pieces.flatten().copied()).collect();
        let (whole, rest) = (String::from_utf8(whole).unwrap(), String::from_utf8(rest).unwrap());
        Some((response.status().as_u16(), whole, trailers, keep, rest))
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\n";

    #[test]
    fn responses_end_where_they_say() {
        let long = format!("{HEAD}x: {}\r\n\r\n", "y".repeat(70_000));
        for (text, want) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokmore", Some((200, "ok", "", true, "more"))),
            ("HTTP/1.1 200\r\nContent-Length: 2, 2\r\n\r\nok", Some((200, "ok", "", true, ""))),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", None),
            ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok", None),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", None),
            ("HTTP/1.1 200 OK\r\n\r\nall", Some((200, "all", "", false, ""))),
            ("HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\n", Some((204, "", "", true, ""))),
            ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 0\r\n\r\n", Some((200, "", "", false, ""))),
            ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", Some((200, "", "", false, ""))),
            ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", Some((200, "", "", true, ""))),
            ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", None),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                Some((200, "", "", true, "")),
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n3;x=y\r\nabc\r\n2 \r\nde\r\n0\r\na: 1\r\nb: 2\r\n\r\nmore",
                Some((200, "abcde", "a=1,b=2", true, "more")),
            ),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nall", Some((200, "all", "", false, ""))),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", None),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\n", None),
            ("HTTP/1.1 099 No\r\n\r\n", None),
            ("HTTP/2.0 200 OK\r\n\r\n", None),
            ("HTTP/1.1 okay\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n", None),
            (&long, None),
        ] {
            for piece in [1, 2, 7, 100_000] {
                let got = read(text, piece);
                let got = got
                    .as_ref()
                    .map(|(status, body, trailers, keep, rest)| (*status, &**body, trailers.join(","), *keep, &**rest));
                let want = want.map(|(status, body, trailers, keep, rest): (_, _, &str, _, _)| {
                    (status, body, trailers.to_owned(), keep, rest)
                });
                assert_eq!(got, want, "{}", &text[..text.len().min(200)]);
            }
        }
    }

    #[test]
    fn names_and_values_come_as_they_were() {
        let mut input = BytesMut::from("HTTP/1.1 404 Not\r\nX-One: a b \r\nx-two:\r\nx-one: c\r\n\r\n");
        let head = head(&mut input, true).unwrap().unwrap();
        let headers: Vec<_> = head.response.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(headers, [("x-one", "a b"), ("x-one", "c"), ("x-two", "")]);
        assert!(head.body.is_done() && input.is_empty());
    }

    proptest! {
        /// However a body is chunked and cut, it comes out as it was.
        #[test]
        fn chunks_come_out_whole(parts in prop::collection::vec("[a-z]{1,40}", 0..8), piece in 1_usize..50) {
            let mut text = format!("{HEAD}transfer-encoding: chunked\r\n\r\n");
            for part in &parts {
                text.push_str(&format!("{:x}\r\n{part}\r\n", part.len()));
            }
            text.push_str("0\r\n\r\nnext");
            let want = Some((200, parts.concat(), Vec::new(), true, "next".to_owned()));
            prop_assert_eq!(read(&text, piece), want);
        }

        /// Nothing that comes makes it panic or hang.
        #[test]
        fn anything_may_come(text in "[ -~\r\n]{0,200}", piece in 1_usize..50) {
            let _ = read(&text, piece);
            let _ = read(&format!("{HEAD}{text}"), piece);
            let _ = read(&format!("{HEAD}transfer-encoding: chunked\r\n\r\n{text}"), piece);
        }
    }
}
