//! A request's head on its way through: hop-by-hop headers, what proxies add, names of hosts.

use std::fmt::Write;
use std::net::IpAddr;

use http::header::{self, HeaderMap};
use http::{HeaderName, HeaderValue};

use super::body::Waiting;
use super::connection::ConnectionState;
use super::local::LocalReply;
use super::redirect::split_port;
use super::upgrade::Asked;
use crate::config::hcm::{HttpOptions, ServerHeader, StripPort, Underscores};

pub(super) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) static X_ENVOY_ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
pub(super) static X_ENVOY_EXPECTED_RQ_TIMEOUT_MS: HeaderName =
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
pub(super) static X_ENVOY_UPSTREAM_SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
pub(super) static X_ENVOY_OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
pub(super) static X_ENVOY_ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
static X_ENVOY_EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
static X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// About so many headers are added to a request.
const ADDED: usize = 6;

/// What one look over the names finds.
#[derive(Default)]
struct Found {
    connection: bool,
    hop_by_hop: bool,
    expect: bool,
    envoy: bool,
    underscore: bool,
    forwarded_for: bool,
    client_cert: bool,
    request_id: bool,
}

fn look(headers: &HeaderMap) -> Found {
    let mut found = Found::default();
    for name in headers.keys() {
        match name.as_str() {
            "connection" => found.connection = true,
            "keep-alive" | "proxy-connection" | "te" | "transfer-encoding" | "upgrade" => found.hop_by_hop = true,
            "expect" => found.expect = true,
            "x-forwarded-for" => found.forwarded_for = true,
            "x-forwarded-client-cert" => found.client_cert = true,
            "x-request-id" => found.request_id = true,
            other => {
                found.envoy |= other.starts_with("x-envoy-");
                found.underscore |= other.as_bytes().contains(&b'_');
            }
        }
    }
    found
}

/// Whether a request is one of gRPC, by its content type (`application/grpc-web` is not).
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let rest = value.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
    })
}

/// HTTP/2 may split cookies for better compression; everybody else gets them as one (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

/// What is known of a request after its head has been taken in.
pub(super) struct Taken {
    /// The protocol that it wants to change to.
    pub(super) upgrade: Option<Asked>,
    /// Its body, where somebody had to be told of it.
    pub(super) waiting: Option<Box<Waiting>>,
}

/// Takes a request's head in: removes what is for this connection only, adds what proxies add.
pub(super) fn take_in(
    headers: &mut HeaderMap,
    connection: &ConnectionState,
    options: &HttpOptions,
) -> Result<Taken, LocalReply> {
    let found = look(headers);
    // Room for what is added here, at once instead of bit by bit.
    headers.reserve(ADDED);
    if found.underscore {
        underscores(headers, options.underscores)?;
    }
    let mut upgrade = None;
    if found.connection {
        let tokens = connection_tokens(headers);
        if tokens.telling {
            // Who names what proxies tell each other wants it gone behind their back.
            return Err(LocalReply::bad_request("connection names a header that isn't for the connection"));
        }
        upgrade = tokens.upgrade.then(|| Asked::by_headers(headers)).flatten();
    }
    if found.hop_by_hop {
        remove_hop_by_hop(headers);
    }
    if found.expect && headers[header::EXPECT].as_bytes().eq_ignore_ascii_case(b"100-continue") {
        // Answered here, when the body is first asked for. Other expectations are the endpoint's.
        headers.remove(header::EXPECT);
    }
    if found.client_cert {
        // Nobody may speak for a certificate that they don't have: Envoy's default, SANITIZE.
        headers.remove(&X_FORWARDED_CLIENT_CERT);
    }
    let edge = options.use_remote_address && options.trusted_hops == 0;
    if found.envoy && options.use_remote_address {
        drop_envoy_headers(headers);
    }
    forwarded(headers, connection, options, found.forwarded_for);
    if edge && !options.suppress_envoy_headers {
        headers.insert(X_ENVOY_EXTERNAL_ADDRESS.clone(), connection.remote_text.clone());
    }
    if options.generate_request_id
        && (!found.request_id || (options.use_remote_address && !options.preserve_request_id))
    {
        headers.insert(X_REQUEST_ID.clone(), request_id());
    }
    if let Some(via) = &options.via {
        headers.append(header::VIA, via.clone());
    }
    Ok(Taken { upgrade, waiting: None })
}

fn underscores(headers: &mut HeaderMap, action: Underscores) -> Result<(), LocalReply> {
    match action {
        Underscores::Allow => Ok(()),
        Underscores::Reject => Err(LocalReply::bad_request("header names must not hold underscores")),
        Underscores::Drop => {
            let names: Vec<HeaderName> = headers.keys().filter(|n| n.as_str().contains('_')).cloned().collect();
            for name in names {
                headers.remove(name);
            }
            Ok(())
        }
    }
}

/// What `connection` names, beyond what has been removed with it.
#[derive(Clone, Copy, Default)]
struct Tokens {
    upgrade: bool,
    /// Something of [`TELLING`].
    telling: bool,
}

/// Removes `connection` and what it names but `upgrade`, and what isn't for the connection.
fn connection_tokens(headers: &mut HeaderMap) -> Tokens {
    let values: Vec<HeaderValue> = headers.get_all(header::CONNECTION).iter().cloned().collect();
    headers.remove(header::CONNECTION);
    let mut tokens = Tokens::default();
    for token in values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let token = token.trim();
        if token.eq_ignore_ascii_case("upgrade") {
            tokens.upgrade = true;
        } else if TELLING.iter().any(|name| token.eq_ignore_ascii_case(name)) {
            tokens.telling = true;
        } else if !is_end_to_end(token)
            && let Ok(name) = HeaderName::try_from(token)
        {
            headers.remove(name);
        }
    }
    tokens
}

/// What a request is about, and where it comes from.
const TELLING: [&str; 4] = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// What a client must not be able to have removed by naming it in `connection`.
fn is_end_to_end(token: &str) -> bool {
    [
        // Brought into its own form.
        "te",
        "x-request-id",
        "content-length",
        "cookie",
        "authorization",
    ]
    .iter()
    .any(|name| token.eq_ignore_ascii_case(name))
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(te) = headers.remove(header::TE)
        && te.as_bytes().split(|byte| *byte == b',').any(|way| way.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &header::TRANSFER_ENCODING, &header::UPGRADE] {
        headers.remove(name);
    }
}

/// What Envoys say to each other isn't believed from outside.
fn drop_envoy_headers(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|n| n.as_str().starts_with("x-envoy-")).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn forwarded(headers: &mut HeaderMap, connection: &ConnectionState, options: &HttpOptions, known: bool) {
    let scheme = HeaderValue::from_static(if connection.tls { "https" } else { "http" });
    if options.use_remote_address {
        if !options.skip_xff_append {
            append_forwarded_for(headers, &connection.remote_text, known);
        }
        if options.trusted_hops == 0 {
            headers.insert(X_FORWARDED_PROTO.clone(), scheme);
        } else {
            headers.entry(X_FORWARDED_PROTO.clone()).or_insert(scheme);
        }
    } else {
        headers.entry(X_FORWARDED_PROTO.clone()).or_insert(scheme);
    }
    if options.append_x_forwarded_port {
        headers.entry(X_FORWARDED_PORT.clone()).or_insert_with(|| HeaderValue::from(connection.local.port()));
    }
}

fn append_forwarded_for(headers: &mut HeaderMap, own: &HeaderValue, known: bool) {
    if !known {
        headers.insert(X_FORWARDED_FOR.clone(), own.clone());
        return;
    }
    let mut joined = Vec::with_capacity(64);
    for value in headers.get_all(&X_FORWARDED_FOR).iter().filter(|value| !value.is_empty()) {
        joined.extend_from_slice(value.as_bytes());
        joined.push(b',');
    }
    joined.extend_from_slice(own.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(X_FORWARDED_FOR.clone(), value);
    }
}

/// A random UUID (RFC 9562, version 4).
fn request_id() -> HeaderValue {
    let bits: u128 = rand::random();
    let bits = bits & !(0xf000 << 64) & !(0xc000 << 48) | 0x4000 << 64 | 0x8000 << 48;
    let mut text = [b'-'; 36];
    let mut shift = 128;
    for (at, byte) in text.iter_mut().enumerate() {
        if !matches!(at, 8 | 13 | 18 | 23) {
            shift -= 4;
            *byte = b"0123456789abcdef"[(bits >> shift) as usize & 15];
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// The host as routes see it: in lower case, ports and dots cut off as the options say. `true`: the `host` header is to
/// say the same.
pub(super) fn host_of(authority: &str, connection: &ConnectionState, options: &HttpOptions) -> Option<String> {
    let (host, port) = split_port(authority);
    let strip = match (options.strip_port, port) {
        (StripPort::Never, _) | (_, None) => false,
        (StripPort::Any, Some(_)) => true,
        (StripPort::Matching, Some(port)) => port.parse() == Ok(connection.local.port()),
    };
    let dotted = options.strip_trailing_dot && host.ends_with('.');
    if !strip && !dotted {
        return None;
    }
    let mut out = host.strip_suffix('.').filter(|_| dotted).unwrap_or(host).to_owned();
    if let Some(port) = port.filter(|_| !strip) {
        let _ = write!(out, ":{port}");
    }
    Some(out)
}

/// The client's address as the trusted proxies before this one tell it; `None`: they don't, the peer is the client. The
/// headers are as [`take_in`] left them.
pub(super) fn client_address(headers: &HeaderMap, options: &HttpOptions) -> Option<IpAddr> {
    let own = usize::from(options.use_remote_address && !options.skip_xff_append);
    let trusted = match (options.use_remote_address, options.trusted_hops as usize) {
        (true, 0) => return None,
        (true, hops) => hops,
        // Whoever wrote the last line is trusted.
        (false, hops) => hops + 1,
    };
    let mut values = headers.get_all(&X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = values.by_ref().flat_map(|value| value.split(',')).map(str::trim).collect();
    all.len().checked_sub(own + trusted).and_then(|at| all.get(at)?.parse().ok())
}

/// Brings an endpoint's response head into the form for the client.
pub(super) fn clean_response(headers: &mut HeaderMap) {
    let mut hop_by_hop = false;
    for name in headers.keys() {
        hop_by_hop |=
            matches!(name.as_str(), "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade");
    }
    if hop_by_hop {
        connection_tokens(headers);
        remove_hop_by_hop(headers);
    }
}

/// The `server` header, as the options say.
pub(super) fn server_header(headers: &mut HeaderMap, options: &HttpOptions) {
    match options.server_header {
        ServerHeader::Overwrite => {
            headers.insert(header::SERVER, options.server_name.clone());
        }
        ServerHeader::IfAbsent => {
            headers.entry(header::SERVER).or_insert_with(|| options.server_name.clone());
        }
        ServerHeader::Keep => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn request_ids_are_uuids() {
        let id = request_id();
        let id = id.to_str().unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        assert_ne!(request_id(), request_id());
    }

    #[test]
    fn client_addresses() {
        let mut options = HttpOptions::for_test();
        for (remote, hops, skip, told, want) in [
            (true, 0, false, "1.1.1.1,9.9.9.9", None),
            (true, 1, false, "1.1.1.1,2.2.2.2,9.9.9.9", Some("2.2.2.2")),
            (true, 2, false, "1.1.1.1, 2.2.2.2,9.9.9.9", Some("1.1.1.1")),
            (true, 3, false, "1.1.1.1,2.2.2.2,9.9.9.9", None),
            (true, 1, true, "1.1.1.1,2.2.2.2", Some("2.2.2.2")),
            (false, 0, false, "1.1.1.1,2.2.2.2", Some("2.2.2.2")),
            (false, 1, false, "1.1.1.1,2.2.2.2", Some("1.1.1.1")),
            (false, 0, false, "unknown", None),
        ] {
            (options.use_remote_address, options.trusted_hops, options.skip_xff_append) = (remote, hops, skip);
            let mut headers = HeaderMap::new();
            headers.insert(X_FORWARDED_FOR.clone(), HeaderValue::from_static(told));
            assert_eq!(client_address(&headers, &options), want.map(|ip| ip.parse().unwrap()), "{told}");
        }
    }

    #[test]
    fn hop_by_hop_headers_stay_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine, upgrade, Host"),
            ("x-mine", "1"),
            ("host", "a"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
            ("keep-alive", "1"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert!(connection_tokens(&mut headers).upgrade);
        assert_eq!(headers["upgrade"], "websocket");
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key("host"));
    }
}
