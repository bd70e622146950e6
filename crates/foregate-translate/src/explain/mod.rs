//! What happens to a request, and why: `foregate explain`.
//!
//! [`Gateway`] is read from the very resources that engines get, so that nothing can be decided here that isn't decided
//! there: the same listeners and filter chains, the same normal form of paths, the same virtual hosts, the same order of
//! routes, an operator's patches included. [`Gateway::explain`] then does with a [`Request`] what Envoy would do, and
//! writes down each decision, and of what didn't take the request why it didn't.
//!
//! One file per decision: `listener` (port, TLS, SNI), `carry` (connections that are no requests), `normal` (host and
//! path), `domains` (virtual host), `matching` (routes), `precedence` (which of two comes first), `effect` (what is done).

mod answer;
mod ask;
mod carry;
mod describe;
mod domains;
mod effect;
mod forward;
mod listener;
mod matching;
mod misses;
mod normal;
mod precedence;
mod read;
mod redirect;

use std::net::IpAddr;

use foregate_api::address::ProxyRef;
use foregate_envoy::Resource;
use serde::{Deserialize, Serialize};

pub use answer::{
    Explanation, Forward, HeaderChange, ListenerChoice, NearMiss, Outcome, Part, Reason, RouteChoice, RouteOrigin,
    Seen, Share, VirtualHostChoice,
};
use read::Carries;
pub use read::{Gateway, ReadError};

use crate::Translator;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Plain, or over TLS.
    pub scheme: Scheme,
    /// The address that is dialled; none: any of the gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The port that is dialled; none: the scheme's well-known one, or the listener for it, wherever it is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `Host` or `:authority` as it is sent, with its port if it has one.
    pub host: String,
    /// The name in the TLS handshake; none: the host's, unless that is an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// E.g. `GET`.
    pub method: String,
    /// Path and query as they are sent, e.g. `/cart?id=1`.
    pub path: String,
    /// Other headers, in order; names in any case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

/// How a request travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain.
    #[default]
    Http,
    /// Over TLS.
    Https,
    /// No request: a connection over TLS, which carries anything.
    Tls,
    /// No request: a connection.
    Tcp,
    /// No request: datagrams.
    Udp,
}

impl Scheme {
    /// As in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Whether a connection begins with a TLS handshake.
    pub(super) const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Whether there are requests.
    pub(super) const fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// The port that a URL needn't name; 0: it must.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https | Self::Tls => 443,
            Self::Tcp | Self::Udp => 0,
        }
    }
}

impl Request {
    /// The values of a header, line by line.
    pub(super) fn lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The same as one, joined by commas. None: there is no such header.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self.lines(name).collect();
        (!values.is_empty()).then(|| values.join(","))
    }
}

impl Gateway {
    /// What happens to a request, and why.
    pub fn explain(&self, request: &Request) -> Explanation {
        let mut answer = Explanation::new(request);
        let outcome = self.decide(request, &mut answer);
        answer.outcome = outcome.unwrap_or_else(|outcome| outcome);
        answer
    }

    fn decide(&self, request: &Request, answer: &mut Explanation) -> Result<Outcome, Outcome> {
        let (listener, chain) = self.listen(request, answer)?;
        let manager = match &chain.carries {
            Carries::Requests(manager) => manager,
            Carries::Elsewhere(shares) => return Ok(carry::to(self, listener, chain, shares, answer)),
        };
        let seen = normal::form(request, listener, manager)?;
        answer.seen = Some(seen.public());
        let table = self.table(chain).ok_or_else(|| Outcome::NotFound {
            reason: format!("the listener's routes ({}) aren't there yet", chain.routes_name()),
        })?;
        let host = domains::find(table, &seen, answer);
        host.into_iter().for_each(|host| ask::before_routing(manager, host, answer));
        let hit = host.and_then(|host| matching::first(self, host, request, &seen, answer));
        hit.iter().for_each(|hit| ask::by_route(hit.route, answer));
        misses::collect(self, table, host, hit, request, &seen, answer);
        match (host, hit) {
            (Some(host), Some(route)) => Ok(effect::of(self, table, host, route, &seen, answer)),
            (Some(host), None) => Err(Outcome::NotFound { reason: misses::nothing(host) }),
            (None, _) => Err(Outcome::NotFound {
                reason: format!("no route is for host {}; there are: {}", seen.host, domains::list(table)),
            }),
        }
    }
}

impl Translator {
    /// What happens to a request at a gateway; none: there is no such gateway. For many requests, read the gateway once
    /// ([`Gateway::read`]) and ask that.
    ///
    /// # Errors
    /// As [`Gateway::read`].
    pub fn explain(&self, proxy: &ProxyRef, request: &Request) -> Result<Option<Explanation>, ReadError> {
        let resources: Vec<&Resource> = self.resources(proxy);
        if resources.is_empty() {
            return Ok(None);
        }
        Ok(Some(Gateway::read(resources)?.explain(request)))
    }
}
