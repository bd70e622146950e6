//! Session persistence (GEP-1619), as users write it.

use foregate_api::backend::SessionPersistence as Effective;
use foregate_api::gateway::{CookieLifetimeType, SessionCookie, SessionPersistence, SessionPersistenceType};

use crate::duration;

/// What it comes to; `uid` makes the cookie's name where the user gives none.
pub(crate) fn parse(given: &SessionPersistence, uid: &str, path: &str) -> Result<Effective, String> {
    let timeout = given.absolute_timeout.as_deref().map(|text| {
        let seconds = duration::millis(text).map(|millis| millis.div_ceil(1_000)).filter(|&seconds| seconds > 0);
        seconds.ok_or_else(|| format!("{path}.absoluteTimeout: {text:?} isn't a time; write it like 1h or 30s"))
    });
    let timeout = timeout.transpose()?;
    match given.kind.unwrap_or_default() {
        SessionPersistenceType::Cookie => cookie(given.cookie.as_ref(), timeout, uid, path),
        SessionPersistenceType::Header => match &given.header {
            Some(header) if timeout.is_none() => Ok(Effective::Header { name: header.name.clone() }),
            Some(_) => Err(format!("{path}.absoluteTimeout: sessions of a header don't end; remove it")),
            None => Err(format!("{path}.header: its type says that it is set, and it isn't")),
        },
        SessionPersistenceType::Unknown => Err(format!("{path}.type: not known to this version")),
    }
}

fn cookie(given: Option<&SessionCookie>, timeout: Option<u64>, uid: &str, path: &str) -> Result<Effective, String> {
    let lifetime = given.and_then(|cookie| cookie.lifetime_type).unwrap_or_default();
    let ttl_seconds = match (lifetime, timeout) {
        (CookieLifetimeType::Permanent, Some(seconds)) => Some(seconds),
        (CookieLifetimeType::Permanent, None) => {
            return Err(format!("{path}.absoluteTimeout: cookie.lifetimeType Permanent needs it"));
        }
        (CookieLifetimeType::Session, None) => None,
        (CookieLifetimeType::Session, Some(_)) => {
            return Err(format!("{path}.absoluteTimeout: needs cookie.lifetimeType Permanent"));
        }
        (CookieLifetimeType::Unknown, _) => {
            return Err(format!("{path}.cookie.lifetimeType: not known to this version"));
        }
    };
    let name = given.and_then(|cookie| cookie.name.clone()).unwrap_or_else(|| format!("foregate-{uid}"));
    Ok(Effective::Cookie { name, path: given.and_then(|cookie| cookie.path.clone()), ttl_seconds })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    #[test]
    fn sessions() {
        let cookie = |name: &str, path: Option<&str>, ttl_seconds| {
            Ok(Effective::Cookie { name: name.to_owned(), path: path.map(str::to_owned), ttl_seconds })
        };
        for (given, expected) in [
            (json!({}), cookie("foregate-u", None, None)),
            (json!({ "type": "Cookie", "cookie": { "name": "c", "path": "/a" } }), cookie("c", Some("/a"), None)),
            (
                json!({ "absoluteTimeout": "1h", "cookie": { "name": "c", "lifetimeType": "Permanent" } }),
                cookie("c", None, Some(3_600)),
            ),
            (json!({ "type": "Header", "header": { "name": "h" } }), Ok(Effective::Header { name: "h".to_owned() })),
            (json!({ "cookie": { "lifetimeType": "Permanent" } }), Err("s.absoluteTimeout")),
            (json!({ "absoluteTimeout": "1h" }), Err("s.absoluteTimeout")),
            (json!({ "absoluteTimeout": "soon" }), Err("s.absoluteTimeout")),
            (json!({ "type": "Header" }), Err("s.header")),
            (json!({ "type": "Header", "header": { "name": "h" }, "absoluteTimeout": "1s" }), Err("s.absoluteTimeout")),
            (json!({ "type": "Tattoo" }), Err("s.type")),
            (json!({ "cookie": { "lifetimeType": "Forever" } }), Err("s.cookie.lifetimeType")),
        ] {
            let parsed = parse(&serde_json::from_value(given.clone()).unwrap(), "u", "s");
            let field = parsed.as_ref().map_err(|why| why.split(':').next().unwrap_or_default());
            assert_eq!(field, expected.as_ref().map_err(|field: &&str| *field), "{given}");
        }
    }
}
