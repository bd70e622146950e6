//! Endpoints of a cluster.

use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::config::endpoint::v3 as endpoint;

use crate::ir::{Endpoint, Place};

/// All endpoints in one locality; none: the cluster answers 503.
pub(crate) fn build(cluster: &str, endpoints: &[Endpoint]) -> endpoint::ClusterLoadAssignment {
    let locality = (!endpoints.is_empty()).then(|| endpoint::LocalityLbEndpoints {
        // gRPC's own clients want a locality named and weighed; to proxies without locality balancing it says nothing.
        locality: Some(core::Locality::default()),
        load_balancing_weight: Some(super::common::uint32(1)),
        lb_endpoints: endpoints.iter().map(lb_endpoint).collect(),
        ..Default::default()
    });
    endpoint::ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: locality.into_iter().collect(),
        ..Default::default()
    }
}

fn lb_endpoint(endpoint: &Endpoint) -> endpoint::LbEndpoint {
    let address = match &endpoint.place {
        Place::Socket(socket) => core::address::Address::SocketAddress(core::SocketAddress {
            address: socket.address.clone(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(u32::from(socket.port))),
            ..Default::default()
        }),
        Place::Pipe { path } => core::address::Address::Pipe(core::Pipe { path: path.clone(), ..Default::default() }),
    };
    let target = endpoint::Endpoint {
        address: Some(core::Address { address: Some(address) }),
        hostname: endpoint.hostname.clone().unwrap_or_default(),
        ..Default::default()
    };
    endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(target)),
        ..Default::default()
    }
}
