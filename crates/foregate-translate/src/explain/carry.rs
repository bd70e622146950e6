//! Connections and datagrams that are no requests: where they go.

use foregate_envoy::pb::envoy::config::core::v3::Metadata;
use foregate_envoy::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use foregate_envoy::pb::envoy::extensions::filters::udp::udp_proxy::v3 as udp;
use foregate_envoy::pb::envoy::extensions::matching::input_matchers::consistent_hashing::v3::ConsistentHashing;
use foregate_envoy::pb::google::protobuf::value::Kind;
use foregate_envoy::pb::xds::r#type::matcher::v3::{Matcher, matcher};
use matcher::matcher_list::predicate::{MatchType, single_predicate};
use prost::Message;

use super::read::{Chain, Gateway, Listener};
use super::{Explanation, Outcome, RouteChoice, RouteOrigin, Share};
use crate::UNRESOLVED_CLUSTER;

/// A cluster, and its weight.
pub(super) type Weight = (String, u32);

/// What happens to a connection that a chain passes on.
pub(super) fn to(
    gateway: &Gateway,
    listener: &Listener,
    chain: &Chain,
    shares: &[Weight],
    answer: &mut Explanation,
) -> Outcome {
    let what = match chain.server_names.as_slice() {
        [] => format!("everything at listener {}", listener.name),
        names => format!("connections to {}", names.join(", ")),
    };
    // A template of an operator's may not say whose it is.
    let goes_somewhere = shares.iter().any(|(cluster, _)| cluster != UNRESOLVED_CLUSTER);
    let name = chain.route.clone().or_else(|| goes_somewhere.then(|| listener.name.clone()));
    let Some(name) = name else {
        return Outcome::NoFilterChain { reason: format!("no route takes {what}") };
    };
    answer.route = Some(RouteChoice { origin: RouteOrigin::parse(&name), name, matches: what });
    let total: f64 = shares.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let share = |(cluster, weight): &Weight| Share {
        endpoints: gateway.endpoints.get(cluster).cloned().unwrap_or_default(),
        percent: f64::from(*weight) * 100.0 / total.max(1.0),
        cluster: cluster.clone(),
        ..Share::default()
    };
    Outcome::Carry { backends: shares.iter().map(share).collect(), ends_tls: chain.ends_tls }
}

/// The shares of a TCP proxy.
pub(super) fn of_tcp(proxy: tcp::TcpProxy) -> Vec<Weight> {
    use tcp::tcp_proxy::ClusterSpecifier;
    match proxy.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => vec![(name, 1)],
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            weighted.clusters.into_iter().map(|cluster| (cluster.name, cluster.weight)).collect()
        }
        None => Vec::new(),
    }
}

/// The shares of a UDP proxy. A matcher that isn't one of translation's own tells none.
pub(super) fn of_udp(proxy: &udp::UdpProxyConfig) -> Vec<Weight> {
    use udp::udp_proxy_config::RouteSpecifier;
    match &proxy.route_specifier {
        Some(RouteSpecifier::Matcher(matcher)) => shares(matcher).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Each takes what hashes to its threshold and above, of what those before it leave.
fn shares(matcher: &Matcher) -> Option<Vec<Weight>> {
    let mut all = Vec::new();
    let mut left = None;
    if let Some(matcher::MatcherType::MatcherList(list)) = &matcher.matcher_type {
        for it in &list.matchers {
            let MatchType::SinglePredicate(predicate) = it.predicate.as_ref()?.match_type.as_ref()? else {
                return None;
            };
            let Some(single_predicate::Matcher::CustomMatch(custom)) = &predicate.matcher else { return None };
            let hashing = ConsistentHashing::decode(&*custom.typed_config.as_ref()?.value).ok()?;
            let weight = left.unwrap_or(hashing.modulo).checked_sub(hashing.threshold)?;
            left = Some(hashing.threshold);
            all.push((cluster(it.on_match.as_ref()?)?, weight));
        }
    }
    all.push((cluster(matcher.on_no_match.as_deref()?)?, left.unwrap_or(1)));
    Some(all)
}

fn cluster(on_match: &matcher::OnMatch) -> Option<String> {
    let Some(matcher::on_match::OnMatch::Action(action)) = &on_match.on_match else { return None };
    Some(udp::Route::decode(&*action.typed_config.as_ref()?.value).ok()?.cluster)
}

/// The name of the route, which translation leaves in metadata.
pub(super) fn route(metadata: Option<&Metadata>) -> Option<String> {
    let value = metadata?.filter_metadata.get("foregate")?.fields.get("route")?;
    match &value.kind {
        Some(Kind::StringValue(name)) => Some(name.clone()),
        _ => None,
    }
}
