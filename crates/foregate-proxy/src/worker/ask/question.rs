//! What a service is told of a request's headers.

use http::HeaderName;
use http::header::HeaderMap;

use crate::config::ext_authz::Authorizer;

/// Whether a service is told of a header; `all`: it is unless somebody says otherwise.
pub(super) fn may_tell(authorizer: &Authorizer, name: &str, all: bool) -> bool {
    let allowed = match &authorizer.allowed {
        Some(allowed) => allowed.iter().any(|matcher| matcher.matches(name)),
        None => all,
    };
    allowed && !authorizer.disallowed.iter().any(|matcher| matcher.matches(name))
}

/// Several lines of one name as one, as text.
pub(super) fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let mut all = String::new();
    for value in headers.get_all(name) {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(&String::from_utf8_lossy(value.as_bytes()));
    }
    all
}
