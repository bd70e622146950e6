//! External authorization (GEP-1494), as filters of routes and of listeners ask for it.

use std::sync::Arc;

use foregate_api::external_auth::{ExternalAuth, ExternalAuthProtocol};
use foregate_api::gateway::HttpExternalAuthFilter;
use foregate_api::gateway::conditions::reason;

use crate::backend::{Target, Usage};
use crate::problem::Problem;

/// A filter whose service isn't resolved yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ParsedAuth {
    pub target: Target,
    protocol: ExternalAuthProtocol,
    max_body_bytes: Option<u32>,
}

impl ParsedAuth {
    /// How the service is spoken with.
    pub const fn usage(&self) -> Usage {
        match self.protocol {
            ExternalAuthProtocol::Grpc { .. } => Usage::Grpc,
            ExternalAuthProtocol::Http { .. } => Usage::Http,
        }
    }

    /// The filter with its service; without one, it refuses every request.
    pub fn with(&self, backend: Option<String>) -> ExternalAuth {
        ExternalAuth { backend, protocol: self.protocol.clone(), max_body_bytes: self.max_body_bytes }
    }
}

/// Reads a filter that is at `path`, in an object of namespace `own`.
pub(crate) fn parse(given: &HttpExternalAuthFilter, own: &Arc<str>, path: &str) -> Result<ParsedAuth, Problem> {
    let protocol = match given.protocol.as_deref() {
        Some("GRPC") => {
            let config = given.grpc.clone().unwrap_or_default();
            ExternalAuthProtocol::Grpc {
                allowed_headers: headers(&config.allowed_headers, &format!("{path}.grpc.allowedHeaders"))?,
            }
        }
        Some("HTTP") => {
            let config = given.http.clone().unwrap_or_default();
            let path = format!("{path}.http");
            let answer = format!("{path}.allowedResponseHeaders");
            ExternalAuthProtocol::Http {
                path_prefix: prefix(config.path.as_deref().unwrap_or_default(), &format!("{path}.path"))?,
                allowed_headers: headers(&config.allowed_headers, &format!("{path}.allowedHeaders"))?,
                allowed_response_headers: headers(&config.allowed_response_headers, &answer)?,
            }
        }
        other => {
            let other = other.unwrap_or_default();
            return Err(unsupported(format!("{path}.protocol: {other:?} isn't known; use HTTP or GRPC")));
        }
    };
    let max_body_bytes = given.forward_body.as_ref().and_then(|body| body.max_size).filter(|&size| size > 0);
    let target = Target::new(given.backend_ref.target(own), own, format!("{path}.backendRef"));
    Ok(ParsedAuth { target, protocol, max_body_bytes })
}

/// Names of headers, in lower case: the API leaves open what they look like.
fn headers(given: &[String], path: &str) -> Result<Vec<String>, Problem> {
    let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    if let Some((at, wrong)) = given.iter().enumerate().find(|(_, name)| name.is_empty() || !name.bytes().all(is_token))
    {
        return Err(unsupported(format!("{path}[{at}]: {wrong:?} isn't the name of a header (RFC 9110, 5.1)")));
    }
    let mut names: Vec<String> = given.iter().map(|name| name.to_ascii_lowercase()).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// The beginning of a path, with a slash in front and none at its end: the request's path follows.
fn prefix(given: &str, path: &str) -> Result<String, Problem> {
    let bytes = given.as_bytes();
    let fits = |(at, &byte): (usize, &u8)| match byte {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        byte => byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&byte),
    };
    let goes_up = given.split('/').any(|element| matches!(element, "." | ".."));
    if goes_up || given.contains("//") || !bytes.iter().enumerate().all(fits) {
        let message =
            format!("{path}: {given:?} isn't the beginning of a path in its normal form; write it like /check");
        return Err(unsupported(message));
    }
    let inner = given.trim_matches('/');
    Ok(if inner.is_empty() { String::new() } else { format!("/{inner}") })
}

fn unsupported(message: String) -> Problem {
    Problem::new(reason::UNSUPPORTED_VALUE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_a_beginning() {
        for (given, expected) in [
            ("", Some("")),
            ("/", Some("")),
            ("check", Some("/check")),
            ("/check/", Some("/check")),
            ("/a/b%2Fc", Some("/a/b%2Fc")),
            ("/a/../b", None),
            ("/./a", None),
            ("//a", None),
            ("/a?b", None),
            ("/a b", None),
            ("/a%2", None),
            ("/\u{e4}", None),
        ] {
            assert_eq!(prefix(given, "p").ok().as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn names_of_headers() {
        let of = |names: &[&str]| headers(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(), "p");
        assert_eq!(of(&["X-B", "a", "x-b"]), Ok(vec!["a".to_owned(), "x-b".to_owned()]));
        for wrong in ["", ":path", "a b", "a:b", "\u{e4}"] {
            assert!(of(&["ok", wrong]).is_err_and(|p| p.message.starts_with("p[1]: ")), "{wrong}");
        }
    }
}
