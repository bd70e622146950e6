//! Connections and datagrams: what a template puts into `TcpProxy`, `UdpProxyConfig` and `FilterChainMatch`.

use serde_json::{Value, json};

use crate::UNRESOLVED_CLUSTER;
use crate::ir::{self, Share};

const TYPE_URL: &str = "type.googleapis.com/";
const UDP_ROUTE: &str = "envoy.extensions.filters.udp.udp_proxy.v3.Route";
const SOURCE_PORT: &str = "envoy.extensions.matching.common_inputs.network.v3.SourcePortInput";
const HASHING: &str = "envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing";

/// The cluster specifier of a `TcpProxy`. A cluster that doesn't exist closes connections.
pub(crate) fn tcp(shares: &[Share]) -> Value {
    match shares {
        [] => json!({ "cluster": UNRESOLVED_CLUSTER }),
        [alone] => json!({ "cluster": name(alone) }),
        several => {
            let clusters: Vec<Value> =
                several.iter().map(|share| json!({ "name": name(share), "weight": share.weight })).collect();
            json!({ "weighted_clusters": { "clusters": clusters } })
        }
    }
}

/// The `matcher` of a `UdpProxyConfig`. It has no weights: each share takes the clients whose source ports hash into
/// its part of the sum, the last one the rest.
pub(crate) fn udp(shares: &[Share]) -> Value {
    let Some((last, others)) = shares.split_last() else {
        return json!({ "matcher": { "on_no_match": route(UNRESOLVED_CLUSTER) } });
    };
    if others.is_empty() {
        return json!({ "matcher": { "on_no_match": route(name(last)) } });
    }
    let sum = shares.iter().map(|share| u64::from(share.weight)).sum::<u64>();
    let mut threshold = sum;
    let matchers: Vec<Value> = others
        .iter()
        .map(|share| {
            threshold -= u64::from(share.weight);
            json!({ "predicate": { "single_predicate": at_least(threshold, sum) }, "on_match": route(name(share)) })
        })
        .collect();
    json!({ "matcher": { "matcher_list": { "matchers": matchers }, "on_no_match": route(name(last)) } })
}

/// The `FilterChainMatch` of a chain; null: it takes everything. What is passed on as it came has to be TLS.
pub(crate) fn chain_match(listener: &ir::Listener, chain: &ir::FilterChain) -> Value {
    let carries_tls = listener.class == "https" && matches!(chain.carries, ir::Carries::Connections(_));
    match chain.server_names.as_slice() {
        [] if carries_tls && chain.secrets.is_empty() => json!({ "transport_protocol": "tls" }),
        [] => Value::Null,
        names => json!({ "server_names": names }),
    }
}

fn name(share: &Share) -> &str {
    share.cluster.as_deref().unwrap_or(UNRESOLVED_CLUSTER)
}

fn route(cluster: &str) -> Value {
    let route = json!({ "@type": format!("{TYPE_URL}{UDP_ROUTE}"), "cluster": cluster });
    json!({ "action": { "name": "route", "typed_config": route } })
}

/// Matches when the hash of the source port, modulo the sum, is at least so much.
fn at_least(threshold: u64, sum: u64) -> Value {
    json!({
        "input": {
            "name": "envoy.matching.inputs.source_port",
            "typed_config": { "@type": format!("{TYPE_URL}{SOURCE_PORT}") },
        },
        "custom_match": {
            "name": "envoy.matching.matchers.consistent_hashing",
            "typed_config": { "@type": format!("{TYPE_URL}{HASHING}"), "threshold": threshold, "modulo": sum },
        },
    })
}
