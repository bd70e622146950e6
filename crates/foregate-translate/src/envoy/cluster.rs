//! Clusters: one per backend and effective policy.

use std::sync::Arc;

use foregate_api::backend::{BackendProtocol, GatewayBackendSpec};
use foregate_envoy::pb;
use foregate_envoy::pb::envoy::config::cluster::v3 as cluster;
use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::extensions::upstreams::http::v3 as upstream;
use prost::Message;
use upstream::http_protocol_options::explicit_http_config::ProtocolConfig;
use upstream::http_protocol_options::{AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions};

use super::common::{ads, millis};
use super::{retries, upstream_tls};
use crate::resolve::endpoints;

/// Name of the message.
pub(crate) const TYPE: &str = "envoy.config.cluster.v3.Cluster";
/// The key and the type of HTTP options in a cluster.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// A cluster's name: its backend's, and a fingerprint of how it is connected to. A change of policy is a new cluster, so
/// that its routes move over once it is warm. Endpoints are never in it: host names are part of the cluster, but an
/// engine serves on with the old ones until it has looked up the new ones. `client` is the secret with the certificate
/// that a gateway shows to it.
pub(crate) fn name(backend: &str, spec: &GatewayBackendSpec, client: Option<&str>) -> Arc<str> {
    let policy = (spec.protocol, &spec.policy);
    // Plain data with string keys: serialisation can't fail.
    let text = match ((&spec.tls, endpoints::are_names(spec)), client) {
        ((None, false), None) => serde_json::to_vec(&policy),
        (more, None) => serde_json::to_vec(&(policy, more)),
        all => serde_json::to_vec(&(policy, all)),
    };
    format!("{backend}/{:016x}", xxhash_rust::xxh3::xxh3_64(&text.unwrap_or_default())).into()
}

/// The cluster. Its endpoints come over ADS under its own name; but host names, which the engine looks up, are in it.
pub(crate) fn build(name: &str, spec: &GatewayBackendSpec, client: Option<&str>) -> cluster::Cluster {
    let are_names = endpoints::are_names(spec);
    let discovery =
        if are_names { cluster::cluster::DiscoveryType::StrictDns } else { cluster::cluster::DiscoveryType::Eds };
    let eds = || cluster::cluster::EdsClusterConfig { eds_config: Some(ads()), ..Default::default() };
    let here = || super::endpoints::build(name, &endpoints::of(spec, std::iter::empty()));
    // Not every host has a way out over IPv6, even where a name has an address of it.
    let family = if are_names { cluster::cluster::DnsLookupFamily::V4Preferred as i32 } else { 0 };
    cluster::Cluster {
        name: name.to_owned(),
        connect_timeout: Some(millis(spec.policy.connect_timeout_millis)),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(discovery as i32)),
        eds_cluster_config: (!are_names).then(eds),
        load_assignment: are_names.then(here),
        dns_lookup_family: family,
        transport_socket: spec.tls.as_ref().map(|tls| upstream_tls::build(tls, spec.protocol, client)),
        circuit_breakers: Some(retries::limits(spec.policy.retry_budget.as_ref())),
        typed_extension_protocol_options: options(spec).map(|any| (HTTP_OPTIONS.to_owned(), any)).into_iter().collect(),
        ..Default::default()
    }
}

/// What is spoken, where that isn't HTTP/1.1.
fn options(spec: &GatewayBackendSpec) -> Option<pb::google::protobuf::Any> {
    let http2 = core::Http2ProtocolOptions::default;
    if matches!(spec.protocol, BackendProtocol::Tcp | BackendProtocol::Udp) {
        return None;
    }
    let either = spec.tls.as_ref().is_some_and(upstream_tls::offers_both);
    let config = match spec.protocol {
        _ if either => UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http2_protocol_options: Some(http2()),
            ..Default::default()
        }),
        BackendProtocol::H2c => UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(http2())),
        }),
        _ => return None,
    };
    let options = upstream::HttpProtocolOptions { upstream_protocol_options: Some(config), ..Default::default() };
    Some(pb::google::protobuf::Any {
        type_url: format!("type.googleapis.com/{HTTP_OPTIONS}"),
        value: options.encode_to_vec(),
    })
}
