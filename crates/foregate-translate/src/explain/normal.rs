//! Host and path in the form that routes see, as the listener's connection manager makes it.

use foregate_envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use hcm::http_connection_manager::{PathWithEscapedSlashesAction as Escaped, StripPortMode};

use super::read::{Chain, Listener};
use super::{Outcome, Request, answer};

/// A request as routes see it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// `:authority`.
    pub authority: String,
    /// The authority in lower case and without its port.
    pub host: String,
    pub path: String,
    pub query: Option<String>,
    pub scheme: &'static str,
}

impl Seen {
    pub(super) fn public(&self) -> answer::Seen {
        answer::Seen { host: self.host.clone(), path: self.path.clone(), query: self.query.clone() }
    }

    /// `:path`.
    pub(super) fn target(&self) -> String {
        with_query(&self.path, self.query.as_deref())
    }
}

/// A path with a query.
pub(super) fn with_query(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// Brings a request into its normal form, or says why it is answered at once.
pub(super) fn form(request: &Request, listener: &Listener, chain: &Chain) -> Result<Seen, Outcome> {
    let refuse = |reason: &str| Outcome::Refused { status: 400, reason: reason.to_owned() };
    if request.host.is_empty() {
        return Err(refuse("the request names no host"));
    }
    if !request.host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(&byte)) {
        return Err(refuse("the host has characters that no host has"));
    }
    if !request.path.starts_with('/') && (request.path != "*" || request.method != "OPTIONS") {
        return Err(refuse("the path doesn't begin with a slash"));
    }
    if request.path.contains('#') {
        return Err(refuse("the path has a fragment (#), which is for browsers only"));
    }
    let authority = authority(request, listener, &chain.manager);
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (request.path.as_str(), None),
    };
    let path = match normalize(path, &chain.manager) {
        Normal::Path(path) => path,
        Normal::Refused => return Err(refuse("the path can't be brought into a normal form")),
        Normal::Redirect(path) => {
            let location = with_query(&path, query.as_deref());
            return Err(Outcome::Redirect { status: 307, location });
        }
    };
    let host = without_port(&authority).to_ascii_lowercase();
    Ok(Seen { authority, host, path, query, scheme: request.scheme.as_str() })
}

fn authority(request: &Request, listener: &Listener, manager: &hcm::HttpConnectionManager) -> String {
    let host = without_port(&request.host);
    let port = request.host.get(host.len() + 1..).unwrap_or_default();
    let strip = match manager.strip_port_mode {
        Some(StripPortMode::StripAnyHostPort(true)) => true,
        _ => {
            let own = |(_, bound): &(String, u16)| port.parse() == Ok(*bound);
            manager.strip_matching_host_port && listener.addresses.iter().any(own)
        }
    };
    let name = if manager.strip_trailing_host_dot { host.strip_suffix('.').unwrap_or(host) } else { host };
    if strip || host.len() == request.host.len() { name.to_owned() } else { format!("{name}:{port}") }
}

/// A host without its port; an IPv6 address keeps its brackets.
pub(super) fn without_port(authority: &str) -> &str {
    match (authority.rfind(':'), authority.rfind(']')) {
        (Some(colon), Some(bracket)) if bracket > colon => authority,
        (Some(colon), _) => &authority[..colon],
        (None, _) => authority,
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Normal {
    Path(String),
    Refused,
    Redirect(String),
}

/// Envoy's order: escaped slashes, then dot segments, then doubled slashes.
pub(super) fn normalize(path: &str, manager: &hcm::HttpConnectionManager) -> Normal {
    let mut path = path.to_owned();
    let escaped = manager.path_with_escaped_slashes_action();
    let mut redirect = false;
    if has_escaped_slash(&path) {
        match escaped {
            Escaped::RejectRequest => return Normal::Refused,
            Escaped::UnescapeAndForward => path = unescape_slashes(&path),
            Escaped::UnescapeAndRedirect => {
                path = unescape_slashes(&path);
                redirect = true;
            }
            Escaped::ImplementationSpecificDefault | Escaped::KeepUnchanged => {}
        }
    }
    if manager.normalize_path.is_some_and(|it| it.value) && path != "*" {
        match canonical(&path) {
            Some(canonical) => path = canonical,
            None => return Normal::Refused,
        }
    }
    if manager.merge_slashes {
        path = merge_slashes(&path);
    }
    if redirect { Normal::Redirect(path) } else { Normal::Path(path) }
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

/// Dot segments resolved, backslashes turned, what needs no escape unescaped, what needs one escaped (RFC 3986 §6.2.2,
/// as browsers and Envoy read it). None: it has a NUL.
fn canonical(path: &str) -> Option<String> {
    let plain = plain(path)?;
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = plain.strip_prefix('/')?.split('/').peekable();
    while let Some(part) = parts.next() {
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
        if parts.peek().is_none() {
            segments.push("");
        }
    }
    Some(format!("/{}", segments.join("/")))
}

fn plain(path: &str) -> Option<String> {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        match (byte, hex(bytes, at)) {
            (b'%', Some(0)) | (0, _) => return None,
            (b'%', Some(value)) => {
                if value.is_ascii_alphanumeric() || matches!(value, b'-' | b'.' | b'_' | b'~') {
                    out.push(char::from(value));
                } else {
                    out.push_str(path.get(at..at + 3)?);
                }
                at += 3;
                continue;
            }
            (b'\\', _) => out.push('/'),
            (b' ' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | 1..=31 | 127.., _) => {
                out.push_str(&format!("%{byte:02X}"))
            }
            _ => out.push(char::from(byte)),
        }
        at += 1;
    }
    Some(out)
}

/// The value of `%XX` at a place.
fn hex(bytes: &[u8], at: usize) -> Option<u8> {
    let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use foregate_envoy::pb::google::protobuf::BoolValue;
    use proptest::prelude::*;

    use super::*;

    fn manager(escaped: Escaped) -> hcm::HttpConnectionManager {
        hcm::HttpConnectionManager {
            normalize_path: Some(BoolValue { value: true }),
            merge_slashes: true,
            path_with_escaped_slashes_action: escaped as i32,
            ..Default::default()
        }
    }

    #[test]
    fn paths_get_the_form_that_envoy_gives_them() {
        let keep = manager(Escaped::KeepUnchanged);
        for (path, want) in [
            ("/a/b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../a", "/a"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/..;x/b;y", "/b;y"),
            ("/a//b", "/a/b"),
            ("/a//../b", "/a/b"),
            ("/%61/%2e%2E/b", "/b"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%5cb", "/a%5cb"),
            ("/a\\..\\b", "/b"),
            ("/a%zz", "/a%zz"),
            ("/a b\"^|`", "/a%20b%22%5E%7C%60"),
            ("/ä", "/%C3%A4"),
            ("*", "*"),
        ] {
            assert_eq!(normalize(path, &keep), Normal::Path(want.to_owned()), "{path}");
        }
        assert_eq!(normalize("/a%00", &keep), Normal::Refused);
        assert_eq!(normalize("/a%2fb", &manager(Escaped::RejectRequest)), Normal::Refused);
        assert_eq!(normalize("/a%2f..", &manager(Escaped::UnescapeAndForward)), Normal::Path("/".to_owned()));
        let redirect = Normal::Redirect("/a/b".to_owned());
        assert_eq!(normalize("/a%2fb", &manager(Escaped::UnescapeAndRedirect)), redirect);
        let off = hcm::HttpConnectionManager::default();
        assert_eq!(normalize("/a//../b", &off), Normal::Path("/a//../b".to_owned()));
    }

    #[test]
    fn ports_are_cut_off_hosts() {
        for (authority, host) in [("a", "a"), ("a:80", "a"), ("[::1]", "[::1]"), ("[::1]:80", "[::1]"), ("a:", "a")] {
            assert_eq!(without_port(authority), host, "{authority}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own_and_has_no_dot_segments(path in "/[a-c./%\\\\0-9F {ä]{0,20}") {
            let Normal::Path(once) = normalize(&path, &manager(Escaped::KeepUnchanged)) else { return Ok(()) };
            prop_assert!(once.starts_with('/') && !once.contains("//") && once.is_ascii(), "{once}");
            prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."), "{once}");
            // With escapes it may change again: `%2541` is `%41` first, and `A` then, as in Envoy.
            if !once.contains('%') {
                prop_assert_eq!(normalize(&once, &manager(Escaped::KeepUnchanged)), Normal::Path(once.clone()));
            }
        }
    }
}
