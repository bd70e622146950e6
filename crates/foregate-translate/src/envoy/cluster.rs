//! Clusters: one per backend and effective policy.

use std::sync::Arc;

use foregate_api::backend::{BackendProtocol, GatewayBackendSpec};
use foregate_envoy::pb;
use foregate_envoy::pb::envoy::config::cluster::v3 as cluster;
use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::extensions::upstreams::http::v3 as upstream;
use prost::Message;
use upstream::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
};

use super::common::{ads, millis};

/// Name of the message.
pub(crate) const TYPE: &str = "envoy.config.cluster.v3.Cluster";
/// The key and the type of HTTP options in a cluster.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// A cluster's name: its backend's, and a fingerprint of how connections to it are made. A change of policy is a new
/// cluster, so that its routes move over once it is warm.
pub(crate) fn name(backend: &str, spec: &GatewayBackendSpec) -> Arc<str> {
    let policy = (spec.protocol, &spec.policy);
    // Plain data with string keys: serialisation can't fail.
    let text = serde_json::to_vec(&policy).unwrap_or_default();
    format!("{backend}/{:016x}", xxhash_rust::xxh3::xxh3_64(&text)).into()
}

/// The cluster; its endpoints come over ADS under its own name.
pub(crate) fn build(name: &str, spec: &GatewayBackendSpec) -> cluster::Cluster {
    let h2c = (spec.protocol == BackendProtocol::H2c).then(http2);
    cluster::Cluster {
        name: name.to_owned(),
        connect_timeout: Some(millis(spec.policy.connect_timeout_millis)),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(
            cluster::cluster::DiscoveryType::Eds as i32,
        )),
        eds_cluster_config: Some(cluster::cluster::EdsClusterConfig { eds_config: Some(ads()), ..Default::default() }),
        typed_extension_protocol_options: h2c.into_iter().map(|any| (HTTP_OPTIONS.to_owned(), any)).collect(),
        ..Default::default()
    }
}

fn http2() -> pb::google::protobuf::Any {
    let config = ExplicitHttpConfig {
        protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(core::Http2ProtocolOptions::default())),
    };
    let options = upstream::HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)),
        ..Default::default()
    };
    pb::google::protobuf::Any {
        type_url: format!("type.googleapis.com/{HTTP_OPTIONS}"),
        value: options.encode_to_vec(),
    }
}
