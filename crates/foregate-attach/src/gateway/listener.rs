//! One listener: what it speaks, which routes it takes, whether its references lead somewhere.

use std::sync::Arc;

use foregate_api::claim::TlsMode;
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{FromNamespaces, GatewaySpec, Listener};

use super::certificate::{self, Certificate};
use super::protocol::{self, Protocol};
use super::{ListenerView, Namespaces, ParentId};
use crate::problem::{Problem, join};
use crate::route::RouteKind;
use crate::world::World;

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
    pub resolved: Result<(), Problem>,
    pub conflict: Option<Problem>,
    /// Those that can be served.
    pub certificates: Vec<Certificate>,
}

impl ListenerVerdict {
    /// Syntax and semantics are right.
    pub fn is_valid(&self) -> bool {
        self.accepted.is_ok() && self.conflict.is_none()
    }

    /// The platform is asked for it.
    pub fn is_served(&self) -> bool {
        self.is_valid() && !(self.protocol.is_some_and(Protocol::terminates) && self.certificates.is_empty())
    }
}

/// What a listener of `owner` comes to by itself, in a Gateway of this spec.
pub(crate) fn judge(world: &World, owner: &ParentId, spec: &GatewaySpec, listener: &Listener) -> ListenerVerdict {
    let protocol = Protocol::of(listener);
    let known = protocol.as_ref().ok().copied();
    let (kinds, unknown_kinds) = known.map_or_else(Default::default, |p| protocol::route_kinds(p, listener));
    let terminates = known.is_some_and(Protocol::terminates);
    let (certificates, mut problems) =
        if terminates { certificate::of_listener(world, owner, listener) } else { Default::default() };
    problems.extend(unknown_kinds);
    let hostname = listener.hostname.as_deref().filter(|h| !h.is_empty() && known.is_some_and(Protocol::has_hostnames));
    ListenerVerdict {
        name: listener.name.as_str().into(),
        port: listener.port,
        protocol: known,
        hostname: hostname.map(str::to_ascii_lowercase),
        kinds,
        accepted: protocol.and_then(|protocol| protocol.check(listener)).and_then(|()| unvalidated(spec, listener)),
        resolved: join(problems),
        conflict: None,
        certificates,
    }
}

fn unvalidated(spec: &GatewaySpec, listener: &Listener) -> Result<(), Problem> {
    let frontend = spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
    let validates = frontend.filter(|_| listener.protocol == "HTTPS").is_some_and(|frontend| {
        let own = frontend.per_port.iter().find(|p| p.port == listener.port).map(|p| &p.tls);
        own.unwrap_or(&frontend.default).validation.is_some()
    });
    if validates {
        let message = "spec.tls.frontend: validation of client certificates isn't supported";
        return Err(Problem::new(reason::UNSUPPORTED_VALUE, message));
    }
    Ok(())
}

/// Whether it selects namespaces by their labels.
pub(crate) fn selects(listener: &Listener) -> bool {
    matches!(namespaces(listener), Namespaces::Selected(_))
}

fn namespaces(listener: &Listener) -> Namespaces {
    let Some(namespaces) = listener.allowed_routes.as_ref().and_then(|a| a.namespaces.as_ref()) else {
        return Namespaces::Own;
    };
    match namespaces.from.unwrap_or_default() {
        FromNamespaces::All => Namespaces::All,
        FromNamespaces::Same => Namespaces::Own,
        FromNamespaces::Selector => namespaces.selector.clone().map_or(Namespaces::None, Namespaces::Selected),
        FromNamespaces::None | FromNamespaces::Unknown => Namespaces::None,
    }
}

/// What routes see of the listeners of an object.
pub(crate) fn views(listeners: &[Listener], verdicts: &[ListenerVerdict]) -> Vec<ListenerView> {
    let pairs = listeners.iter().zip(verdicts);
    pairs
        .map(|(listener, verdict)| ListenerView {
            name: verdict.name.clone(),
            port: verdict.port,
            kinds: verdict.kinds.clone(),
            hostname: verdict.hostname.clone(),
            passes_through: verdict.protocol.is_some_and(|p| p.tls == Some(TlsMode::Passthrough)),
            namespaces: namespaces(listener),
        })
        .collect()
}
