//! Which endpoint a request belongs to: a number made of what its route's hash policies look at.

use std::fmt::Write;
use std::net::IpAddr;

use http::header::{COOKIE, HeaderMap};
use http::{HeaderValue, Uri};
use xxhash_rust::xxh64::xxh64;

use super::connection::ConnectionState;
use super::head;
use crate::config::hash_policy::{Cookie, HashPolicy, HashSource};
use crate::config::hcm::HttpOptions;
use crate::routing::request::first_parameter;

/// What is found out about a request.
#[derive(Default)]
pub(super) struct Affinity {
    /// Whose it is; `None`: anybody's.
    pub(super) hash: Option<u64>,
    /// The response gives the client this cookie.
    pub(super) cookie: Option<HeaderValue>,
}

/// Looks at a request as the policies say. Several numbers are joined as in Envoy.
pub(super) fn of(
    policies: &[HashPolicy],
    headers: &HeaderMap,
    uri: &Uri,
    connection: &ConnectionState,
    options: &HttpOptions,
) -> Affinity {
    let mut affinity = Affinity::default();
    for policy in policies {
        let hash = match &policy.source {
            HashSource::Header(name) => header(headers, name),
            HashSource::Cookie(cookie) => cookie_of(headers, cookie, connection, &mut affinity.cookie),
            HashSource::SourceIp => {
                Some(hashed(client(headers, connection.remote.ip(), options).to_string().as_bytes()))
            }
            HashSource::Query(name) => {
                uri.query().and_then(|query| first_parameter(query, name)).map(|value| hashed(value.as_bytes()))
            }
        };
        if let Some(hash) = hash {
            affinity.hash = Some(affinity.hash.map_or(hash, |before| before.rotate_left(1) ^ hash));
        }
        if policy.terminal && affinity.hash.is_some() {
            break;
        }
    }
    affinity
}

/// A client's address as a number, as in Envoy.
pub(super) fn of_address(ip: IpAddr) -> u64 {
    hashed(ip.to_string().as_bytes())
}

fn hashed(bytes: &[u8]) -> u64 {
    xxh64(bytes, 0)
}

/// Several lines of a header count in the order of their values.
fn header(headers: &HeaderMap, name: &http::HeaderName) -> Option<u64> {
    let mut values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    values.sort_unstable();
    values.into_iter().fold(None, |seed, value| Some(xxh64(value, seed.unwrap_or(0))))
}

fn cookie_of(
    headers: &HeaderMap,
    cookie: &Cookie,
    connection: &ConnectionState,
    set: &mut Option<HeaderValue>,
) -> Option<u64> {
    if let Some(value) = cookie_value(headers, &cookie.name) {
        return Some(hashed(value));
    }
    cookie.ttl?;
    let value = format!("{:016x}", hashed(format!("{}{}", connection.remote, connection.local).as_bytes()));
    *set = set_cookie(cookie, &value);
    Some(hashed(value.as_bytes()))
}

/// `set-cookie` for a value.
pub(super) fn set_cookie(cookie: &Cookie, value: &str) -> Option<HeaderValue> {
    let mut text = format!("{}=\"{value}\"", cookie.name);
    if let Some(ttl) = cookie.ttl.filter(|ttl| !ttl.is_zero()) {
        let _ = write!(text, "; Max-Age={}", ttl.as_secs());
    }
    if !cookie.path.is_empty() {
        let _ = write!(text, "; Path={}", cookie.path);
    }
    text.push_str(&cookie.attributes);
    text.push_str("; HttpOnly");
    HeaderValue::try_from(text).ok()
}

/// The value of the first cookie of a name, without quotes.
pub(super) fn cookie_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let value =
        pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// The client's address, as far as those before the engine are believed.
fn client(headers: &HeaderMap, peer: IpAddr, options: &HttpOptions) -> IpAddr {
    let lines = headers.get_all(&head::X_FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
    let mut said: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let hops = options.trusted_hops as usize;
    let back = if options.use_remote_address {
        if hops == 0 {
            return peer;
        }
        if !options.skip_xff_append {
            // The engine's own word, about the peer.
            said.pop();
        }
        hops
    } else {
        hops + 1
    };
    said.len().checked_sub(back).and_then(|at| said[at].parse().ok()).unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn cookies() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("aa=1; a=\"2\" ;b="));
        headers.append(COOKIE, HeaderValue::from_static("c=3=4"));
        for (name, want) in [("aa", Some("1")), ("a", Some("2")), ("b", Some("")), ("c", Some("3=4")), ("d", None)] {
            assert_eq!(cookie_value(&headers, name), want.map(str::as_bytes), "{name}");
        }
    }

    #[test]
    fn lines_of_a_header_count_in_any_order() {
        let name = http::HeaderName::from_static("x");
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&name, HeaderValue::from_static(value));
            }
            header(&headers, &name)
        };
        assert_eq!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&["a", "b"]), of(&["a"]));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["a"]), Some(xxh64(b"a", 0)), "as Envoy has it");
    }
}
