//! Clients that are kept at the endpoint that answered them first, by what they say in a cookie or a header.

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, SET_COOKIE};
use http::{HeaderValue, Uri};

use super::affinity::{cookie_value, set_cookie};
use super::host::Host;
use crate::config::per_filter::{PerFilter, Setting};
use crate::config::session::KeptSession;

/// A request whose client is kept.
pub(super) struct Kept<'a> {
    by: &'a KeptSession,
    /// The endpoint's address, as the client says it.
    address: Option<String>,
}

/// Looks at a request; `levels` say it, the most specific one first, or else the listener does.
pub(super) fn of<'a>(
    levels: [Option<&'a PerFilter>; 4],
    listener: Option<&'a KeptSession>,
    headers: &HeaderMap,
    uri: &Uri,
) -> Option<Box<Kept<'a>>> {
    let by = match levels.into_iter().flatten().find_map(|level| level.session.as_deref()) {
        Some(Setting::On(session)) => session,
        Some(Setting::Off) => return None,
        None => listener?,
    };
    let address = match by {
        KeptSession::Cookie(cookie) if !is_below(uri.path(), &cookie.path) => return None,
        KeptSession::Cookie(cookie) => cookie_value(headers, &cookie.name).and_then(|value| {
            let decoded = STANDARD.decode(value).ok()?;
            address_in(&decoded)
        }),
        KeptSession::Header(name) => {
            headers.get(name).and_then(|value| String::from_utf8(STANDARD.decode(value).ok()?).ok())
        }
    };
    Some(Box::new(Kept { by, address }))
}

/// Whether a cookie with this path is sent for a path (RFC 6265 §5.1.4).
fn is_below(path: &str, cookie: &str) -> bool {
    let Some(rest) = path.strip_prefix(cookie) else { return false };
    rest.is_empty() || cookie.is_empty() || cookie.ends_with('/') || rest.starts_with('/')
}

impl Kept<'_> {
    /// The endpoint's address, as the client says it.
    pub(super) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Tells the client where it is kept, unless it knows.
    pub(super) fn say(&self, host: &Rc<Host>, headers: &mut HeaderMap) {
        if self.address() == Some(&*host.text) {
            return;
        }
        match self.by {
            KeptSession::Cookie(cookie) => {
                headers.extend(
                    set_cookie(cookie, &STANDARD.encode(cookie_content(&host.text))).map(|it| (SET_COOKIE, it)),
                );
            }
            KeptSession::Header(name) => {
                if let Ok(value) = HeaderValue::try_from(STANDARD.encode(&*host.text)) {
                    headers.insert(name, value);
                }
            }
        }
    }
}

/// A cookie holds a message whose field 1 is the address, as Envoy's does, so that either engine knows what the other
/// one has said.
#[derive(Clone, PartialEq, prost::Message)]
struct Content {
    #[prost(string, tag = "1")]
    address: String,
    #[prost(uint64, tag = "2")]
    expires: u64,
}

fn cookie_content(address: &str) -> Vec<u8> {
    // How long it counts is said to the client, which forgets it then; a clock of this machine means nothing elsewhere.
    prost::Message::encode_to_vec(&Content { address: address.to_owned(), expires: 0 })
}

fn address_in(content: &[u8]) -> Option<String> {
    let content = <Content as prost::Message>::decode(content).ok()?;
    Some(content.address).filter(|address| !address.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_cookies() {
        for (path, cookie, want) in [
            ("/a", "/", true),
            ("/a", "", true),
            ("/a", "/a", true),
            ("/a/b", "/a", true),
            ("/a/b", "/a/", true),
            ("/ab", "/a", false),
            ("/b", "/a", false),
        ] {
            assert_eq!(is_below(path, cookie), want, "{path} {cookie}");
        }
    }

    #[test]
    fn contents() {
        assert_eq!(address_in(&cookie_content("192.0.2.1:80")).as_deref(), Some("192.0.2.1:80"));
        for odd in [&b""[..], b"\x0a", b"192.0.2.1:80", b"\xff\xff"] {
            assert_eq!(address_in(odd), None, "{odd:?}");
        }
    }
}
