//! Makings for tests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use foregate_api::backend::{GatewayEndpointSliceSpec, SliceEndpoint};
use foregate_api::claim::{ClaimListener, GatewayClaimSpec, ListenerProtocol};
use foregate_api::origin::Origin;
use foregate_api::{GatewayClaim, GatewayEndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(crate) fn origin(kind: &str, name: &str, created: &str) -> Origin {
    Origin {
        cluster: "local".into(),
        group: "gateway.networking.k8s.io".into(),
        kind: kind.into(),
        namespace: "default".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        generation: 1,
        creation_timestamp: Some(Time(created.parse().unwrap())),
    }
}

pub(crate) fn claim(name: &str, created: &str) -> GatewayClaim {
    let spec = GatewayClaimSpec {
        backend_client_certificate: None,
        infrastructure: None,
        origin: origin("Gateway", name, created),
        template: "default".into(),
        sharing_key: None,
        addresses: vec![],
        tracing: None,
        refused: vec![],
        listeners: vec![listener("http", 8080, ListenerProtocol::Http, None)],
    };
    let mut claim = GatewayClaim::new(name, spec);
    claim.metadata.namespace = Some("tenant-default".into());
    claim.metadata.uid = Some(format!("claim-{name}"));
    claim.metadata.generation = Some(1);
    claim.metadata.resource_version = Some("1".into());
    claim
}

pub(crate) fn listener(name: &str, port: u16, protocol: ListenerProtocol, hostname: Option<&str>) -> ClaimListener {
    ClaimListener { name: name.into(), port, protocol, hostname: hostname.map(Into::into), tls: None, filters: vec![] }
}

/// A slice with so many endpoints of one Service.
pub(crate) fn slice_with(name: &str, endpoints: usize) -> GatewayEndpointSlice {
    let endpoint = |index: usize| SliceEndpoint {
        addresses: vec![std::net::Ipv4Addr::from(index as u32).to_string()],
        ready: true,
        serving: true,
        terminating: false,
        zone: None,
        node_name: None,
    };
    let spec = GatewayEndpointSliceSpec {
        origin: origin("EndpointSlice", name, "2026-01-01T00:00:00Z"),
        service_uid: "service".into(),
        ports: vec![],
        endpoints: (0..endpoints).map(endpoint).collect(),
    };
    let mut slice = GatewayEndpointSlice::new(name, spec);
    slice.metadata.namespace = Some("tenant-default".into());
    slice
}

/// Resources as JSON and back.
pub(crate) const TEXTS: crate::keeper::Texts = crate::keeper::Texts {
    to_text: |type_url, body| {
        let kind = foregate_envoy::ResourceKind::from_type_url(type_url).unwrap();
        Some(foregate_envoy::to_json(kind, body).unwrap().to_string())
    },
    to_body: |type_url, text| {
        let message = foregate_envoy::from_json(type_url, &serde_json::from_str(text).ok()?).ok()?;
        Some(foregate_envoy::canonical::encode(&message))
    },
};
