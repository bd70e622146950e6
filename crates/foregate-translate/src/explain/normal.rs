//! Host and path in the form that routes see, as the listener's connection manager makes it.

use foregate_envoy::normal_path::{self, NormalPath};
use foregate_envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use hcm::http_connection_manager::StripPortMode;

use super::read::Listener;
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
pub(super) fn form(
    request: &Request,
    listener: &Listener,
    manager: &hcm::HttpConnectionManager,
) -> Result<Seen, Outcome> {
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
    let authority = authority(request, listener, manager);
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (request.path.as_str(), None),
    };
    let path = match normalize(path, manager) {
        NormalPath::Path(path) => path.into_owned(),
        NormalPath::Refused => return Err(refuse("the path can't be brought into a normal form")),
        NormalPath::Redirect(path) => {
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

/// A path as the manager brings it to its normal form.
pub(super) fn normalize<'a>(path: &'a str, manager: &hcm::HttpConnectionManager) -> NormalPath<'a> {
    normal_path::Rules::of(manager).map_or(NormalPath::Refused, |rules| normal_path::normalize(path, rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_cut_off_hosts() {
        for (authority, host) in [("a", "a"), ("a:80", "a"), ("[::1]", "[::1]"), ("[::1]:80", "[::1]"), ("a:", "a")] {
            assert_eq!(without_port(authority), host, "{authority}");
        }
    }
}
