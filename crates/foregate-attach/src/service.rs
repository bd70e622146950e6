//! Services and EndpointSlices, and the backends made from them.

use std::net::IpAddr;
use std::sync::Arc;

use foregate_api::backend::{
    BackendProtocol, GatewayBackendSpec, GatewayEndpointSliceSpec, SliceEndpoint, SlicePort, UpstreamPolicy,
};
use foregate_api::gateway::conditions::reason;
use foregate_api::{GatewayBackend, GatewayEndpointSlice};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::book::metadata;
use crate::output::{Derived, DerivedKind};
use crate::problem::Problem;
use crate::world::{origin, slim, uid};
use crate::{Attach, Change, Key};

/// Label of an EndpointSlice: its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

impl Attach {
    pub(crate) fn take_service(&mut self, change: Change<Service>) {
        let (key, new) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Some(slim(object))),
            Change::Gone(key) => (key, None),
        };
        let old = match &new {
            Some(object) => self.world.services.insert(key.clone(), object.clone()),
            None => self.world.services.remove(&key),
        };
        if relevant(old.as_deref()) == relevant(new.as_deref()) {
            return;
        }
        self.dirty.routes.extend(self.index.service_routes.of(&key).cloned());
        self.dirty.backends.extend(self.index.service_ports.of(&key).map(|&port| (key.clone(), port)));
        self.dirty.slices.extend(self.index.service_slices.of(&key).cloned());
    }

    pub(crate) fn take_slice(&mut self, change: Change<EndpointSlice>) {
        let (key, new) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Some(slim(object))),
            Change::Gone(key) => (key, None),
        };
        let listed = |slice: &EndpointSlice| (service_of(slice), has_addresses(slice), uid(&slice.metadata));
        let now = new.as_deref().map(listed);
        let old = match new {
            Some(object) => self.world.slices.insert(key.clone(), object),
            None => self.world.slices.remove(&key),
        };
        let before = old.as_deref().map(listed);
        if before != now {
            let service = |listed: Option<(Option<Key>, bool, String)>| listed.and_then(|(service, ..)| service);
            let (before, now) = (service(before), service(now));
            self.index.service_slices.replace(&key, &before, &now);
            for service in before.iter().chain(&now) {
                self.dirty.backends.extend(self.index.service_ports.of(service).map(|&port| (service.clone(), port)));
            }
        }
        self.dirty.slices.insert(key);
    }

    /// Name of the GatewayBackend of a Service's port.
    pub(crate) fn backend_name(&self, service: &Service, port: u16) -> String {
        format!("{}-{}-{port}", self.settings.cluster, uid(&service.metadata))
    }

    pub(crate) fn derive_backend(&mut self, key: &Key, port: u16) {
        let is_used = self.index.backend_routes.has(&(key.clone(), port));
        let service = self.world.services.get(key).filter(|_| is_used);
        let wanted = service.and_then(|service| {
            let (service_port, protocol) = check(service, key, port).ok()?;
            let origin = origin(&self.settings.cluster, "", "Service", &service.metadata);
            let metadata = metadata(&self.settings.tenant_namespace, &self.backend_name(service, port), &origin);
            let port_name = service_port.name.clone().unwrap_or_default();
            let policy = UpstreamPolicy::default();
            let endpoint_slices = self.slices_of(key);
            let (endpoints, tls) = (Vec::new(), None);
            let spec =
                GatewayBackendSpec { origin, port, port_name, endpoint_slices, endpoints, protocol, tls, policy };
            Some(Derived::Backend(Arc::new(GatewayBackend { metadata, spec, status: None })))
        });
        self.derive((DerivedKind::Backend, key.clone(), port), wanted);
    }

    /// Names of what is derived from a Service's slices.
    fn slices_of(&self, service: &Key) -> Vec<String> {
        let slices = self.index.service_slices.of(service).filter_map(|key| self.world.slices.get(key));
        let ours = slices.filter(|slice| has_addresses(slice));
        let mut names: Vec<String> =
            ours.map(|slice| format!("{}-{}", self.settings.cluster, uid(&slice.metadata))).collect();
        names.sort();
        names
    }

    pub(crate) fn derive_slice(&mut self, key: &Key) {
        let slices = self.world.slices.get(key).filter(|slice| has_addresses(slice));
        let wanted = slices.and_then(|slice| {
            let named = service_of(slice).filter(|service| self.index.service_ports.has(service))?;
            let service = self.world.services.get(&named)?;
            let origin = origin(&self.settings.cluster, "discovery.k8s.io", "EndpointSlice", &slice.metadata);
            let metadata = metadata(&self.settings.tenant_namespace, &origin.derived_name(), &origin);
            let spec = GatewayEndpointSliceSpec {
                origin,
                service_uid: uid(&service.metadata),
                ports: slice.ports.iter().flatten().filter_map(slice_port).collect(),
                endpoints: slice.endpoints.iter().flatten().filter_map(slice_endpoint).collect(),
            };
            Some(Derived::Slice(Arc::new(GatewayEndpointSlice { metadata, spec })))
        });
        self.derive((DerivedKind::Slice, key.clone(), 0), wanted);
    }

    /// Wants what is derived from an object of the workload cluster. When that was replaced by another one of its
    /// name, what was derived from the former goes.
    pub(crate) fn derive(&mut self, source: (DerivedKind, Key, u16), wanted: Option<Derived>) {
        let kind = source.0;
        let name: Option<Arc<str>> = wanted.as_ref().map(|w| w.name().into());
        let old = match &name {
            Some(name) => self.derived_names.insert(source, name.clone()),
            None => self.derived_names.remove(&source),
        };
        if let Some(old) = old.filter(|old| Some(old) != name.as_ref()) {
            self.book.want((kind, old), None);
        }
        if let Some(name) = name {
            self.book.want((kind, name), wanted);
        }
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

/// Names instead of addresses are for others to look up.
fn has_addresses(slice: &EndpointSlice) -> bool {
    slice.address_type != "FQDN"
}

/// The Service of a slice.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
    Some(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name.as_str()))
}

/// Whether requests can be sent to a port of a Service, and how.
pub(crate) fn check<'a>(
    service: &'a Service,
    key: &Key,
    port: u16,
) -> Result<(&'a ServicePort, BackendProtocol), Problem> {
    let spec = service.spec.as_ref();
    if spec.and_then(|s| s.type_.as_deref()) == Some("ExternalName") {
        let message = format!("Service {key} is of type ExternalName, which has no endpoints");
        return Err(Problem::new(reason::INVALID_KIND, message));
    }
    let mut ports = spec.and_then(|s| s.ports.as_deref()).unwrap_or_default().iter();
    let is_tcp = |p: &ServicePort| p.protocol.as_deref().is_none_or(|p| p == "TCP");
    let Some(found) = ports.clone().find(|p| p.port == i32::from(port) && is_tcp(p)) else {
        if ports.any(|p| p.port == i32::from(port)) {
            let message = format!("port {port} of Service {key} isn't a TCP port");
            return Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
        }
        return Err(Problem::new(reason::BACKEND_NOT_FOUND, format!("Service {key} has no port {port}")));
    };
    let protocol = match found.app_protocol.as_deref() {
        Some("kubernetes.io/h2c" | "grpc") => BackendProtocol::H2c,
        Some(tls @ ("https" | "kubernetes.io/wss")) => {
            let message =
                format!("port {port} of Service {key} has appProtocol {tls}: TLS to backends isn't supported");
            return Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
        }
        _ => BackendProtocol::Http,
    };
    Ok((found, protocol))
}

fn slice_port(port: &k8s_openapi::api::discovery::v1::EndpointPort) -> Option<SlicePort> {
    let number = u16::try_from(port.port?).ok().filter(|&p| p != 0)?;
    Some(SlicePort { name: port.name.clone().unwrap_or_default(), port: number })
}

/// An endpoint, if it has an IP address: a missing condition counts as the API says.
fn slice_endpoint(endpoint: &Endpoint) -> Option<SliceEndpoint> {
    let addresses: Vec<String> = endpoint.addresses.iter().filter(|a| a.parse::<IpAddr>().is_ok()).cloned().collect();
    if addresses.is_empty() {
        return None;
    }
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    Some(SliceEndpoint {
        addresses,
        ready,
        serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
        terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        node_name: endpoint.node_name.clone(),
        zone: endpoint.zone.clone(),
    })
}
