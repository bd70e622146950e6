//! Endpoints of a backend: its own, or from all slices of its Service.

use std::collections::BTreeSet;
use std::net::IpAddr;

use foregate_api::backend::{
    DirectAddress, DirectEndpoint, GatewayBackendSpec, GatewayEndpointSliceSpec, SliceEndpoint,
};

use crate::ir::{Endpoint, Place, SocketAddress};

/// Which endpoints are taken (KEP-1669).
#[derive(Clone, Copy)]
enum Phase {
    Ready,
    /// Only when nothing is ready: what terminates still answers.
    Draining,
}

impl Phase {
    fn takes(self, endpoint: &SliceEndpoint) -> bool {
        match self {
            Self::Ready => endpoint.ready,
            Self::Draining => endpoint.serving && endpoint.terminating,
        }
    }
}

/// The endpoints of a backend, in the order of their addresses, each once.
pub(crate) fn of<'a>(
    backend: &GatewayBackendSpec,
    slices: impl Iterator<Item = &'a GatewayEndpointSliceSpec> + Clone,
) -> Vec<Endpoint> {
    if !backend.endpoints.is_empty() {
        return backend.endpoints.iter().map(direct).collect::<BTreeSet<_>>().into_iter().collect();
    }
    let ready = collect(backend, slices.clone(), Phase::Ready);
    if ready.is_empty() { collect(backend, slices, Phase::Draining) } else { ready }
}

/// Whether its endpoints are host names, which the engine looks up.
pub(crate) fn are_names(backend: &GatewayBackendSpec) -> bool {
    backend.endpoints.iter().any(|endpoint| matches!(endpoint.address, DirectAddress::Fqdn { .. }))
}

fn direct(endpoint: &DirectEndpoint) -> Endpoint {
    let socket = |address: &String, port: &u16| Place::Socket(SocketAddress { address: address.clone(), port: *port });
    let place = match &endpoint.address {
        DirectAddress::Fqdn { hostname, port } => socket(hostname, port),
        DirectAddress::Ip { address, port } => socket(address, port),
        DirectAddress::Unix { path } => Place::Pipe { path: path.clone() },
    };
    Endpoint { place, hostname: endpoint.hostname.clone() }
}

fn collect<'a>(
    backend: &GatewayBackendSpec,
    slices: impl Iterator<Item = &'a GatewayEndpointSliceSpec>,
    phase: Phase,
) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for slice in slices {
        let Some(port) = slice.ports.iter().find(|port| port.name == backend.port_name) else { continue };
        let taken = slice.endpoints.iter().filter(|endpoint| phase.takes(endpoint));
        // Consumers of an EndpointSlice use the first address only: they are interchangeable.
        found.extend(
            taken.filter_map(|endpoint| Some((endpoint.addresses.first()?.parse::<IpAddr>().ok()?, port.port))),
        );
    }
    found.sort_unstable();
    found.dedup();
    found
        .into_iter()
        .map(|(address, port)| Endpoint {
            place: Place::Socket(SocketAddress { address: address.to_string(), port }),
            hostname: None,
        })
        .collect()
}

/// What is wrong with a slice: an address that isn't an IP address is left out.
pub(crate) fn check(slice: &GatewayEndpointSliceSpec) -> Option<String> {
    slice.endpoints.iter().enumerate().find_map(|(index, endpoint)| {
        let address = endpoint.addresses.first()?;
        address.parse::<IpAddr>().err()?;
        Some(format!(
            "spec.endpoints[{index}].addresses[0]: {address:?} isn't an IP address; this endpoint is left out"
        ))
    })
}
