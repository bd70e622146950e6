//! `TcpProxy`: bytes that are passed on as they are.

use std::sync::Arc;
use std::time::Duration;

use foregate_envoy::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use foregate_envoy::pb::envoy::r#type::v3 as kind;

use super::parts::{boolean, number, optional_duration, timeout};
use super::refusal::{At, Refusal, nothing_left};
use crate::slots::{Interner, Slot};

/// Envoy's default.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// How bytes are passed on.
#[derive(Debug)]
pub(crate) struct TcpOptions {
    /// Where to.
    pub(crate) target: Clusters,
    /// A connection without a byte in either direction is closed after this.
    pub(crate) idle_timeout: Option<Duration>,
    /// A connection is closed after this.
    pub(crate) max_duration: Option<Duration>,
    /// Endpoints that are tried, at least one.
    pub(crate) attempts: u32,
    /// The client's address says which endpoint it belongs to, in clusters that go by that.
    pub(crate) hash_source_ip: bool,
}

/// One cluster, or one of several by weight.
#[derive(Debug)]
pub(crate) struct Clusters {
    weighted: Vec<(u32, Arc<Slot>)>,
    total: u32,
}

impl Clusters {
    /// A single one.
    pub(crate) fn one(slot: Arc<Slot>) -> Self {
        Self { weighted: vec![(1, slot)], total: 1 }
    }

    /// One by chance; `None` where there is none to choose.
    pub(crate) fn choose(&self) -> Option<&Arc<Slot>> {
        if let [(_, only)] = &*self.weighted {
            return Some(only);
        }
        let mut left = if self.total == 0 { return None } else { rand::random_range(0..self.total) };
        self.weighted.iter().find_map(|(weight, slot)| {
            let hit = left < *weight;
            left = left.saturating_sub(*weight);
            hit.then_some(slot)
        })
    }
}

/// Compiles one.
pub(crate) fn compile(mut message: tcp::TcpProxy, clusters: &mut Interner) -> Result<TcpOptions, Refusal> {
    let target = target(message.cluster_specifier.take(), clusters)?;
    let options = TcpOptions {
        target,
        idle_timeout: timeout(message.idle_timeout.take(), Some(IDLE_TIMEOUT), "idle_timeout")?,
        max_duration: optional_duration(
            message.max_downstream_connection_duration.take(),
            "max_downstream_connection_duration",
        )?,
        attempts: match number(&mut message.max_connect_attempts) {
            Some(0) => return Err(Refusal::field("max_connect_attempts", "must be at least 1")),
            attempts => attempts.unwrap_or(1),
        },
        hash_source_ip: hash_policy(std::mem::take(&mut message.hash_policy))?,
    };
    // Names statistics; the engine names its own by instance and listener.
    message.stat_prefix.clear();
    // Connections of a listener that goes away always get the engine's drain time.
    if boolean(&mut message.check_drain_close) == Some(true) {
        return Err(Refusal::unsupported("check_drain_close"));
    }
    nothing_left(&message)?;
    Ok(options)
}

fn target(specifier: Option<tcp::tcp_proxy::ClusterSpecifier>, clusters: &mut Interner) -> Result<Clusters, Refusal> {
    use tcp::tcp_proxy::ClusterSpecifier as Specifier;
    match specifier {
        Some(Specifier::Cluster(name)) if !name.is_empty() => Ok(Clusters::one(clusters.slot(&name))),
        Some(Specifier::WeightedClusters(message)) => weighted(message, clusters).at("weighted_clusters"),
        Some(Specifier::Cluster(_)) | None => Err(Refusal::field("cluster", "must be set, or weighted_clusters")),
    }
}

fn weighted(mut message: tcp::tcp_proxy::WeightedCluster, clusters: &mut Interner) -> Result<Clusters, Refusal> {
    let mut weighted = Vec::new();
    let mut total: u32 = 0;
    for (index, mut entry) in std::mem::take(&mut message.clusters).into_iter().enumerate() {
        let field = format!("clusters[{index}]");
        let weight = std::mem::take(&mut entry.weight);
        total = total.checked_add(weight).ok_or_else(|| Refusal::new("the weights' sum must fit in 32 bits"))?;
        let name = std::mem::take(&mut entry.name);
        if name.is_empty() {
            return Err(Refusal::field(format!("{field}.name"), "must be set"));
        }
        nothing_left(&entry).at(&field)?;
        weighted.push((weight, clusters.slot(&name)));
    }
    nothing_left(&message)?;
    if total == 0 {
        return Err(Refusal::field("clusters", "the weights' sum must be at least 1"));
    }
    Ok(Clusters { weighted, total })
}

/// Whether the client's address counts.
fn hash_policy(policies: Vec<kind::HashPolicy>) -> Result<bool, Refusal> {
    use kind::hash_policy::PolicySpecifier;
    match <[kind::HashPolicy; 1]>::try_from(policies) {
        Ok([kind::HashPolicy { policy_specifier: Some(PolicySpecifier::SourceIp(_)) }]) => Ok(true),
        Ok(_) => Err(Refusal::unsupported("hash_policy[0]")),
        Err(none) if none.is_empty() => Ok(false),
        Err(_) => Err(Refusal::field("hash_policy", "must be one")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use foregate_envoy::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;

    use super::*;
    use crate::config::refusal::decode;

    fn compiled(yaml: &str) -> Result<TcpOptions, String> {
        let name = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
        let message = foregate_envoy::from_yaml(name, yaml).unwrap_or_else(|errors| panic!("{errors:?}"));
        let message: TcpProxy = decode(&prost::Message::encode_to_vec(&message)).unwrap();
        compile(message, &mut Interner::default()).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn options() {
        let options = compiled("stat_prefix: a\ncluster: c").unwrap();
        assert_eq!(options.idle_timeout, Some(IDLE_TIMEOUT));
        assert_eq!((options.attempts, options.hash_source_ip, options.max_duration), (1, false, None));
        assert_eq!(&*options.target.choose().unwrap().name, "c");
        let yaml = "stat_prefix: a\ncluster: c\nidle_timeout: 0s\nmax_connect_attempts: 3\n\
                    max_downstream_connection_duration: 5s\nhash_policy: [{ source_ip: {} }]";
        let options = compiled(yaml).unwrap();
        assert_eq!((options.idle_timeout, options.max_duration), (None, Some(Duration::from_secs(5))));
        assert_eq!((options.attempts, options.hash_source_ip), (3, true));
    }

    #[test]
    fn weights_count() {
        let yaml = "stat_prefix: a\nweighted_clusters: { clusters: [{ name: a, weight: 3 }, { name: b, weight: 1 }] }";
        let options = compiled(yaml).unwrap();
        let hits = (0..4000).filter(|_| &*options.target.choose().unwrap().name == "a").count();
        assert!((2700..3300).contains(&hits), "{hits}");
    }

    #[test]
    fn what_is_not_done_is_refused() {
        for (yaml, want) in [
            ("stat_prefix: a", "cluster: must be set, or weighted_clusters"),
            ("cluster: c\ntunneling_config: { hostname: x }", "tunneling_config: not supported by the built-in engine"),
            ("cluster: c\nmetadata_match: {}", "metadata_match: not supported by the built-in engine"),
            (
                "weighted_clusters: { clusters: [{ name: a, weight: 1, metadata_match: {} }] }",
                "weighted_clusters.clusters[0].metadata_match: not supported by the built-in engine",
            ),
            (
                "cluster: c\nhash_policy: [{ filter_state: { key: a } }]",
                "hash_policy[0]: not supported by the built-in engine",
            ),
            ("cluster: c\naccess_log: [{ name: a }]", "access_log: not supported by the built-in engine"),
        ] {
            assert_eq!(compiled(yaml).unwrap_err(), want);
        }
    }
}
