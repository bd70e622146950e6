//! `ClusterLoadAssignment`: where a cluster's requests go.

use std::sync::Arc;

use foregate_envoy::pb::envoy::config::core::v3::HealthStatus;
use foregate_envoy::pb::envoy::config::endpoint::v3 as endpoint;

use super::parts::{number, socket_address};
use super::refusal::{At, Refusal, nothing_left};
use crate::snapshot::Endpoint;

/// Below this share of healthy endpoints, in percent, all are used: Envoy's default panic threshold.
pub(crate) const DEFAULT_PANIC_PERCENT: f64 = 50.0;

/// Endpoints of one priority, in two groups.
#[derive(Debug, Default, Clone, PartialEq)]
struct Priority {
    healthy: Vec<Endpoint>,
    degraded: Vec<Endpoint>,
    unhealthy: Vec<Endpoint>,
}

/// All endpoints of a cluster, by priority.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct LoadAssignment {
    priorities: Vec<Priority>,
}

/// Compiles an assignment.
pub(crate) fn compile(mut message: endpoint::ClusterLoadAssignment) -> Result<LoadAssignment, Refusal> {
    let mut assignment = LoadAssignment::default();
    for (index, locality) in std::mem::take(&mut message.endpoints).into_iter().enumerate() {
        locality_into(&mut assignment, locality).at(format_args!("endpoints[{index}]"))?;
    }
    message.cluster_name.clear();
    if message.policy.as_ref().is_some_and(|policy| *policy == endpoint::cluster_load_assignment::Policy::default()) {
        message.policy = None;
    }
    nothing_left(&message)?;
    Ok(assignment)
}

fn locality_into(assignment: &mut LoadAssignment, mut message: endpoint::LocalityLbEndpoints) -> Result<(), Refusal> {
    let priority = std::mem::take(&mut message.priority) as usize;
    if priority > 128 {
        return Err(Refusal::field("priority", "must be at most 128"));
    }
    if assignment.priorities.len() <= priority {
        assignment.priorities.resize_with(priority + 1, Priority::default);
    }
    let target = &mut assignment.priorities[priority];
    for (index, endpoint) in std::mem::take(&mut message.lb_endpoints).into_iter().enumerate() {
        endpoint_into(target, endpoint).at(format_args!("lb_endpoints[{index}]"))?;
    }
    // Names and weights of localities count only with locality-aware balancing, which clusters can't ask for here.
    message.locality = None;
    message.load_balancing_weight = None;
    message.proximity = None;
    message.metadata = None;
    nothing_left(&message)
}

fn endpoint_into(target: &mut Priority, mut message: endpoint::LbEndpoint) -> Result<(), Refusal> {
    use endpoint::lb_endpoint::HostIdentifier;
    let mut host = match message.host_identifier.take() {
        Some(HostIdentifier::Endpoint(host)) => host,
        Some(HostIdentifier::EndpointName(_)) => return Err(Refusal::unsupported("endpoint_name")),
        None => return Err(Refusal::field("endpoint", "must be set")),
    };
    let address = socket_address(host.address.take()).at("endpoint.address")?;
    // Names are for host rewrites, health checks and logs that clusters can't ask for here.
    host.hostname.clear();
    host.observability_name.clear();
    nothing_left(&host).at("endpoint")?;
    let weight = number(&mut message.load_balancing_weight).unwrap_or(1);
    if weight == 0 {
        return Err(Refusal::field("load_balancing_weight", "must be at least 1"));
    }
    let endpoint = Endpoint { address, weight };
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

impl LoadAssignment {
    /// Where requests go: the healthy ones of the best priority that has any; else degraded ones; with fewer healthy
    /// ones than the panic threshold, all of the priority, as too few would be overrun.
    pub(crate) fn usable(&self, panic_percent: f64) -> Arc<[Endpoint]> {
        let best = self.priorities.iter().find(|p| !p.healthy.is_empty() || !p.degraded.is_empty());
        let Some(priority) = best.or_else(|| self.priorities.iter().find(|p| !p.unhealthy.is_empty())) else {
            return Arc::new([]);
        };
        let all = priority.healthy.len() + priority.degraded.len() + priority.unhealthy.len();
        let fit = if priority.healthy.is_empty() { &priority.degraded } else { &priority.healthy };
        if (fit.len() as f64) * 100.0 < panic_percent * all as f64 {
            return [&*priority.healthy, &*priority.degraded, &*priority.unhealthy].concat().into();
        }
        fit.as_slice().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn endpoints(ports: std::ops::Range<u16>) -> Vec<Endpoint> {
        ports.map(|port| Endpoint { address: ([127, 0, 0, 1], port).into(), weight: 1 }).collect()
    }

    #[test]
    fn usable_endpoints() {
        let assignment = |healthy, degraded, unhealthy| LoadAssignment {
            priorities: vec![
                Priority::default(),
                Priority {
                    healthy: endpoints(healthy),
                    degraded: endpoints(degraded),
                    unhealthy: endpoints(unhealthy),
                },
            ],
        };
        assert_eq!(assignment(1..3, 3..4, 4..5).usable(50.0).len(), 2, "the healthy ones");
        assert_eq!(assignment(1..1, 3..5, 4..5).usable(50.0).len(), 2, "else the degraded ones");
        assert_eq!(assignment(1..2, 1..1, 2..9).usable(50.0).len(), 8, "all, when too few are healthy");
        assert_eq!(assignment(1..2, 1..1, 2..9).usable(0.0).len(), 1, "unless panic is off");
        assert_eq!(assignment(1..1, 1..1, 1..1).usable(50.0).len(), 0);
        assert_eq!(assignment(1..1, 1..1, 1..3).usable(0.0).len(), 0);
    }
}
