//! Where requests can be sent: ports of Services, Envoy Gateway's Backends, XBackends; and the GatewayBackends made of
//! them.

mod ca;
mod direct;
mod pods;
mod policy;
mod policy_status;
mod reference;
mod service;
mod session;
mod slice;
mod traffic;
mod validation;
mod wanted;
mod xbackend;

use std::fmt;
use std::sync::Arc;

use foregate_api::backend::{BackendProtocol, GatewayBackendSpec};
use foregate_api::gateway::experimental::EXPERIMENTAL_GROUP;
use foregate_api::{GatewayBackend, envoy_gateway};

use crate::book::metadata;
use crate::output::{Derived, DerivedKind};
use crate::route::RouteKind;
use crate::target::TargetId;
use crate::{Attach, Key};

pub(crate) use ca::{CA_KEY, CaSource, TlsUser};
pub(crate) use direct::DirectState;
pub(crate) use pods::PodState;
pub(crate) use policy::PolicyState;
pub(crate) use reference::{Referrer, Target};
pub(crate) use session::parse as parse_session;
pub(crate) use traffic::TrafficState;
pub(crate) use wanted::{Wanted, WantedName};
pub(crate) use xbackend::XBackendState;

/// An object that routes can name as a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Upstream {
    /// A Service.
    Service(Key),
    /// A Backend of Envoy Gateway's group.
    Backend(Key),
    /// An XBackend of the Gateway API's experimental group.
    XBackend(Key),
}

impl Upstream {
    /// The object of a group (empty for the core group) and kind; none: a kind that nothing is sent to.
    pub fn of(group: &str, kind: &str, key: Key) -> Option<Self> {
        match (group, kind) {
            ("", "Service") => Some(Self::Service(key)),
            (envoy_gateway::GROUP, "Backend") => Some(Self::Backend(key)),
            (EXPERIMENTAL_GROUP, "XBackend") => Some(Self::XBackend(key)),
            _ => None,
        }
    }

    pub const fn key(&self) -> &Key {
        match self {
            Self::Service(key) | Self::Backend(key) | Self::XBackend(key) => key,
        }
    }

    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "Service",
            Self::Backend(_) => "Backend",
            Self::XBackend(_) => "XBackend",
        }
    }

    /// Its group; empty for the core group.
    pub const fn group(&self) -> &'static str {
        match self {
            Self::Service(_) => "",
            Self::Backend(_) => envoy_gateway::GROUP,
            Self::XBackend(_) => EXPERIMENTAL_GROUP,
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.key())
    }
}

/// What one GatewayBackend is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BackendId {
    /// Where it is sent from.
    pub target: TargetId,
    pub upstream: Upstream,
    /// A Service's; 0 for a Backend.
    pub port: u16,
    pub usage: Usage,
}

/// From where what is sent.
#[derive(Clone, Copy)]
pub(crate) struct Sending {
    pub target: TargetId,
    pub usage: Usage,
}

/// What is sent to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Usage {
    /// Requests, in what it says that it speaks.
    Http,
    /// gRPC, and it doesn't say by itself that it speaks HTTP/2: GRPCRoutes speak it nonetheless, HTTPRoutes don't.
    Grpc,
    /// Connections.
    Tcp,
    /// Connections of TLS that is passed through: no policy puts TLS of the gateway's around it.
    Tls,
    /// Datagrams.
    Udp,
}

impl Usage {
    const ALL: [Self; 5] = [Self::Http, Self::Grpc, Self::Tcp, Self::Tls, Self::Udp];

    /// What a route sends; `passed_through`: TLS goes through all of its listeners.
    pub const fn of(route: RouteKind, passed_through: bool) -> Self {
        match route {
            RouteKind::Http => Self::Http,
            RouteKind::Grpc => Self::Grpc,
            RouteKind::Tls if passed_through => Self::Tls,
            RouteKind::Tcp | RouteKind::Tls => Self::Tcp,
            RouteKind::Udp => Self::Udp,
        }
    }

    /// The end of a GatewayBackend's name.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Http => "",
            Self::Grpc => "-grpc",
            Self::Tcp => "-tcp",
            Self::Tls => "-tls",
            Self::Udp => "-udp",
        }
    }

    /// The usage that has a backend of its own, once it is known whether the object says that it speaks HTTP/2.
    const fn settled(self, says_http2: bool) -> Self {
        match self {
            Self::Grpc if says_http2 => Self::Http,
            other => other,
        }
    }

    /// Whether TLS of a policy goes around what is sent.
    const fn takes_tls(self) -> bool {
        !matches!(self, Self::Tls | Self::Udp)
    }

    const fn protocol(self, says_http2: bool) -> BackendProtocol {
        match self {
            Self::Http if says_http2 => BackendProtocol::H2c,
            Self::Http => BackendProtocol::Http,
            Self::Grpc => BackendProtocol::H2c,
            Self::Tcp | Self::Tls => BackendProtocol::Tcp,
            Self::Udp => BackendProtocol::Udp,
        }
    }

    const fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Grpc)
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.upstream {
            Upstream::Service(service) => write!(f, "port {} of Service {service}", self.port),
            Upstream::Backend(_) | Upstream::XBackend(_) => write!(f, "{}", self.upstream),
        }
    }
}

/// A reference that leads somewhere: the name of the GatewayBackend, unless requests to it must fail.
pub(crate) type Found = (Option<String>, BackendId);

impl Attach {
    pub(crate) fn derive_backend(&mut self, id: &BackendId) {
        let spec = self.is_used(id).then(|| match &id.upstream {
            Upstream::Service(service) => self.service_backend(service, id),
            Upstream::Backend(backend) => self.direct_backend(backend, id),
            Upstream::XBackend(backend) => self.xbackend_backend(backend, id),
        });
        let wanted = spec.flatten().map(|mut spec: GatewayBackendSpec| {
            spec.policy = self.with_traffic(id, spec.policy);
            let name = backend_name(&spec.origin.derived_name(), id);
            let metadata = metadata(&self.targets.get(id.target).namespace, &name, &spec.origin);
            Derived::Backend(Arc::new(GatewayBackend { metadata, spec, status: None }))
        });
        self.derive(Source::Backend(id.clone()), wanted);
    }

    /// Whether an attached route uses it, or a claim names or wants it.
    pub(crate) fn is_used(&self, id: &BackendId) -> bool {
        self.index.backend_routes.has(id) || self.index.backend_parents.has(id) || self.wanted.has(id)
    }

    /// Who uses a backend, or wants it, has changed.
    pub(crate) fn follow_use(&mut self, id: &BackendId) {
        let upstream = &id.upstream;
        let before = self.sends(id.target, upstream);
        if self.is_used(id) {
            self.index.upstream_backends.add(upstream, id.clone());
        } else {
            self.index.upstream_backends.remove(upstream, id);
        }
        if before != self.sends(id.target, upstream) {
            match upstream {
                Upstream::Service(service) => {
                    self.dirty.slices.extend(self.index.service_slices.of(service).cloned());
                }
                Upstream::Backend(_) => {}
                Upstream::XBackend(backend) => {
                    self.dirty.pod_slices.insert(backend.clone());
                }
            }
        }
        self.dirty.backends.insert(id.clone());
    }

    /// Whether anything is sent to an object from a target.
    fn sends(&self, target: TargetId, upstream: &Upstream) -> bool {
        self.index.upstream_backends.of(upstream).any(|id| id.target == target)
    }

    /// Marks what is sent to an object: who names it, and backends made of it.
    fn mark_upstream(&mut self, upstream: &Upstream) {
        self.mark_users(upstream);
        self.dirty.backends.extend(self.index.upstream_backends.of(upstream).cloned());
    }

    /// Wants what is derived from an object of the workload cluster. When that was replaced by another one of its
    /// name, what was derived from the former goes.
    pub(crate) fn derive(&mut self, source: Source, wanted: Option<Derived>) {
        let (kind, target) = (source.kind(), source.target());
        let name: Option<Arc<str>> = wanted.as_ref().map(|w| w.name().into());
        let old = match &name {
            Some(name) => self.derived_names.insert(source, name.clone()),
            None => self.derived_names.remove(&source),
        };
        if let Some(old) = old.filter(|old| Some(old) != name.as_ref()) {
            self.targets.get_mut(target).book.want((kind, old), None);
        }
        if let Some(name) = name {
            self.targets.get_mut(target).book.want((kind, name), wanted);
        }
    }
}

/// What is derived under a name that depends on a UID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Backend(BackendId),
    Slice(TargetId, Key),
    /// A part of the Pods of an XBackend.
    Pods(TargetId, Key, Arc<str>),
    Secret(TargetId, Key),
}

impl Source {
    const fn target(&self) -> TargetId {
        match self {
            Self::Backend(id) => id.target,
            Self::Slice(target, _) | Self::Pods(target, ..) | Self::Secret(target, _) => *target,
        }
    }

    const fn kind(&self) -> DerivedKind {
        match self {
            Self::Backend(_) => DerivedKind::Backend,
            Self::Slice(..) | Self::Pods(..) => DerivedKind::Slice,
            Self::Secret(..) => DerivedKind::Secret,
        }
    }
}

/// Name of a GatewayBackend; `origin` is the name of what is derived from its object.
fn backend_name(origin: &str, id: &BackendId) -> String {
    let port = if id.port == 0 { String::new() } else { format!("-{}", id.port) };
    format!("{origin}{port}{}", id.usage.suffix())
}

/// Whether a host name, in lower case, always means the host that looks it up.
fn is_host_local_name(hostname: &str) -> bool {
    hostname == "localhost" || hostname.ends_with(".localhost")
}
