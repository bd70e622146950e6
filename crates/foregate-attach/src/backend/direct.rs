//! Envoy Gateway's Backends: endpoints by host name, IP address or Unix socket.

use std::net::IpAddr;
use std::sync::Arc;

use foregate_api::backend::{
    BackendProtocol, DirectAddress, DirectEndpoint, GatewayBackendSpec, UpstreamPolicy, UpstreamTls,
};
use foregate_api::condition::{condition, merge};
use foregate_api::envoy_gateway::{
    self, AppProtocol, Backend, BackendEndpoint, BackendSpec, BackendStatus, BackendTlsSettings, BackendType,
};
use foregate_api::gateway::conditions::{ACCEPTED, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{BackendId, CaSource, Found, Sending, TlsUser, Upstream, Usage, backend_name, is_host_local_name};
use crate::output::{StatusChange, StatusKind};
use crate::problem::Problem;
use crate::status::Pending;
use crate::world::{World, origin, slim, uid};
use crate::{Attach, Change, Key, Settings};

const NOT_ALLOWED: &str = "aren't allowed by the controller's settings: they are the gateway's host's own";
/// The longest path that the kernel takes, in bytes.
const LONGEST_PATH: usize = 107;

/// A Backend.
#[derive(Debug)]
pub(crate) struct DirectState {
    object: Arc<Backend>,
    /// What it trusts.
    named: Vec<CaSource>,
    verdict: Option<Result<Direct, String>>,
    pending: Pending<BackendStatus>,
}

/// A Backend in effective values.
#[derive(Clone, Debug, PartialEq)]
struct Direct {
    endpoints: Vec<DirectEndpoint>,
    protocol: BackendProtocol,
    tls: Option<UpstreamTls>,
    /// It speaks wss.
    needs_tls: bool,
}

impl Attach {
    pub(crate) fn take_direct(&mut self, change: Change<Backend>) {
        let (key, object) = match change {
            Change::Set(object) => (Key::of(&object.metadata), slim(object)),
            Change::Gone(key) => {
                if let Some(old) = self.directs.remove(&key) {
                    self.index.ca_users.replace(&TlsUser::Backend(key.clone()), &old.named, &[]);
                    let upstream = Upstream::Backend(key);
                    self.know(&upstream, Some(uid(&old.object.metadata)), None);
                    self.mark_upstream(&upstream);
                }
                return;
            }
        };
        let named = named(&object.spec, &key.namespace);
        let user = TlsUser::Backend(key.clone());
        let before = self.directs.get(&key).map(|old| uid(&old.object.metadata));
        self.know(&Upstream::Backend(key.clone()), before, Some(uid(&object.metadata)));
        match self.directs.get_mut(&key) {
            Some(state) => {
                self.index.ca_users.replace(&user, &state.named, &named);
                if state.object.metadata.uid != object.metadata.uid {
                    state.verdict = None;
                }
                (state.object, state.named) = (object, named);
            }
            None => {
                self.index.ca_users.replace(&user, &[], &named);
                let state = DirectState { object, named, verdict: None, pending: Pending::default() };
                self.directs.insert(key.clone(), state);
            }
        }
        self.dirty.directs.insert(key);
    }

    pub(crate) fn evaluate_direct(&mut self, key: &Key) {
        let Some(state) = self.directs.get_mut(key) else { return };
        let verdict = Some(judge(&state.object.spec, &self.settings, &self.world, &key.namespace));
        let upstream = Upstream::Backend(key.clone());
        // What is derived says which generation it is from.
        self.dirty.backends.extend(self.index.upstream_backends.of(&upstream).cloned());
        if state.verdict != verdict {
            state.verdict = verdict;
            self.mark_upstream(&upstream);
        }
        self.dirty.direct_statuses.insert(key.clone());
    }

    /// The backend that a route means by a Backend.
    pub(crate) fn find_direct(&self, key: &Key, to: Sending) -> Result<Found, Problem> {
        let Some(state) = self.directs.get(key) else {
            return Err(Problem::new(reason::BACKEND_NOT_FOUND, format!("Backend {key} doesn't exist")));
        };
        let direct = match &state.verdict {
            Some(Ok(direct)) => direct,
            other => {
                let why = other.as_ref().and_then(|verdict| verdict.as_ref().err()).map(String::as_str);
                let message = format!("Backend {key} isn't accepted: {}", why.unwrap_or_default());
                return Err(Problem::new(reason::INVALID_BACKEND_REF, message));
            }
        };
        let is_unix = |endpoint: &DirectEndpoint| matches!(endpoint.address, DirectAddress::Unix { .. });
        if to.usage == Usage::Udp && direct.endpoints.iter().any(is_unix) {
            let message = format!("Backend {key} has Unix sockets, which take no datagrams of a UDPRoute");
            return Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
        }
        let usage = to.usage.settled(direct.protocol == BackendProtocol::H2c);
        let id = BackendId { target: to.target, upstream: Upstream::Backend(key.clone()), port: 0, usage };
        let origin =
            origin(&self.targets.get(to.target).cluster, envoy_gateway::GROUP, "Backend", &state.object.metadata);
        match self.direct_tls(&id, direct) {
            Ok(None) if direct.needs_tls && usage.is_http() => {
                let message = format!("Backend {key} speaks wss: it needs spec.tls, or a BackendTLSPolicy");
                Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message))
            }
            Ok(_) => Ok((Some(backend_name(&origin.derived_name(), &id)), id)),
            Err(()) => Ok((None, id)),
        }
    }

    /// Its own TLS, or that of a policy, which goes first; what is offered by ALPN is its own.
    fn direct_tls(&self, id: &BackendId, direct: &Direct) -> Result<Option<UpstreamTls>, ()> {
        if !id.usage.takes_tls() {
            return Ok(None);
        }
        let Some(policy) = self.policy_tls(id, None) else { return Ok(direct.tls.clone()) };
        let alpn = direct.tls.as_ref().map(|tls| tls.alpn.clone()).unwrap_or_default();
        Ok(Some(UpstreamTls { alpn, ..policy?.clone() }))
    }

    pub(super) fn direct_backend(&self, key: &Key, id: &BackendId) -> Option<GatewayBackendSpec> {
        let state = self.directs.get(key)?;
        let Some(Ok(direct)) = &state.verdict else { return None };
        Some(GatewayBackendSpec {
            origin: origin(
                &self.targets.get(id.target).cluster,
                envoy_gateway::GROUP,
                "Backend",
                &state.object.metadata,
            ),
            port: 0,
            port_name: String::new(),
            endpoint_slices: Vec::new(),
            endpoints: direct.endpoints.clone(),
            protocol: id.usage.protocol(direct.protocol == BackendProtocol::H2c),
            tls: self.direct_tls(id, direct).ok()?,
            policy: UpstreamPolicy::default(),
        })
    }

    pub(crate) fn direct_status(&mut self, key: &Key, now: &Time) -> Option<StatusChange> {
        let state = self.directs.get_mut(key)?;
        let verdict = state.verdict.as_ref()?;
        let metadata = &state.object.metadata;
        let generation = metadata.generation.unwrap_or_default();
        let accepted = match verdict {
            Ok(_) => condition(ACCEPTED, true, ACCEPTED, "", generation, now),
            Err(why) => condition(ACCEPTED, false, reason::INVALID, why, generation, now),
        };
        state.pending.update(StatusKind::Backend, key, metadata, state.object.status.as_ref(), |base| BackendStatus {
            conditions: merge(&base.conditions, vec![accepted], &[ACCEPTED]),
        })
    }
}

/// What it trusts.
fn named(spec: &BackendSpec, namespace: &str) -> Vec<CaSource> {
    let references = spec.tls.iter().flat_map(|tls| &tls.ca_certificate_refs);
    references.filter_map(|reference| CaSource::of(reference, namespace)).collect()
}

fn judge(spec: &BackendSpec, settings: &Settings, world: &World, namespace: &str) -> Result<Direct, String> {
    match spec.kind.unwrap_or_default() {
        BackendType::Endpoints => {}
        BackendType::DynamicResolver => {
            return Err("spec.type: DynamicResolver isn't supported; list the endpoints".to_owned());
        }
        BackendType::Unknown => return Err("spec.type: not known to this version".to_owned()),
    }
    if spec.fallback == Some(true) {
        return Err("spec.fallback: fallbacks aren't supported; remove it".to_owned());
    }
    if spec.endpoints.is_empty() {
        return Err("spec.endpoints: needs at least one endpoint".to_owned());
    }
    let endpoints = spec.endpoints.iter().enumerate();
    let endpoints: Vec<DirectEndpoint> =
        endpoints.map(|(i, e)| endpoint(e, settings, &format!("spec.endpoints[{i}]"))).collect::<Result<_, _>>()?;
    let is_name = |e: &DirectEndpoint| matches!(e.address, DirectAddress::Fqdn { .. });
    if endpoints.iter().any(is_name) && !endpoints.iter().all(is_name) {
        return Err("spec.endpoints: fqdn doesn't mix with ip and unix; use a Backend for each".to_owned());
    }
    let tls = spec.tls.as_ref().map(|tls| read_tls(tls, world, namespace)).transpose()?;
    let nameless = tls.as_ref().is_some_and(|tls| tls.sni.is_none() && !tls.insecure_skip_verify);
    if nameless && let Some(at) = endpoints.iter().position(|endpoint| endpoint.hostname.is_none()) {
        return Err(format!("spec.endpoints[{at}]: has no host name to verify; set its hostname, or spec.tls.sni"));
    }
    let protocol = speaks(&spec.app_protocols, tls.as_ref())?;
    let needs_tls = spec.app_protocols.contains(&AppProtocol::Wss);
    Ok(Direct { endpoints, protocol, tls, needs_tls })
}

fn endpoint(given: &BackendEndpoint, settings: &Settings, path: &str) -> Result<DirectEndpoint, String> {
    let port = |port: u16, field: &str| match port {
        0 => Err(format!("{path}.{field}.port: 0 isn't a port that can be connected to")),
        port => Ok(port),
    };
    let address = match (&given.fqdn, &given.ip, &given.unix) {
        (Some(name), None, None) => {
            let hostname = name.hostname.to_ascii_lowercase();
            if !settings.host_local_backends && is_host_local_name(&hostname) {
                return Err(format!("{path}.fqdn.hostname: names of localhost {NOT_ALLOWED}"));
            }
            DirectAddress::Fqdn { hostname, port: port(name.port, "fqdn")? }
        }
        (None, Some(ip), None) => match ip.address.parse::<IpAddr>() {
            Ok(address) if !settings.host_local_backends && is_host_local(address) => {
                return Err(format!("{path}.ip.address: loopback and link-local addresses {NOT_ALLOWED}"));
            }
            Ok(address) => DirectAddress::Ip { address: address.to_string(), port: port(ip.port, "ip")? },
            Err(_) => return Err(format!("{path}.ip.address: {:?} isn't an IP address", ip.address)),
        },
        (None, None, Some(unix)) => {
            let field = format!("{path}.unix.path");
            if !settings.host_local_backends {
                return Err(format!("{field}: Unix sockets {NOT_ALLOWED}"));
            }
            if !unix.path.starts_with('/') || unix.path.len() > LONGEST_PATH {
                return Err(format!("{field}: needs a path from / on, of at most {LONGEST_PATH} bytes"));
            }
            DirectAddress::Unix { path: unix.path.clone() }
        }
        _ => return Err(format!("{path}: needs one of fqdn, ip and unix")),
    };
    let own = given.hostname.clone().map(|name| name.to_ascii_lowercase());
    let hostname = own.or_else(|| match &address {
        DirectAddress::Fqdn { hostname, .. } => Some(hostname.clone()),
        DirectAddress::Ip { .. } | DirectAddress::Unix { .. } => None,
    });
    Ok(DirectEndpoint { address, hostname, zone: given.zone.clone() })
}

/// Whether an address is reached from its own host, or link, only; `0.0.0.0` means the host itself to connect().
fn is_host_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_unspecified() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local(),
    }
}

fn speaks(given: &[AppProtocol], tls: Option<&UpstreamTls>) -> Result<BackendProtocol, String> {
    let has = |wanted| given.contains(&wanted);
    if has(AppProtocol::Unknown) {
        return Err("spec.appProtocols: not known to this version".to_owned());
    }
    if has(AppProtocol::H2c) && (has(AppProtocol::Ws) || has(AppProtocol::Wss)) {
        return Err("spec.appProtocols: h2c doesn't mix with ws and wss; use a Backend for each".to_owned());
    }
    let offers = tls.map(|tls| tls.alpn.as_slice()).unwrap_or_default();
    Ok(Usage::Http.protocol(has(AppProtocol::H2c) || offers == ["h2"]))
}

fn read_tls(given: &BackendTlsSettings, world: &World, namespace: &str) -> Result<UpstreamTls, String> {
    unsupported(given)?;
    let insecure = given.insecure_skip_verify == Some(true);
    let system = match given.well_known_ca_certificates.as_deref() {
        None | Some("") => false,
        Some("System") => true,
        Some(other) => return Err(format!("spec.tls.wellKnownCACertificates: {other:?} isn't System")),
    };
    let has_refs = !given.ca_certificate_refs.is_empty();
    if usize::from(insecure) + usize::from(system) + usize::from(has_refs) != 1 {
        let fields = "caCertificateRefs, wellKnownCACertificates and insecureSkipVerify";
        return Err(format!("spec.tls: needs one of {fields}"));
    }
    let mut ca_certificates = String::new();
    for (i, reference) in given.ca_certificate_refs.iter().enumerate() {
        let path = format!("spec.tls.caCertificateRefs[{i}]");
        let source = CaSource::of(reference, namespace)
            .ok_or_else(|| format!("{path}: {:?} isn't a ConfigMap or a Secret", reference.kind))?;
        let text = source.read(world).map_err(|why| format!("{path}: {why}"))?;
        ca_certificates.push_str(text.trim_end());
        ca_certificates.push('\n');
    }
    Ok(UpstreamTls {
        sni: given.sni.as_ref().map(|name| name.to_ascii_lowercase()),
        ca_certificates: has_refs.then_some(ca_certificates),
        system_certificates: system,
        insecure_skip_verify: insecure,
        subject_alt_names: Vec::new(),
        alpn: given.alpn_protocols.clone(),
    })
}

/// What changes the connection and isn't there: never ignored.
fn unsupported(given: &BackendTlsSettings) -> Result<(), String> {
    let auto = |version: &Option<String>| version.as_deref().is_none_or(|version| version == "Auto");
    let field = match given {
        _ if given.client_certificate_ref.is_some() => "clientCertificateRef",
        _ if !auto(&given.min_version) => "minVersion",
        _ if !auto(&given.max_version) => "maxVersion",
        _ if !given.ciphers.is_empty() => "ciphers",
        _ if !given.ecdh_curves.is_empty() => "ecdhCurves",
        _ if !given.signature_algorithms.is_empty() => "signatureAlgorithms",
        _ if given.alpn_protocols.iter().any(|p| p != "h2" && p != "http/1.1") => "alpnProtocols (but h2, http/1.1)",
        _ => return Ok(()),
    };
    Err(format!("spec.tls: {field} isn't supported; remove it"))
}
