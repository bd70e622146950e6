//! What is refused before anything is done with a request, as Envoy refuses it.

use http::{Method, Request, StatusCode, Version, header};
use hyper::body::Incoming;

use super::exchange::Flag;
use super::framing::Framing;
use super::local::LocalReply;
use super::service::Session;
use crate::config::hcm::HttpOptions;

/// What the bytes of the head show. HTTP/2 has its own rules, which its parser keeps.
pub(super) fn check_head(
    session: &Session,
    options: &HttpOptions,
    framing: Framing,
    request: &Request<Incoming>,
) -> Result<(), LocalReply> {
    let reply = if framing.is_ambiguous() || has_two_lengths(request) {
        LocalReply::bad_request("more than one line says where the body ends")
    } else if framing.has_odd_target() {
        LocalReply::bad_request("the target has a fragment, or bytes that must be encoded")
    } else if framing.size() > options.max_header_bytes {
        LocalReply::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large", Flag::Dpe)
    } else if has_other_codings(request) {
        LocalReply::new(StatusCode::NOT_IMPLEMENTED, "transfer codings other than chunked", Flag::Dpe)
    } else {
        return Ok(());
    };
    session.connection.listener.stats.bad_requests.inc();
    Err(reply.and_close())
}

/// In HTTP/2, whose heads nobody looks over as they are read.
fn has_two_lengths(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_2 && request.headers().get_all(header::CONTENT_LENGTH).iter().nth(1).is_some()
}

/// Codings that an endpoint might undo and we don't, or the other way round.
fn has_other_codings(request: &Request<Incoming>) -> bool {
    let coding = request.headers().get(header::TRANSFER_ENCODING);
    coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// The form of the target: a path, or a URL of HTTP; `*` for OPTIONS alone, a mere authority for CONNECT alone.
pub(super) fn check_target(tls: bool, request: &Request<Incoming>) -> Result<(), LocalReply> {
    let uri = request.uri();
    let http2 = request.version() == Version::HTTP_2;
    if *request.method() == Method::CONNECT {
        // In HTTP/2 it may be the beginning of another protocol, which has a path.
        let ok = http2 || uri.authority().is_some();
        return if ok { Ok(()) } else { Err(LocalReply::bad_request("CONNECT is to a host and its port")) };
    }
    match uri.scheme_str() {
        Some("http") | None => {}
        Some("") => return Err(LocalReply::bad_request("the scheme is empty")),
        // `:scheme` may be anything (RFC 9113 §8.3.1).
        Some(_) if http2 => {}
        Some("https") if tls => {}
        // Who says so is wrong about the connection.
        Some("https") => {
            return Err(LocalReply::new(StatusCode::FORBIDDEN, "the connection is not one of https", Flag::Dpe));
        }
        Some(_) => return Err(LocalReply::bad_request("the target is no URL of HTTP")),
    }
    // A URL without a path has `/`.
    let path = uri.path();
    if path.starts_with('/') || path == "*" && *request.method() == Method::OPTIONS {
        return Ok(());
    }
    Err(LocalReply::bad_request("the target is no path"))
}

/// Whether every byte may be in a host with its port. A user's name isn't part of one (RFC 9110 §4.2.4).
pub(super) fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(byte))
}

/// A host without what stands behind its last colon, be it a port or not; the colons of an IPv6 address in brackets
/// aren't meant.
pub(super) fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (host, valid) in [
            ("a.example.com:80", true),
            ("[::1]:80", true),
            ("a_b~", true),
            ("a b", false),
            ("a/b", false),
            ("a@b", false),
            ("\"a\"", false),
            ("\u{e4}", false),
        ] {
            assert_eq!(is_host(host.as_bytes()), valid, "{host}");
        }
        for (authority, host) in [
            ("a", "a"),
            ("a:80", "a"),
            ("a:", "a"),
            ("a:x", "a"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
            (":80", ""),
        ] {
            assert_eq!(without_port(authority), host, "{authority}");
        }
    }
}
