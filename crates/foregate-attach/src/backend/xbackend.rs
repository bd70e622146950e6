//! XBackends of the Gateway API's experimental channel: hosts outside the cluster, or Pods by their labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use foregate_api::backend::{
    DirectAddress, DirectEndpoint, GatewayBackendSpec, SessionPersistence, UpstreamPolicy, UpstreamTls,
};
use foregate_api::condition::condition;
use foregate_api::gateway::PolicyStatus;
use foregate_api::gateway::conditions::{ACCEPTED, reason};
use foregate_api::gateway::experimental::{
    EXPERIMENTAL_GROUP, XBackend, XBackendProtocol, XBackendSpec, XBackendTls, XBackendTlsMode, XBackendType,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    BackendId, CaSource, Found, Sending, TlsUser, Upstream, Usage, backend_name, is_host_local_name, session,
    validation,
};
use crate::output::{StatusChange, StatusKind};
use crate::problem::Problem;
use crate::status::Pending;
use crate::world::{World, origin, slim, uid};
use crate::{Attach, Change, Key, Settings};

/// An XBackend.
#[derive(Debug)]
pub(crate) struct XBackendState {
    pub(super) object: Arc<XBackend>,
    /// What it trusts.
    named: Vec<CaSource>,
    pub(super) verdict: Option<Result<Destination, Problem>>,
    pending: Pending<PolicyStatus>,
}

/// An XBackend in effective values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Destination {
    pub port: u16,
    /// Empty where Pods are selected.
    endpoints: Vec<DirectEndpoint>,
    /// Labels of the Pods that are selected.
    pub selector: Option<BTreeMap<String, String>>,
    http2: bool,
    tls: Option<UpstreamTls>,
    session: Option<SessionPersistence>,
}

impl Attach {
    pub(crate) fn take_xbackend(&mut self, change: Change<XBackend>) {
        let (key, object) = match change {
            Change::Set(object) => (Key::of(&object.metadata), slim(object)),
            Change::Gone(key) => return self.remove_xbackend(&key),
        };
        let upstream = Upstream::XBackend(key.clone());
        let named = named(&object.spec, &key.namespace);
        let old = self.xbackends.remove(&key);
        let before = old.as_ref().map(|old| uid(&old.object.metadata));
        let is_same = before.as_ref().is_none_or(|before| *before == uid(&object.metadata));
        self.know(&upstream, before, Some(uid(&object.metadata)));
        let (sources, verdict, pending) = match old {
            Some(old) => (old.named, old.verdict.filter(|_| is_same), old.pending),
            None => (Vec::new(), None, Pending::default()),
        };
        self.index.ca_users.replace(&TlsUser::XBackend(key.clone()), &sources, &named);
        if object.spec.endpoint_selector.is_some() {
            self.index.selecting.add(&key.namespace, key.clone());
        } else {
            self.index.selecting.remove(&key.namespace, &key);
        }
        self.xbackends.insert(key.clone(), XBackendState { object, named, verdict, pending });
        self.dirty.xbackends.insert(key);
    }

    fn remove_xbackend(&mut self, key: &Key) {
        let Some(old) = self.xbackends.remove(key) else { return };
        self.index.ca_users.replace(&TlsUser::XBackend(key.clone()), &old.named, &[]);
        self.index.selecting.remove(&key.namespace, key);
        let upstream = Upstream::XBackend(key.clone());
        self.know(&upstream, Some(uid(&old.object.metadata)), None);
        self.mark_upstream(&upstream);
        self.dirty.pod_slices.insert(key.clone());
    }

    pub(crate) fn evaluate_xbackend(&mut self, key: &Key) {
        let Some(state) = self.xbackends.get_mut(key) else { return };
        let own = uid(&state.object.metadata);
        let verdict = Some(judge(&state.object.spec, &self.settings, &self.world, &key.namespace, &own));
        let upstream = Upstream::XBackend(key.clone());
        // What is derived says which generation it is from.
        self.dirty.backends.extend(self.index.upstream_backends.of(&upstream).cloned());
        self.dirty.pod_slices.insert(key.clone());
        if state.verdict != verdict {
            state.verdict = verdict;
            self.mark_upstream(&upstream);
        }
        self.dirty.xbackend_statuses.insert(key.clone());
    }

    /// The backend that a route means by an XBackend.
    pub(crate) fn find_xbackend(&self, key: &Key, to: Sending) -> Result<Found, Problem> {
        let Some(state) = self.xbackends.get(key) else {
            return Err(Problem::new(reason::BACKEND_NOT_FOUND, format!("XBackend {key} doesn't exist")));
        };
        let destination = match &state.verdict {
            Some(Ok(destination)) => destination,
            other => {
                let why = other.as_ref().and_then(|verdict| verdict.as_ref().err()).map(|why| why.message.as_str());
                let message = format!("XBackend {key} isn't accepted: {}", why.unwrap_or_default());
                return Err(Problem::new(reason::INVALID_BACKEND_REF, message));
            }
        };
        if to.usage == Usage::Udp {
            let message = format!("XBackend {key} takes no datagrams of a UDPRoute");
            return Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
        }
        let usage = to.usage.settled(destination.http2);
        let id = BackendId { target: to.target, upstream: Upstream::XBackend(key.clone()), port: 0, usage };
        let cluster = &self.targets.get(to.target).cluster;
        let origin = origin(cluster, EXPERIMENTAL_GROUP, "XBackend", &state.object.metadata);
        Ok((Some(backend_name(&origin.derived_name(), &id)), id))
    }

    pub(super) fn xbackend_backend(&self, key: &Key, id: &BackendId) -> Option<GatewayBackendSpec> {
        let state = self.xbackends.get(key)?;
        let Some(Ok(destination)) = &state.verdict else { return None };
        let target = self.targets.get(id.target);
        let origin = origin(&target.cluster, EXPERIMENTAL_GROUP, "XBackend", &state.object.metadata);
        let slices = match &destination.selector {
            Some(_) => self.pod_slice_names(id.target, key, &origin.derived_name()),
            None => Vec::new(),
        };
        Some(GatewayBackendSpec {
            origin,
            port: if destination.selector.is_some() { destination.port } else { 0 },
            port_name: String::new(),
            endpoint_slices: slices,
            endpoints: destination.endpoints.clone(),
            protocol: id.usage.protocol(destination.http2),
            tls: destination.tls.clone().filter(|_| id.usage.takes_tls()),
            policy: UpstreamPolicy {
                session_persistence: destination.session.clone().filter(|_| id.usage.is_http()),
                ..UpstreamPolicy::default()
            },
        })
    }

    pub(crate) fn xbackend_status(&mut self, key: &Key, now: &Time) -> Option<StatusChange> {
        let mut pending = std::mem::take(&mut self.xbackends.get_mut(key)?.pending);
        let state = self.xbackends.get(key)?;
        let metadata = &state.object.metadata;
        let generation = metadata.generation.unwrap_or_default();
        let accepted = match state.verdict.as_ref() {
            Some(Err(problem)) => condition(ACCEPTED, false, problem.reason, &problem.message, generation, now),
            _ => condition(ACCEPTED, true, ACCEPTED, "", generation, now),
        };
        let upstream = Upstream::XBackend(key.clone());
        let change = pending.update(StatusKind::XBackend, key, metadata, state.object.status.as_ref(), |base| {
            self.sender_ancestors(&key.namespace, std::iter::once(&upstream), std::slice::from_ref(&accepted), base)
        });
        self.xbackends.get_mut(key)?.pending = pending;
        change
    }
}

/// What it trusts.
fn named(spec: &XBackendSpec, namespace: &str) -> Vec<CaSource> {
    let validation = spec.tls.as_ref().and_then(|tls| tls.validation.as_ref());
    validation.map(|validation| validation::named(validation, namespace)).unwrap_or_default()
}

fn judge(
    spec: &XBackendSpec,
    settings: &Settings,
    world: &World,
    namespace: &str,
    uid: &str,
) -> Result<Destination, Problem> {
    let Some(port) = spec.port.number.filter(|&port| port != 0) else {
        return Err(invalid("spec.port.number: needs a port from 1 to 65535"));
    };
    let (mut endpoints, mut selector) = (Vec::new(), None);
    match (spec.kind, &spec.external_hostname, &spec.endpoint_selector) {
        (XBackendType::ExternalHostname, Some(external), None) => {
            endpoints.push(host(&external.hostname, port, settings)?);
        }
        (XBackendType::EndpointSelector, None, Some(given)) if !given.match_labels.is_empty() => {
            selector = Some(given.match_labels.clone());
        }
        (XBackendType::Unknown, ..) => return Err(invalid("spec.type: not known to this version")),
        _ => return Err(invalid("spec: needs what its type says, and nothing else of the kind")),
    }
    let session = match &spec.session_persistence {
        Some(_) if selector.is_none() => {
            return Err(invalid("spec.sessionPersistence: needs type EndpointSelector"));
        }
        Some(given) => Some(session::parse(given, uid, "spec.sessionPersistence").map_err(|why| unsupported(&why))?),
        None => None,
    };
    let tls = spec.tls.as_ref().map(|tls| read_tls(tls, spec.protocol, world, namespace)).transpose()?.flatten();
    let http2 = match spec.protocol {
        Some(XBackendProtocol::Unknown) => return Err(invalid("spec.protocol: not known to this version")),
        Some(XBackendProtocol::Wss | XBackendProtocol::Http2) if tls.is_none() => {
            return Err(invalid("spec.protocol: needs spec.tls"));
        }
        Some(XBackendProtocol::Http2 | XBackendProtocol::H2c | XBackendProtocol::Grpc) => true,
        _ => false,
    };
    Ok(Destination { port, endpoints, selector, http2, tls, session })
}

fn host(hostname: &str, port: u16, settings: &Settings) -> Result<DirectEndpoint, Problem> {
    let hostname = hostname.to_ascii_lowercase();
    let path = "spec.externalHostname.hostname";
    if hostname.is_empty() || hostname.parse::<std::net::IpAddr>().is_ok() {
        return Err(invalid(&format!("{path}: {hostname:?} isn't a host name")));
    }
    if !settings.host_local_backends && is_host_local_name(&hostname) {
        return Err(invalid(&format!("{path}: names of localhost aren't allowed by the controller's settings")));
    }
    if hostname.ends_with(".cluster.local") {
        return Err(invalid(&format!("{path}: names of the cluster aren't allowed; use a Service")));
    }
    let address = DirectAddress::Fqdn { hostname: hostname.clone(), port };
    Ok(DirectEndpoint { address, hostname: Some(hostname), zone: None })
}

fn read_tls(
    given: &XBackendTls,
    protocol: Option<XBackendProtocol>,
    world: &World,
    namespace: &str,
) -> Result<Option<UpstreamTls>, Problem> {
    let validation = match given.mode {
        XBackendTlsMode::None => return Ok(None),
        XBackendTlsMode::ServerOnly => given.validation.as_ref(),
        XBackendTlsMode::ClientAndServer => {
            return Err(unsupported(
                "spec.tls.mode: ClientAndServer isn't supported; a Gateway's spec.tls.backend.clientCertificateRef has \
                 the certificate that is shown to backends",
            ));
        }
        XBackendTlsMode::Unknown => return Err(invalid("spec.tls.mode: not known to this version")),
    };
    let validation = validation.ok_or_else(|| invalid("spec.tls.validation: the mode needs it"))?;
    let (tls, references) = validation::read(validation, world, namespace, "spec.tls.validation");
    references?;
    let alpn = match protocol {
        // It says that the version is negotiated.
        Some(XBackendProtocol::Http) => vec!["h2".to_owned(), "http/1.1".to_owned()],
        _ => Vec::new(),
    };
    Ok(Some(UpstreamTls { alpn, ..tls? }))
}

fn invalid(message: &str) -> Problem {
    Problem::new(reason::INVALID, message)
}

fn unsupported(message: &str) -> Problem {
    Problem::new(reason::UNSUPPORTED_VALUE, message)
}
