//! What is hardly HTTP, or not at all.

use crate::case::{Case, raw};

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, bytes) in [
        ("one word", "GARBAGE\r\n\r\n"),
        ("two words", "GET /\r\n\r\n"),
        ("four words", "GET / HTTP/1.1 x\r\nhost: error.test\r\n\r\n"),
        ("an unknown version", "GET / HTTP/1.2\r\nhost: error.test\r\n\r\n"),
        ("version 2", "GET / HTTP/2.0\r\nhost: error.test\r\n\r\n"),
        ("version 0.9", "GET / HTTP/0.9\r\nhost: error.test\r\n\r\n"),
        ("version in lower case", "GET / http/1.1\r\nhost: error.test\r\n\r\n"),
        ("another protocol", "GET / SIP/2.0\r\nhost: error.test\r\n\r\n"),
        ("version without number", "GET / HTTP/\r\nhost: error.test\r\n\r\n"),
        ("two spaces", "GET  /  HTTP/1.1\r\nhost: error.test\r\n\r\n"),
        ("tabs", "GET\t/\tHTTP/1.1\r\nhost: error.test\r\n\r\n"),
        ("space first", " GET / HTTP/1.1\r\nhost: error.test\r\n\r\n"),
        ("space last", "GET / HTTP/1.1 \r\nhost: error.test\r\n\r\n"),
        ("LF only", "GET / HTTP/1.1\nhost: error.test\n\n"),
        ("CR only", "GET / HTTP/1.1\rhost: error.test\r\r"),
        ("LF in the middle", "GET / HTTP/1.1\r\nhost: error.test\nx-a: 1\r\n\r\n"),
        ("CR in a value", "GET / HTTP/1.1\r\nhost: error.test\r\nx-a: 1\r2\r\n\r\n"),
        ("NUL in a value", "GET / HTTP/1.1\r\nhost: error.test\r\nx-a: 1\u{0}2\r\n\r\n"),
        ("NUL in a name", "GET / HTTP/1.1\r\nhost: error.test\r\nx\0a: 1\r\n\r\n"),
        ("control character in a value", "GET / HTTP/1.1\r\nhost: error.test\r\nx-a: 1\u{1}2\r\n\r\n"),
        ("DEL in a value", "GET / HTTP/1.1\r\nhost: error.test\r\nx-a: 1\u{7f}2\r\n\r\n"),
        ("space before the colon", "GET / HTTP/1.1\r\nhost: error.test\r\nx-a : 1\r\n\r\n"),
        ("space in a name", "GET / HTTP/1.1\r\nhost: error.test\r\nx a: 1\r\n\r\n"),
        ("no colon", "GET / HTTP/1.1\r\nhost: error.test\r\nx-a\r\n\r\n"),
        ("no name", "GET / HTTP/1.1\r\nhost: error.test\r\n: 1\r\n\r\n"),
        ("a folded value", "GET / HTTP/1.1\r\nhost: error.test\r\nx-a: 1\r\n 2\r\n\r\n"),
        ("a fold at the beginning", "GET / HTTP/1.1\r\n host: error.test\r\n\r\n"),
        ("a folded tab", "GET / HTTP/1.1\r\nhost: error.test\r\nx-a: 1\r\n\t2\r\n\r\n"),
        ("name of UTF-8", "GET / HTTP/1.1\r\nhost: error.test\r\nx-\u{e9}: 1\r\n\r\n"),
        ("parentheses in a name", "GET / HTTP/1.1\r\nhost: error.test\r\nx(a): 1\r\n\r\n"),
        ("quotes in a name", "GET / HTTP/1.1\r\nhost: error.test\r\n\"x\": 1\r\n\r\n"),
        ("slash in a name", "GET / HTTP/1.1\r\nhost: error.test\r\nx/a: 1\r\n\r\n"),
        ("a TLS hello", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n"),
        ("SSH", "SSH-2.0-OpenSSH_9\r\n\r\n"),
        ("SMTP", "EHLO x\r\n\r\n"),
        ("empty lines", "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: error.test\r\n\r\n"),
        ("LFs first", "\n\nGET / HTTP/1.1\r\nhost: error.test\r\n\r\n"),
        ("NULs first", "\0\0GET / HTTP/1.1\r\nhost: error.test\r\n\r\n"),
        ("a response", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        ("an empty target", "GET  HTTP/1.1\r\nhost: error.test\r\n\r\n"),
        ("a header with only a space", "GET / HTTP/1.1\r\nhost: error.test\r\nx-a: \r\n\r\n"),
        ("a PROXY header", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nhost: error.test\r\n\r\n"),
    ] {
        all.push(raw(name, bytes));
    }
    all.push(raw("bytes above 127", [0x80_u8, 0xff, 0xfe, b'\r', b'\n', b'\r', b'\n']));
    all
}
