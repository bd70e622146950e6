//! One listener: what it speaks, which routes it takes, whether its references lead somewhere.

use std::sync::Arc;

use foregate_api::claim::ListenerProtocol;
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{
    FromNamespaces, GATEWAY_GROUP, Gateway, GatewaySpec, Listener, RouteGroupKind, SecretObjectReference, TlsModeType,
};

use super::{ListenerView, Namespaces, Verdict};
use crate::Key;
use crate::grants::Reference;
use crate::problem::{Problem, join};
use crate::route::RouteKind;
use crate::world::{World, uid};

/// What is known of a listener without the platform.
#[derive(Debug)]
pub(crate) struct ListenerVerdict {
    pub name: Arc<str>,
    pub port: u16,
    /// None: not supported.
    pub protocol: Option<ListenerProtocol>,
    pub hostname: Option<String>,
    pub kinds: Vec<RouteKind>,
    pub accepted: Result<(), Problem>,
    pub resolved: Result<(), Problem>,
    pub conflict: Option<Problem>,
    /// Those that can be served.
    pub certificates: Vec<Certificate>,
}

/// A Secret with a usable certificate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Certificate {
    pub secret: Key,
    pub uid: String,
}

impl ListenerVerdict {
    /// Syntax and semantics are right.
    pub fn is_valid(&self) -> bool {
        self.accepted.is_ok() && self.conflict.is_none()
    }

    /// The platform is asked for it.
    pub fn is_served(&self) -> bool {
        self.is_valid() && (self.protocol != Some(ListenerProtocol::Https) || !self.certificates.is_empty())
    }
}

pub(crate) fn judge(world: &World, gateway: &Key, spec: &GatewaySpec, listener: &Listener) -> ListenerVerdict {
    let protocol = match listener.protocol.as_str() {
        "HTTP" => Some(ListenerProtocol::Http),
        "HTTPS" => Some(ListenerProtocol::Https),
        _ => None,
    };
    let (kinds, unknown_kinds) = route_kinds(protocol, listener);
    let (certificates, mut problems) = match protocol {
        Some(ListenerProtocol::Https) => certificates(world, gateway, listener),
        _ => (Vec::new(), Vec::new()),
    };
    problems.extend(unknown_kinds);
    ListenerVerdict {
        name: listener.name.as_str().into(),
        port: listener.port,
        protocol,
        hostname: listener.hostname.clone().filter(|h| !h.is_empty()).map(|h| h.to_ascii_lowercase()),
        kinds,
        accepted: acceptable(protocol, spec, listener),
        resolved: join(problems),
        conflict: None,
        certificates,
    }
}

fn acceptable(protocol: Option<ListenerProtocol>, spec: &GatewaySpec, listener: &Listener) -> Result<(), Problem> {
    let unsupported = |message: String| Err(Problem::new(reason::UNSUPPORTED_VALUE, message));
    match protocol {
        None => {
            let message = format!("protocol {:?} isn't supported; use HTTP or HTTPS", listener.protocol);
            return Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
        }
        Some(ListenerProtocol::Https) => {}
        Some(_) => return Ok(()),
    }
    if let Some(tls) = &listener.tls {
        if tls.mode.unwrap_or_default() != TlsModeType::Terminate {
            return unsupported("tls.mode: protocol HTTPS needs Terminate".to_owned());
        }
        if let Some(option) = tls.options.keys().next() {
            return unsupported(format!("tls.options: {option:?} isn't known to Foregate; remove it"));
        }
    }
    let frontend = spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
    let validates = frontend.is_some_and(|frontend| {
        let own = frontend.per_port.iter().find(|p| p.port == listener.port).map(|p| &p.tls);
        own.unwrap_or(&frontend.default).validation.is_some()
    });
    if validates {
        return unsupported("spec.tls.frontend: validation of client certificates isn't supported".to_owned());
    }
    Ok(())
}

/// The kinds of routes that it takes, and the ones asked for that it can't.
fn route_kinds(protocol: Option<ListenerProtocol>, listener: &Listener) -> (Vec<RouteKind>, Option<Problem>) {
    if protocol.is_none() {
        return (Vec::new(), None);
    }
    let all = RouteKind::HTTP_LISTENERS;
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
        let message = format!(
            "allowedRoutes.kinds: a listener of protocol {} takes {}, not {}",
            listener.protocol,
            all.map(RouteKind::as_str).join(" and "),
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

fn certificates(world: &World, gateway: &Key, listener: &Listener) -> (Vec<Certificate>, Vec<Problem>) {
    let references = listener.tls.as_ref().map(|tls| tls.certificate_refs.as_slice()).unwrap_or_default();
    if references.is_empty() {
        let message = "tls.certificateRefs: protocol HTTPS needs at least one certificate";
        return (Vec::new(), vec![Problem::new(reason::INVALID_CERTIFICATE_REF, message)]);
    }
    let (mut usable, mut problems) = (Vec::new(), Vec::new());
    for (i, reference) in references.iter().enumerate() {
        match certificate(world, gateway, reference) {
            Ok(certificate) if !usable.contains(&certificate) => usable.push(certificate),
            Ok(_) => {}
            Err(problem) => problems.push(problem.at(&format!("tls.certificateRefs[{i}]"))),
        }
    }
    (usable, problems)
}

fn certificate(world: &World, gateway: &Key, reference: &SecretObjectReference) -> Result<Certificate, Problem> {
    let invalid = |message: String| Problem::new(reason::INVALID_CERTIFICATE_REF, message);
    if !reference.is_secret() {
        let kind = reference.kind.as_deref().unwrap_or("Secret");
        return Err(invalid(format!("{kind} {:?} isn't a Secret of the core group", reference.name)));
    }
    let key = secret_key(reference, &gateway.namespace);
    let permitted = world.grants.permit(&Reference {
        from_group: GATEWAY_GROUP,
        from_kind: "Gateway",
        from_namespace: &gateway.namespace,
        to_group: "",
        to_kind: "Secret",
        to: &key,
    });
    if !permitted {
        let message = format!(
            "Secret {key} is in another namespace, and no ReferenceGrant there lets Gateways of {} name it",
            gateway.namespace
        );
        return Err(Problem::new(reason::REF_NOT_PERMITTED, message));
    }
    let secret = world.secrets.get(&key).ok_or_else(|| invalid(format!("Secret {key} doesn't exist")))?;
    secret.usable().map_err(|why| invalid(format!("Secret {key}: {why}")))?;
    Ok(Certificate { uid: uid(&secret.metadata), secret: key })
}

/// The Secrets that it names.
pub(crate) fn secrets(listener: &Listener, own: &Arc<str>) -> Vec<Key> {
    let references = listener.tls.iter().flat_map(|tls| &tls.certificate_refs);
    references.filter(|r| r.is_secret()).map(|r| secret_key(r, own)).collect()
}

fn secret_key(reference: &SecretObjectReference, own: &Arc<str>) -> Key {
    let namespace = reference.namespace.as_deref().map_or_else(|| own.clone(), Arc::from);
    Key { namespace, name: reference.name.as_str().into() }
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

/// What routes see of a Gateway's listeners.
pub(crate) fn views(object: &Gateway, verdict: &Verdict) -> Vec<ListenerView> {
    let listeners = object.spec.listeners.iter().zip(&verdict.listeners);
    listeners
        .map(|(listener, verdict)| ListenerView {
            name: verdict.name.clone(),
            port: verdict.port,
            kinds: verdict.kinds.clone(),
            hostname: verdict.hostname.clone(),
            namespaces: namespaces(listener),
        })
        .collect()
}
