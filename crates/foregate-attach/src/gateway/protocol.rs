//! Protocols of listeners: which there are, which routes each takes, what each needs of TLS.

use foregate_api::claim::{ListenerProtocol, TlsMode};
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{GATEWAY_GROUP, Listener, RouteGroupKind, TlsModeType};

use crate::problem::Problem;
use crate::route::RouteKind;

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub name: ListenerProtocol,
    /// Where TLS ends; none: there is no TLS.
    pub tls: Option<TlsMode>,
}

impl Protocol {
    /// The protocol of a listener, or why there is none that could be served.
    pub fn of(listener: &Listener) -> Result<Self, Problem> {
        let plain = |name| Ok(Self { name, tls: None });
        match listener.protocol.as_str() {
            "HTTP" => plain(ListenerProtocol::Http),
            "TCP" => plain(ListenerProtocol::Tcp),
            "UDP" => plain(ListenerProtocol::Udp),
            "HTTPS" => Ok(Self { name: ListenerProtocol::Https, tls: Some(TlsMode::Terminate) }),
            "TLS" => Ok(Self { name: ListenerProtocol::Tls, tls: Some(mode(listener)) }),
            other => {
                let message = format!("protocol {other:?} isn't supported; use HTTP, HTTPS, TLS, TCP or UDP");
                Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message))
            }
        }
    }

    /// Whether it tells hosts apart.
    pub fn has_hostnames(self) -> bool {
        !matches!(self.name, ListenerProtocol::Tcp | ListenerProtocol::Udp)
    }

    pub fn terminates(self) -> bool {
        self.tls == Some(TlsMode::Terminate)
    }

    /// The kinds of routes that it takes, in the order in which they are listed.
    fn kinds(self) -> &'static [RouteKind] {
        match (self.name, self.tls) {
            (ListenerProtocol::Http | ListenerProtocol::Https, _) => &[RouteKind::Http, RouteKind::Grpc],
            (ListenerProtocol::Tls, Some(TlsMode::Terminate)) => &[RouteKind::Tls, RouteKind::Tcp],
            (ListenerProtocol::Tls, _) => &[RouteKind::Tls],
            (ListenerProtocol::Tcp, _) => &[RouteKind::Tcp],
            (ListenerProtocol::Udp, _) => &[RouteKind::Udp],
        }
    }

    /// Whether a listener's fields fit it.
    pub fn check(self, listener: &Listener) -> Result<(), Problem> {
        let unsupported = |message: String| Err(Problem::new(reason::UNSUPPORTED_VALUE, message));
        let is_http = matches!(self.name, ListenerProtocol::Http | ListenerProtocol::Https);
        if !is_http && listener.filters.as_ref().is_some_and(|filters| !filters.requests.is_empty()) {
            return unsupported(format!("filters.requests: protocol {} has none; remove them", listener.protocol));
        }
        let Some(tls) = &listener.tls else { return Ok(()) };
        match (self.name, tls.mode.unwrap_or_default()) {
            (ListenerProtocol::Https, TlsModeType::Terminate) => {}
            (ListenerProtocol::Https, _) => {
                return unsupported("tls.mode: protocol HTTPS needs Terminate".to_owned());
            }
            (ListenerProtocol::Tls, TlsModeType::Unknown) => {
                return unsupported("tls.mode: protocol TLS needs Terminate or Passthrough".to_owned());
            }
            (ListenerProtocol::Tls, _) => {}
            _ => return unsupported(format!("tls: protocol {} has none; remove it", listener.protocol)),
        }
        if let Some(option) = tls.options.keys().next() {
            return unsupported(format!("tls.options: {option:?} isn't known to Foregate; remove it"));
        }
        Ok(())
    }
}

fn mode(listener: &Listener) -> TlsMode {
    match listener.tls.as_ref().and_then(|tls| tls.mode) {
        Some(TlsModeType::Passthrough) => TlsMode::Passthrough,
        _ => TlsMode::Terminate,
    }
}

/// The kinds of routes that a listener takes, and the ones asked for that it can't.
pub(crate) fn route_kinds(protocol: Protocol, listener: &Listener) -> (Vec<RouteKind>, Option<Problem>) {
    let all = protocol.kinds();
    let asked = listener.allowed_routes.as_ref().map(|a| a.kinds.as_slice()).unwrap_or_default();
    if asked.is_empty() {
        return (all.to_vec(), None);
    }
    let is = |kind: &RouteGroupKind, known: &RouteKind| {
        kind.group.as_deref().unwrap_or(GATEWAY_GROUP) == GATEWAY_GROUP && kind.kind == known.as_str()
    };
    let unknown: Vec<String> = asked.iter().filter(|asked| !all.iter().any(|k| is(asked, k))).map(shown).collect();
    let known = all.iter().filter(|known| asked.iter().any(|asked| is(asked, known))).copied().collect();
    let problem = (!unknown.is_empty()).then(|| {
        let mode = match (protocol.name, protocol.tls) {
            (ListenerProtocol::Tls, Some(mode)) => format!(" and tls.mode {mode:?}"),
            _ => String::new(),
        };
        let message = format!(
            "allowedRoutes.kinds: a listener of protocol {}{mode} takes {}, not {}",
            listener.protocol,
            all.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" and "),
            unknown.join(", ")
        );
        Problem::new(reason::INVALID_ROUTE_KINDS, message)
    });
    (known, problem)
}

fn shown(kind: &RouteGroupKind) -> String {
    match kind.group.as_deref().unwrap_or(GATEWAY_GROUP) {
        GATEWAY_GROUP => kind.kind.clone(),
        other => format!("{} of group {other:?}", kind.kind),
    }
}
