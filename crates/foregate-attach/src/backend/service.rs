//! Services, and the backends made of their ports.

use foregate_api::backend::{GatewayBackendSpec, UpstreamPolicy};
use foregate_api::gateway::conditions::reason;
use k8s_openapi::api::core::v1::{Service, ServicePort};

use super::{BackendId, Found, Sending, Upstream, Usage, backend_name};
use crate::need::Need;
use crate::problem::Problem;
use crate::world::{origin, slim, uid};
use crate::{Attach, Change, Key};

impl Attach {
    pub(crate) fn take_service(&mut self, change: Change<Service>) {
        let (key, new) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Some(slim(object))),
            Change::Gone(key) => (key, None),
        };
        if !self.needs(&Need::Service(key.clone())) {
            return self.note_unread(&key, new.map(|object| uid(&object.metadata)));
        }
        let unread = self.was_unread(&key);
        let old = match &new {
            Some(object) => self.world.services.insert(key.clone(), object.clone()),
            None => self.world.services.remove(&key),
        };
        let upstream = Upstream::Service(key);
        let before = old.as_ref().map(|it| uid(&it.metadata)).or(unread);
        self.know(&upstream, before, new.as_ref().map(|it| uid(&it.metadata)));
        if relevant(old.as_deref()) == relevant(new.as_deref()) {
            return;
        }
        self.dirty.slices.extend(self.index.service_slices.of(upstream.key()).cloned());
        self.mark_upstream(&upstream);
    }

    /// The backend that a route means by a port of a Service.
    pub(crate) fn find_service(&self, key: &Key, port: u16, to: Sending) -> Result<Found, Problem> {
        let Some(service) = self.world.services.get(key) else {
            return Err(Problem::new(reason::BACKEND_NOT_FOUND, format!("Service {key} doesn't exist")));
        };
        let (service_port, speaks) = check(service, key, port, to.usage)?;
        let usage = to.usage.settled(speaks == Speaks::H2c);
        let id = BackendId { target: to.target, upstream: Upstream::Service(key.clone()), port, usage };
        let origin = origin(&self.targets.get(to.target).cluster, "", "Service", &service.metadata);
        match (self.policy_tls(&id, service_port.name.as_deref()), speaks) {
            (None, Speaks::Tls(what)) if usage.is_http() => {
                let message = format!(
                    "port {port} of Service {key} has appProtocol {what}: it needs a BackendTLSPolicy that says whom to \
                     trust"
                );
                Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message))
            }
            (Some(Err(())), _) => Ok((None, id)),
            _ => Ok((Some(backend_name(&origin.derived_name(), &id)), id)),
        }
    }

    pub(super) fn service_backend(&self, key: &Key, id: &BackendId) -> Option<GatewayBackendSpec> {
        let service = self.world.services.get(key)?;
        let (port, speaks) = check(service, key, id.port, id.usage).ok()?;
        let tls = self.policy_tls(id, port.name.as_deref()).transpose().ok()?.cloned();
        if tls.is_none() && id.usage.is_http() && matches!(speaks, Speaks::Tls(_)) {
            return None;
        }
        Some(GatewayBackendSpec {
            origin: origin(&self.targets.get(id.target).cluster, "", "Service", &service.metadata),
            port: id.port,
            port_name: port.name.clone().unwrap_or_default(),
            endpoint_slices: self.slices_of(id.target, key),
            endpoints: Vec::new(),
            protocol: id.usage.protocol(speaks == Speaks::H2c),
            tls,
            policy: UpstreamPolicy::default(),
        })
    }
}

/// What of a Service routes depend on.
#[derive(PartialEq)]
struct Relevant<'a> {
    uid: Option<&'a str>,
    kind: Option<&'a str>,
    ports: Option<&'a [ServicePort]>,
}

fn relevant(service: Option<&Service>) -> Option<Relevant<'_>> {
    let service = service?;
    let spec = service.spec.as_ref();
    Some(Relevant {
        uid: service.metadata.uid.as_deref(),
        kind: spec.and_then(|s| s.type_.as_deref()),
        ports: spec.and_then(|s| s.ports.as_deref()),
    })
}

/// What a Service's port says that it speaks (`appProtocol`, GEP-1911).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks<'a> {
    /// HTTP/1.1, WebSocket included; what isn't known as well.
    Http,
    /// HTTP/2 without TLS.
    H2c,
    /// HTTP or WebSocket over TLS.
    Tls(&'a str),
}

/// Whether something can be sent to a port of a Service, and how. The same number may be a TCP port and a UDP port.
fn check<'a>(
    service: &'a Service,
    key: &Key,
    port: u16,
    usage: Usage,
) -> Result<(&'a ServicePort, Speaks<'a>), Problem> {
    let spec = service.spec.as_ref();
    if spec.and_then(|s| s.type_.as_deref()) == Some("ExternalName") {
        // The standard wants none of them (BackendObjectReference, CVE-2021-25740): who writes a Service could reach
        // what ReferenceGrants keep from them.
        let message = format!(
            "Service {key} is of type ExternalName, which the Gateway API advises against; name the host in an XBackend \
             or a Backend"
        );
        return Err(Problem::new(reason::INVALID_KIND, message));
    }
    let mut ports = spec.and_then(|s| s.ports.as_deref()).unwrap_or_default().iter();
    let transport = if usage == Usage::Udp { "UDP" } else { "TCP" };
    let has_transport = |p: &ServicePort| p.protocol.as_deref().unwrap_or("TCP") == transport;
    let Some(found) = ports.clone().find(|p| p.port == i32::from(port) && has_transport(p)) else {
        if ports.any(|p| p.port == i32::from(port)) {
            let message = format!("port {port} of Service {key} isn't a {transport} port");
            return Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
        }
        return Err(Problem::new(reason::BACKEND_NOT_FOUND, format!("Service {key} has no port {port}")));
    };
    let speaks = match found.app_protocol.as_deref() {
        Some("kubernetes.io/h2c" | "grpc") => Speaks::H2c,
        Some(tls @ "kubernetes.io/wss") => Speaks::Tls(tls),
        // Names without a prefix are IANA's, whose case doesn't matter (RFC 6335, 5.1).
        Some(tls) if tls.eq_ignore_ascii_case("https") => Speaks::Tls(tls),
        _ => Speaks::Http,
    };
    Ok((found, speaks))
}
