//! What a service changes about a request that may pass, and about its response.

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue, Request};
use hyper::body::Incoming;

use super::is_of_connection;
use crate::config::ext_authz::Authorizer;

/// Changes to a request.
#[derive(Default)]
pub(super) struct Changes {
    /// Take the place of what there is.
    pub(super) set: Vec<(String, Vec<u8>)>,
    /// Are added to what there is, if there is something.
    pub(super) append: Vec<(String, Vec<u8>)>,
    pub(super) remove: Vec<String>,
    /// Parameters of the query that take the place of those of their names.
    pub(super) set_query: Vec<(String, String)>,
    pub(super) remove_query: Vec<String>,
    /// For the response.
    pub(super) response: Vec<Addition>,
}

/// A header for a response.
pub(in crate::worker) struct Addition {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    pub(super) how: How,
}

/// How a header is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Append,
    IfAbsent,
    Overwrite,
    OverwriteIfExists,
}

impl Addition {
    /// Adds it.
    pub(in crate::worker) fn apply(self, headers: &mut HeaderMap) {
        let exists = headers.contains_key(&self.name);
        match self.how {
            How::Append => {
                headers.append(self.name, self.value);
            }
            How::IfAbsent if exists => {}
            How::OverwriteIfExists if !exists => {}
            How::IfAbsent | How::Overwrite | How::OverwriteIfExists => {
                headers.insert(self.name, self.value);
            }
        }
    }
}

impl Changes {
    /// Makes them, all or none.
    pub(super) fn apply(
        self,
        authorizer: &Authorizer,
        request: &mut Request<Incoming>,
        additions: &mut Vec<Addition>,
    ) -> Result<(), &'static str> {
        let parse = |list: Vec<(String, Vec<u8>)>| list.into_iter().map(parsed).collect::<Result<Vec<_>, _>>();
        let (set, append) = (parse(self.set)?, parse(self.append)?);
        let query = query(request.uri().query(), &self.set_query, &self.remove_query)?;
        let may = |name: &HeaderName| may_change(authorizer, name);
        let headers = request.headers_mut();
        for (name, value) in set.into_iter().flatten().filter(|(name, _)| may(name)) {
            headers.insert(name, value);
        }
        for (name, value) in append.into_iter().flatten().filter(|(name, _)| may(name)) {
            if headers.contains_key(&name) {
                headers.append(name, value);
            }
        }
        // What can't be a name is no header's.
        for name in self.remove.iter().filter_map(|name| name.trim().to_ascii_lowercase().parse::<HeaderName>().ok()) {
            if may(&name) {
                headers.remove(&name);
            }
        }
        if let Some(query) = query {
            *request.uri_mut() = query.apply(request.uri().path())?;
        }
        additions.extend(self.response);
        Ok(())
    }
}

/// A header; none: a pseudo-header, which nobody can change.
fn parsed((name, value): (String, Vec<u8>)) -> Result<Option<(HeaderName, HeaderValue)>, &'static str> {
    if name.starts_with(':') {
        return Ok(None);
    }
    let name = name.to_ascii_lowercase().parse().map_err(|_| "what it calls a header can't be one")?;
    let value = HeaderValue::from_bytes(&value).map_err(|_| "a value that it sets can't be in a header")?;
    Ok(Some((name, value)))
}

/// Whether a service may change a header.
fn may_change(authorizer: &Authorizer, name: &HeaderName) -> bool {
    let text = name.as_str();
    !is_of_connection(name)
        && (authorizer.envoy_headers || !text.starts_with("x-envoy-"))
        && !authorizer.kept.as_ref().is_some_and(|kept| kept.is_match(text))
}

/// A changed query.
struct Query(Vec<String>);

impl Query {
    fn apply(&self, path: &str) -> Result<http::Uri, &'static str> {
        let target = if self.0.is_empty() { path.to_owned() } else { format!("{path}?{}", self.0.join("&")) };
        target.parse().map_err(|_| "its changes of the query make no target")
    }
}

/// The query with its changes; none: it stays as it is.
fn query(old: Option<&str>, set: &[(String, String)], remove: &[String]) -> Result<Option<Query>, &'static str> {
    if set.is_empty() && remove.is_empty() {
        return Ok(None);
    }
    let name_of = |part: &str| part.split('=').next().unwrap_or_default().to_owned();
    let parts = old.unwrap_or_default().split('&').filter(|part| !part.is_empty());
    let mut parts: Vec<String> = parts
        .filter(|part| !remove.contains(&name_of(part)) && !set.iter().any(|(name, _)| *name == name_of(part)))
        .map(str::to_owned)
        .collect();
    for (name, value) in set {
        if !fits(name) || !fits(value) {
            return Err("a parameter that it sets can't be in a query");
        }
        parts.push(format!("{name}={value}"));
    }
    Ok(Some(Query(parts)))
}

/// Whether a text can stand in a query as it is (RFC 3986, 3.4), and ends no parameter.
fn fits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$'()*+,;=:@/?%".contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn queries() {
        let set =
            |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
        for (old, sets, removes, want) in [
            (Some("a=1&b=2"), &[("b", "3")][..], &[][..], "/p?a=1&b=3"),
            (None, &[("a", "%20b")], &[], "/p?a=%20b"),
            (Some("a=1&b"), &[], &["b", "a"], "/p"),
        ] {
            let removes: Vec<String> = removes.iter().map(|name: &&str| (*name).to_owned()).collect();
            let query = query(old, &set(sets), &removes).unwrap().unwrap();
            assert_eq!(query.apply("/p").unwrap().to_string(), want);
        }
        for wrong in ["a b", "a&b", "a#b", "\u{e4}"] {
            assert!(query(None, &set(&[("a", wrong)]), &[]).is_err(), "{wrong}");
        }
    }
}
