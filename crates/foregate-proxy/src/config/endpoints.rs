//! `ClusterLoadAssignment`: where a cluster's requests go.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::config::core::v3::HealthStatus;
use foregate_envoy::pb::envoy::config::endpoint::v3 as endpoint;

use super::parts::number;
use super::refusal::{At, Refusal, nothing_left};
use crate::snapshot::{Address, Endpoint};

/// Below this share of healthy endpoints, in percent, all are used: Envoy's default panic threshold.
pub(crate) const DEFAULT_PANIC_PERCENT: f64 = 50.0;

/// Where an endpoint is configured to be.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    Address(Address),
    /// A host name, and a port.
    Name(Arc<str>, u16),
}

/// A configured endpoint.
#[derive(Debug, Clone, PartialEq)]
struct Configured {
    place: Place,
    name: Arc<str>,
    weight: u32,
}

/// Endpoints of one priority, in groups.
#[derive(Debug, Default, Clone, PartialEq)]
struct Priority {
    healthy: Vec<Configured>,
    degraded: Vec<Configured>,
    unhealthy: Vec<Configured>,
}

/// All endpoints of a cluster, by priority.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct LoadAssignment {
    priorities: Vec<Priority>,
}

/// Whether endpoints may have host names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// They are addresses.
    Refused,
    /// They are resolved.
    Resolved,
}

/// What names have been resolved to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The addresses of each.
    pub(crate) addresses: HashMap<Arc<str>, Vec<IpAddr>>,
    /// Only the first address of a name counts.
    pub(crate) first_only: bool,
}

impl Resolved {
    fn of(&self, name: &str) -> &[IpAddr] {
        let all = self.addresses.get(name).map_or(&[][..], Vec::as_slice);
        if self.first_only { all.get(..1).unwrap_or_default() } else { all }
    }
}

/// Compiles an assignment.
pub(crate) fn compile(mut message: endpoint::ClusterLoadAssignment, names: Names) -> Result<LoadAssignment, Refusal> {
    let mut assignment = LoadAssignment::default();
    for (index, locality) in std::mem::take(&mut message.endpoints).into_iter().enumerate() {
        locality_into(&mut assignment, locality, names).at(format_args!("endpoints[{index}]"))?;
    }
    message.cluster_name.clear();
    if message.policy.as_ref().is_some_and(|policy| *policy == endpoint::cluster_load_assignment::Policy::default()) {
        message.policy = None;
    }
    nothing_left(&message)?;
    Ok(assignment)
}

fn locality_into(
    assignment: &mut LoadAssignment,
    mut message: endpoint::LocalityLbEndpoints,
    names: Names,
) -> Result<(), Refusal> {
    let priority = std::mem::take(&mut message.priority) as usize;
    if priority > 128 {
        return Err(Refusal::field("priority", "must be at most 128"));
    }
    if assignment.priorities.len() <= priority {
        assignment.priorities.resize_with(priority + 1, Priority::default);
    }
    let target = &mut assignment.priorities[priority];
    for (index, endpoint) in std::mem::take(&mut message.lb_endpoints).into_iter().enumerate() {
        endpoint_into(target, endpoint, names).at(format_args!("lb_endpoints[{index}]"))?;
    }
    // Names and weights of localities count only with locality-aware balancing, which clusters can't ask for here.
    message.locality = None;
    message.load_balancing_weight = None;
    message.proximity = None;
    message.metadata = None;
    nothing_left(&message)
}

fn endpoint_into(target: &mut Priority, mut message: endpoint::LbEndpoint, names: Names) -> Result<(), Refusal> {
    use endpoint::lb_endpoint::HostIdentifier;
    let mut host = match message.host_identifier.take() {
        Some(HostIdentifier::Endpoint(host)) => host,
        Some(HostIdentifier::EndpointName(_)) => return Err(Refusal::unsupported("endpoint_name")),
        None => return Err(Refusal::field("endpoint", "must be set")),
    };
    let place = place(host.address.take(), names).at("endpoint.address")?;
    let name: Arc<str> = match (std::mem::take(&mut host.hostname), &place) {
        (name, Place::Name(own, _)) if name.is_empty() => Arc::clone(own),
        (name, _) => name.into(),
    };
    // For logs elsewhere.
    host.observability_name.clear();
    nothing_left(&host).at("endpoint")?;
    let weight = number(&mut message.load_balancing_weight).unwrap_or(1);
    if weight == 0 {
        return Err(Refusal::field("load_balancing_weight", "must be at least 1"));
    }
    let endpoint = Configured { place, name, weight };
    match HealthStatus::try_from(std::mem::take(&mut message.health_status)) {
        Ok(HealthStatus::Unknown | HealthStatus::Healthy) => target.healthy.push(endpoint),
        Ok(HealthStatus::Degraded) => target.degraded.push(endpoint),
        Ok(HealthStatus::Unhealthy | HealthStatus::Draining | HealthStatus::Timeout) => {
            target.unhealthy.push(endpoint);
        }
        Err(_) => return Err(Refusal::field("health_status", "isn't a known value")),
    }
    message.metadata = None;
    nothing_left(&message)
}

fn place(address: Option<core::Address>, names: Names) -> Result<Place, Refusal> {
    use core::address::Address as Kind;
    match address.and_then(|address| address.address) {
        Some(Kind::SocketAddress(socket)) => socket_place(socket, names).at("socket_address"),
        Some(Kind::Pipe(mut pipe)) => {
            let path = std::mem::take(&mut pipe.path);
            // Rights of a socket that is bound; this one is connected to.
            pipe.mode = 0;
            nothing_left(&pipe).at("pipe")?;
            // Longer ones don't fit into the kernel's structure.
            if path.is_empty() || path.len() > 107 || path.starts_with('@') || path.contains('\0') {
                return Err(Refusal::field("pipe.path", "must be a path of 1 to 107 bytes, and no abstract name"));
            }
            Ok(Place::Address(Address::Pipe(Path::new(&path).into())))
        }
        Some(Kind::EnvoyInternalAddress(_)) => Err(Refusal::unsupported("envoy_internal_address")),
        None => Err(Refusal::new("must be set")),
    }
}

fn socket_place(mut socket: core::SocketAddress, names: Names) -> Result<Place, Refusal> {
    use core::socket_address::PortSpecifier;
    let port = match socket.port_specifier.take() {
        Some(PortSpecifier::PortValue(port)) => {
            u16::try_from(port).map_err(|_| Refusal::field("port_value", "must be at most 65535"))?
        }
        Some(PortSpecifier::NamedPort(_)) => return Err(Refusal::unsupported("named_port")),
        None => return Err(Refusal::field("port_value", "must be set")),
    };
    let host = std::mem::take(&mut socket.address);
    nothing_left(&socket)?;
    match host.parse::<IpAddr>() {
        Ok(ip) => Ok(Place::Address(Address::Socket(SocketAddr::new(ip, port)))),
        Err(_) if names == Names::Refused => Err(Refusal::field("address", "must be an IP address")),
        Err(_) if host.is_empty() || host.len() > 253 || host.contains([':', '/', ' ', '\0']) => {
            Err(Refusal::field("address", "must be an IP address or a host name"))
        }
        Err(_) => Ok(Place::Name(host.into(), port)),
    }
}

/// The endpoints of a list, names resolved.
fn expand(list: &[Configured], resolved: &Resolved, out: &mut Vec<Endpoint>) {
    for Configured { place, name, weight } in list {
        let endpoint = |address| Endpoint { address, name: Arc::clone(name), weight: *weight };
        match place {
            Place::Address(address) => out.push(endpoint(address.clone())),
            Place::Name(host, port) => {
                let addresses = resolved.of(host).iter();
                out.extend(addresses.map(|ip| endpoint(Address::Socket(SocketAddr::new(*ip, *port)))));
            }
        }
    }
}

impl LoadAssignment {
    /// The host names that have to be resolved.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        let lists = self.priorities.iter().flat_map(|p| [&p.healthy, &p.degraded, &p.unhealthy]);
        let names = lists.flatten().filter_map(|endpoint| match &endpoint.place {
            Place::Name(name, _) => Some(Arc::clone(name)),
            Place::Address(_) => None,
        });
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// How many endpoints are configured.
    pub(crate) fn len(&self) -> usize {
        self.priorities.iter().map(|p| p.healthy.len() + p.degraded.len() + p.unhealthy.len()).sum()
    }

    /// Where requests go: the healthy ones of the best priority that has any; else degraded ones; with fewer of both
    /// than the panic threshold, all of the priority, as too few would be overrun.
    pub(crate) fn usable(&self, panic_percent: f64, resolved: &Resolved) -> Arc<[Endpoint]> {
        let mut last = Vec::new();
        for priority in &self.priorities {
            let (mut healthy, mut degraded, mut all) = (Vec::new(), Vec::new(), Vec::new());
            expand(&priority.healthy, resolved, &mut healthy);
            expand(&priority.degraded, resolved, &mut degraded);
            expand(&priority.unhealthy, resolved, &mut all);
            let fit = healthy.len() + degraded.len();
            let panics = (fit as f64) * 100.0 < panic_percent * (fit + all.len()) as f64;
            if fit > 0 && !panics {
                return if healthy.is_empty() { degraded.into() } else { healthy.into() };
            }
            if panics && (fit > 0 || last.is_empty()) {
                let everybody = [healthy, degraded, all].concat();
                if fit > 0 {
                    return everybody.into();
                }
                last = everybody;
            }
        }
        last.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn endpoints(ports: std::ops::Range<u16>) -> Vec<Configured> {
        let at = |port| Place::Address(Address::Socket(([127, 0, 0, 1], port).into()));
        ports.map(|port| Configured { place: at(port), name: "".into(), weight: 1 }).collect()
    }

    fn assignment(
        healthy: std::ops::Range<u16>,
        degraded: std::ops::Range<u16>,
        unhealthy: std::ops::Range<u16>,
    ) -> LoadAssignment {
        let priority =
            Priority { healthy: endpoints(healthy), degraded: endpoints(degraded), unhealthy: endpoints(unhealthy) };
        LoadAssignment { priorities: vec![Priority::default(), priority] }
    }

    #[test]
    fn usable_endpoints() {
        let usable = |assignment: LoadAssignment, panic| assignment.usable(panic, &Resolved::default()).len();
        assert_eq!(usable(assignment(1..3, 3..4, 4..5), 50.0), 2, "the healthy ones");
        assert_eq!(usable(assignment(1..1, 3..5, 4..5), 50.0), 2, "else the degraded ones");
        assert_eq!(usable(assignment(1..2, 1..1, 2..9), 50.0), 8, "all, when too few are healthy");
        assert_eq!(usable(assignment(1..2, 2..5, 5..8), 50.0), 1, "degraded ones keep off panic");
        assert_eq!(usable(assignment(1..2, 1..1, 2..9), 0.0), 1, "unless panic is off");
        assert_eq!(usable(assignment(1..1, 1..1, 1..1), 50.0), 0);
        assert_eq!(usable(assignment(1..1, 1..1, 1..3), 50.0), 2);
        assert_eq!(usable(assignment(1..1, 1..1, 1..3), 0.0), 0);
    }

    #[test]
    fn names_become_their_addresses() {
        let named = Configured { place: Place::Name("a".into(), 80), name: "a".into(), weight: 3 };
        let assignment = LoadAssignment { priorities: vec![Priority { healthy: vec![named], ..Priority::default() }] };
        assert_eq!(assignment.names(), [Arc::from("a")]);
        let mut resolved = Resolved::default();
        assert!(assignment.usable(50.0, &resolved).is_empty());
        resolved.addresses.insert("a".into(), vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]);
        let usable = assignment.usable(50.0, &resolved);
        let texts: Vec<_> = usable.iter().map(|endpoint| endpoint.address.to_string()).collect();
        assert_eq!(texts, ["10.0.0.1:80", "10.0.0.2:80"]);
        assert!(usable.iter().all(|endpoint| endpoint.weight == 3 && &*endpoint.name == "a"));
        resolved.first_only = true;
        assert_eq!(assignment.usable(50.0, &resolved).len(), 1);
    }
}
