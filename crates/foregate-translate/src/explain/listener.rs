//! Who takes a connection: by address and port, then by TLS and its server name.

use std::net::IpAddr;

use super::read::{Carries, Chain, Gateway, Listener};
use super::{Explanation, ListenerChoice, Outcome, Request, Scheme};

impl Gateway {
    /// The listener and filter chain of a connection.
    pub(super) fn listen(&self, request: &Request, answer: &mut Explanation) -> Result<(&Listener, &Chain), Outcome> {
        let listener = self.listener(request)?;
        let chain = chain(listener, request, answer)?;
        answer.listener = Some(ListenerChoice {
            name: listener.name.clone(),
            addresses: listener.addresses_text(),
            server_names: chain.server_names.clone(),
            route_configuration: chain.routes_name().to_owned(),
        });
        Ok((listener, chain))
    }

    fn listener(&self, request: &Request) -> Result<&Listener, Outcome> {
        let port = request.port.unwrap_or_else(|| request.scheme.default_port());
        let bound =
            |it: &&Listener| it.addresses.iter().any(|(address, bound)| *bound == port && takes(address, request));
        let carries = |it: &&Listener| it.datagrams == (request.scheme == Scheme::Udp);
        // Where ports below 1024 can't be bound, the listener of the well-known port is bound elsewhere.
        let class = if request.scheme.is_tls() { "https" } else { request.scheme.as_str() };
        let well_known = format!("{class}-{port}");
        let meant = |it: &&Listener| {
            request.port.is_none()
                && it.name == well_known
                && it.addresses.iter().any(|(address, _)| takes(address, request))
        };
        let of_kind = || self.listeners.iter().filter(carries);
        let found = of_kind().find(bound).or_else(|| of_kind().find(meant));
        found.ok_or_else(|| Outcome::NoListener { reason: self.nobody(request, port) })
    }

    fn nobody(&self, request: &Request, port: u16) -> String {
        let place = match request.address {
            Some(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            Some(address) => format!("{address}:{port}"),
            None => format!("port {port}"),
        };
        match self.listeners().as_slice() {
            [] => format!("nothing listens on {place}; the gateway has no listener that can serve"),
            some => format!("nothing listens on {place}; there are: {}", some.join("; ")),
        }
    }
}

/// Whether a bound address takes connections to the request's.
fn takes(bound: &str, request: &Request) -> bool {
    let Some(dialled) = request.address else { return true };
    let Ok(bound) = bound.parse::<IpAddr>() else { return true };
    bound == dialled || (bound.is_unspecified() && (bound.is_ipv4() == dialled.is_ipv4() || bound.is_ipv6()))
}

fn chain<'a>(listener: &'a Listener, request: &Request, answer: &mut Explanation) -> Result<&'a Chain, Outcome> {
    let tls = request.scheme.is_tls();
    let speaks = |reason: String| Err(Outcome::NoFilterChain { reason });
    if !listener.chains.iter().any(|chain| chain.tls == tls) {
        let has_requests = listener.chains.iter().any(|chain| matches!(chain.carries, Carries::Requests(_)));
        let (has, wants) = match (tls, has_requests) {
            (true, true) => ("plain HTTP", "http"),
            (true, false) => ("no TLS", "tcp"),
            (false, true) => ("TLS", "https"),
            (false, false) => ("TLS", "tls"),
        };
        return speaks(format!("listener {} speaks {has}; ask with {wants}://", listener.name));
    }
    let name = if tls { server_name(request) } else { None };
    let of_kind = || listener.chains.iter().filter(|chain| chain.tls == tls);
    let best = match &name {
        Some(name) => of_kind().filter_map(|chain| Some((rank(chain, name)?, chain))).max_by_key(|(rank, _)| *rank),
        None => of_kind().find(|chain| chain.server_names.is_empty()).map(|chain| (0, chain)),
    };
    let Some((_, chain)) = best else {
        let name = name.unwrap_or_else(|| "connections without a name (the host is an address)".to_owned());
        let known: Vec<String> = of_kind().flat_map(served_names).collect();
        return speaks(format!("listener {} doesn't serve {name}; it serves: {}", listener.name, known.join(", ")));
    };
    if !request.scheme.is_http() && matches!(chain.carries, Carries::Requests(_)) {
        let wants = if tls { "https" } else { "http" };
        return speaks(format!("listener {} takes requests here; ask with {wants}://", listener.name));
    }
    for rule in &chain.more {
        answer.caveats.push(format!("the filter chain also asks for {rule}, which a URL doesn't tell"));
    }
    Ok(chain)
}

/// A chain's names, each with what becomes of its connections.
fn served_names(chain: &Chain) -> impl Iterator<Item = String> {
    let how = if chain.ends_tls { "with a certificate" } else { "by passthrough" };
    chain.server_names.iter().map(move |name| format!("{name} ({how})"))
}

/// The name in the TLS handshake.
fn server_name(request: &Request) -> Option<String> {
    let name = match &request.sni {
        Some(name) => name.as_str(),
        None => super::normal::without_port(&request.host),
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    (!name.is_empty() && bare.parse::<IpAddr>().is_err()).then(|| name.trim_end_matches('.').to_ascii_lowercase())
}

/// How well a chain fits a server name: exactly, by the longest wildcard, or because it takes any. None: it doesn't.
fn rank(chain: &Chain, name: &str) -> Option<usize> {
    let fit = |server: &String| {
        let server = server.to_ascii_lowercase();
        if server == name {
            return Some(usize::MAX);
        }
        let suffix = server.strip_prefix('*')?;
        (suffix.starts_with('.') && name.len() > suffix.len() && name.ends_with(suffix)).then_some(suffix.len())
    };
    if chain.server_names.is_empty() { Some(0) } else { chain.server_names.iter().filter_map(fit).max() }
}
