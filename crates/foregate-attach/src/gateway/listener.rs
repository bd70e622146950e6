//! One listener: what it speaks, which routes it takes, whether its references lead somewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use foregate_api::claim::{ClientValidation, ListenerProtocol};
use foregate_api::gateway::Listener;
use foregate_api::gateway::conditions::reason;

use super::ParentId;
use super::certificate::{self, Certificate};
use super::filters::{self, ResolvedFilters};
use super::frontend::Frontend;
use super::protocol::{self, Protocol};
use crate::Key;
use crate::backend::BackendId;
use crate::external_auth::ParsedAuth;
use crate::problem::{Problem, join};
use crate::route::RouteKind;
use crate::world::World;

/// What is known of a Gateway or a ListenerSet without the platform.
#[derive(Debug)]
pub(super) struct Verdict {
    pub accepted: Result<(), Problem>,
    pub listeners: Vec<ListenerVerdict>,
}

/// What is known of a listener without the platform.
#[derive(Debug)]
pub(crate) struct ListenerVerdict {
    pub name: Arc<str>,
    pub port: u16,
    /// None: not supported.
    pub protocol: Option<Protocol>,
    pub hostname: Option<String>,
    pub kinds: Vec<RouteKind>,
    pub accepted: Result<(), Problem>,
    /// Whether its own references lead somewhere; see [`Self::references`].
    pub resolved: Result<(), Problem>,
    /// Its filters as they are written, and with what they name.
    pub parsed_filters: Vec<ParsedAuth>,
    pub filters: ResolvedFilters,
    pub conflict: Option<Problem>,
    /// Another TLS listener of the port has hosts in common with it.
    pub overlaps: bool,
    /// Those that can be served.
    pub certificates: Vec<Certificate>,
    /// What clients must show.
    pub validation: Option<ClientValidation>,
}

impl Verdict {
    /// The Secrets of listeners whose copies the platform needs.
    pub fn used_secrets(&self) -> BTreeSet<Key> {
        let served = self.listeners.iter().filter(|l| self.accepted.is_ok() && l.is_served());
        served.flat_map(|l| &l.certificates).map(|c| c.secret.clone()).collect()
    }

    /// The backends that its claim names, sorted.
    pub fn used_backends(&self) -> Vec<BackendId> {
        let served = self.listeners.iter().filter(|l| self.accepted.is_ok() && l.is_served());
        let used: BTreeSet<&BackendId> = served.flat_map(|l| &l.filters.backends).collect();
        used.into_iter().cloned().collect()
    }
}

impl ListenerVerdict {
    /// Syntax and semantics are right.
    pub fn is_valid(&self) -> bool {
        self.accepted.is_ok() && self.conflict.is_none()
    }

    /// Whether all its references lead somewhere.
    pub fn references(&self) -> Result<(), &Problem> {
        self.resolved.as_ref().copied().and(self.filters.problem.as_ref().map_or(Ok(()), Err))
    }

    /// The platform is asked for it.
    pub fn is_served(&self) -> bool {
        self.is_valid() && !(self.protocol.is_some_and(Protocol::terminates) && self.certificates.is_empty())
    }
}

/// What a listener of `owner` comes to by itself, in a Gateway that asks this of its clients.
pub(super) fn judge(world: &World, owner: &ParentId, frontend: &Frontend, listener: &Listener) -> ListenerVerdict {
    let protocol = Protocol::of(listener);
    let known = protocol.as_ref().ok().copied();
    let (kinds, unknown_kinds) = known.map_or_else(Default::default, |p| protocol::route_kinds(p, listener));
    let terminates = known.is_some_and(Protocol::terminates);
    let (certificates, mut problems) =
        if terminates { certificate::of_listener(world, owner, listener) } else { Default::default() };
    problems.extend(unknown_kinds);
    let is_https = known.is_some_and(|p| p.name == ListenerProtocol::Https);
    let asked = frontend.of(listener.port).filter(|_| is_https);
    problems.extend(asked.and_then(|asked| asked.references.clone().err()));
    let hostname = listener.hostname.as_deref().filter(|h| !h.is_empty() && known.is_some_and(Protocol::has_hostnames));
    let trusts = match asked {
        Some(asked) if asked.usable.is_none() => Err(Problem::new(
            reason::NO_VALID_CA_CERTIFICATE,
            "no certificate is left to validate clients with; see the condition ResolvedRefs",
        )),
        _ => Ok(()),
    };
    let (parsed_filters, refused) = match filters::parse(listener, &owner.key.namespace) {
        Ok(parsed) => (Some(parsed), Ok(())),
        Err(problem) => (None, Err(problem)),
    };
    ListenerVerdict {
        name: listener.name.as_str().into(),
        port: listener.port,
        protocol: known,
        hostname: hostname.map(str::to_ascii_lowercase),
        kinds,
        accepted: protocol.and_then(|protocol| protocol.check(listener)).and(trusts).and(refused),
        resolved: join(problems),
        parsed_filters: parsed_filters.unwrap_or_default(),
        filters: ResolvedFilters::default(),
        conflict: None,
        overlaps: false,
        certificates,
        validation: asked.and_then(|asked| asked.usable.clone()),
    }
}
