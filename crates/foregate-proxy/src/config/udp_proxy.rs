//! `UdpProxyConfig`: datagrams that are passed on as they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::extensions::filters::udp::udp_proxy::v3 as udp;
use foregate_envoy::pb::envoy::extensions::matching::common_inputs::network::v3 as inputs;
use foregate_envoy::pb::envoy::extensions::matching::input_matchers::consistent_hashing::v3::ConsistentHashing;
use foregate_envoy::pb::google::protobuf::Any;
use foregate_envoy::pb::xds::core::v3::TypedExtensionConfig;
use foregate_envoy::pb::xds::r#type::matcher::v3 as matcher;
use prost::Name;
use xxhash_rust::xxh64::xxh64;

use super::parts::{boolean, optional_duration};
use super::refusal::{At, Refusal, nothing_left, unpack};
use crate::slots::{Interner, Slot};

/// Envoy's defaults.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_DATAGRAM: usize = 1500;

/// How datagrams are passed on.
#[derive(Debug)]
pub(crate) struct UdpOptions {
    /// Tried in this order.
    shares: Vec<Share>,
    /// Where those go that no share is for; `None`: nowhere.
    otherwise: Option<Arc<Slot>>,
    /// A client that has neither sent nor got anything for so long is a new one.
    pub(crate) idle_timeout: Duration,
    /// The client's address says which endpoint it belongs to, in clusters that go by that.
    pub(crate) hash_source_ip: bool,
    /// Longer ones of clients are dropped.
    pub(crate) max_from_client: usize,
    /// Longer ones of endpoints are dropped.
    pub(crate) max_from_endpoint: usize,
}

/// A share of the clients.
#[derive(Debug)]
struct Share {
    of: Input,
    seed: u64,
    /// Of these, from this one on.
    modulo: u32,
    threshold: u32,
    /// `None`: their datagrams are dropped.
    cluster: Option<Arc<Slot>>,
}

/// What of a client says whether it belongs to a share.
#[derive(Clone, Copy, Debug)]
enum Input {
    Ip,
    Port,
}

impl Share {
    fn has(&self, client: SocketAddr) -> bool {
        let text = match self.of {
            Input::Ip => client.ip().to_string(),
            Input::Port => client.port().to_string(),
        };
        xxh64(text.as_bytes(), self.seed) % u64::from(self.modulo) >= u64::from(self.threshold)
    }
}

impl UdpOptions {
    /// Where a client's datagrams go.
    pub(crate) fn cluster(&self, client: SocketAddr) -> Option<&Arc<Slot>> {
        let share = self.shares.iter().find(|share| share.has(client));
        share.map_or(self.otherwise.as_ref(), |share| share.cluster.as_ref())
    }
}

/// Compiles one; `downstream` is how the listener receives.
pub(crate) fn compile(
    mut message: udp::UdpProxyConfig,
    downstream: Option<core::UdpSocketConfig>,
    clusters: &mut Interner,
) -> Result<UdpOptions, Refusal> {
    let (shares, otherwise) = match message.route_specifier.take() {
        #[allow(deprecated, reason = "still written by many")]
        Some(udp::udp_proxy_config::RouteSpecifier::Cluster(name)) if !name.is_empty() => {
            (Vec::new(), Some(clusters.slot(&name)))
        }
        Some(udp::udp_proxy_config::RouteSpecifier::Matcher(tree)) => routes(tree, clusters).at("matcher")?,
        _ => return Err(Refusal::field("matcher", "must be set")),
    };
    let options = UdpOptions {
        shares,
        otherwise,
        idle_timeout: optional_duration(message.idle_timeout.take(), "idle_timeout")?
            .filter(|limit| !limit.is_zero())
            .unwrap_or(IDLE_TIMEOUT),
        hash_source_ip: hash_policies(std::mem::take(&mut message.hash_policies))?,
        max_from_client: max_datagram(downstream).at("udp_listener_config.downstream_socket_config")?,
        max_from_endpoint: max_datagram(message.upstream_socket_config.take()).at("upstream_socket_config")?,
    };
    // Names statistics; the engine names its own by instance and listener.
    message.stat_prefix.clear();
    nothing_left(&message)?;
    Ok(options)
}

fn max_datagram(message: Option<core::UdpSocketConfig>) -> Result<usize, Refusal> {
    let Some(mut message) = message else { return Ok(MAX_DATAGRAM) };
    let max = message.max_rx_datagram_size.take().map_or(MAX_DATAGRAM as u64, |max| max.value);
    // It is a wish about speed only.
    boolean(&mut message.prefer_gro);
    nothing_left(&message)?;
    match usize::try_from(max) {
        Ok(max @ 1..=65_535) => Ok(max),
        _ => Err(Refusal::field("max_rx_datagram_size", "must be in 1..65535")),
    }
}

/// Whether the client's address counts.
fn hash_policies(policies: Vec<udp::udp_proxy_config::HashPolicy>) -> Result<bool, Refusal> {
    use udp::udp_proxy_config::hash_policy::PolicySpecifier;
    match <[udp::udp_proxy_config::HashPolicy; 1]>::try_from(policies) {
        Ok([policy]) if policy.policy_specifier == Some(PolicySpecifier::SourceIp(true)) => Ok(true),
        Ok(_) => Err(Refusal::unsupported("hash_policies[0]")),
        Err(none) if none.is_empty() => Ok(false),
        Err(_) => Err(Refusal::field("hash_policies", "must be one")),
    }
}

type Routes = (Vec<Share>, Option<Arc<Slot>>);

/// A list of shares, and where the rest goes: what weights look like here.
fn routes(mut tree: matcher::Matcher, clusters: &mut Interner) -> Result<Routes, Refusal> {
    let otherwise = tree.on_no_match.take().map(|on| action(*on, clusters)).transpose().at("on_no_match")?;
    let mut shares = Vec::new();
    match tree.matcher_type.take() {
        Some(matcher::matcher::MatcherType::MatcherList(mut list)) => {
            for (index, field) in std::mem::take(&mut list.matchers).into_iter().enumerate() {
                shares.push(share(field, clusters).at(format_args!("matcher_list.matchers[{index}]"))?);
            }
            nothing_left(&list).at("matcher_list")?;
        }
        Some(matcher::matcher::MatcherType::MatcherTree(_)) => return Err(Refusal::unsupported("matcher_tree")),
        None => {}
    }
    nothing_left(&tree)?;
    Ok((shares, otherwise.flatten()))
}

fn share(mut field: matcher::matcher::matcher_list::FieldMatcher, clusters: &mut Interner) -> Result<Share, Refusal> {
    use matcher::matcher::matcher_list::predicate::{MatchType, single_predicate};
    let on_match = field.on_match.take().ok_or_else(|| Refusal::field("on_match", "must be set"))?;
    let cluster = action(on_match, clusters).at("on_match")?;
    let predicate = field.predicate.take().and_then(|predicate| predicate.match_type);
    nothing_left(&field)?;
    let Some(MatchType::SinglePredicate(single)) = predicate else {
        return Err(Refusal::field("predicate", "only a single_predicate is supported by the built-in engine"));
    };
    let read = || {
        let of = input(single.input)?;
        let Some(single_predicate::Matcher::CustomMatch(custom)) = single.matcher else {
            return Err(Refusal::unsupported("value_match"));
        };
        let hashing: ConsistentHashing = unpack(&typed(custom)?).at("custom_match.typed_config")?;
        if hashing.modulo == 0 {
            return Err(Refusal::field("custom_match.typed_config.modulo", "must be at least 1"));
        }
        Ok((of, hashing))
    };
    let (of, ConsistentHashing { threshold, modulo, seed }) = read().at("predicate.single_predicate")?;
    Ok(Share { of, seed, modulo, threshold, cluster })
}

fn input(message: Option<TypedExtensionConfig>) -> Result<Input, Refusal> {
    let any = typed(message.ok_or_else(|| Refusal::field("input", "must be set"))?).at("input")?;
    if any.type_url == inputs::SourceIpInput::type_url() {
        return unpack::<inputs::SourceIpInput>(&any).at("input.typed_config").map(|_| Input::Ip);
    }
    unpack::<inputs::SourcePortInput>(&any).at("input.typed_config").map(|_| Input::Port)
}

/// Where it goes; an action without a cluster is refused, one to a cluster that isn't there drops.
fn action(on_match: matcher::matcher::OnMatch, clusters: &mut Interner) -> Result<Option<Arc<Slot>>, Refusal> {
    use matcher::matcher::on_match::OnMatch;
    if on_match.keep_matching {
        return Err(Refusal::unsupported("keep_matching"));
    }
    let config = match on_match.on_match {
        Some(OnMatch::Action(config)) => config,
        Some(OnMatch::Matcher(_)) => return Err(Refusal::unsupported("matcher")),
        None => return Ok(None),
    };
    let route: udp::Route = unpack(&typed(config).at("action")?).at("action.typed_config")?;
    let name = Some(route.cluster).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Refusal::field("action.typed_config.cluster", "must be set"))?;
    Ok(Some(clusters.slot(&name)))
}

fn typed(config: TypedExtensionConfig) -> Result<Any, Refusal> {
    config.typed_config.ok_or_else(|| Refusal::field("typed_config", "must be set"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::config::refusal::decode;

    fn compiled(yaml: &str) -> Result<UdpOptions, String> {
        let name = "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig";
        let message = foregate_envoy::from_yaml(name, yaml).unwrap_or_else(|errors| panic!("{errors:?}"));
        let message: udp::UdpProxyConfig = decode(&prost::Message::encode_to_vec(&message)).unwrap();
        compile(message, None, &mut Interner::default()).map_err(|refusal| refusal.to_string())
    }

    fn to(cluster: &str) -> String {
        format!(
            "{{ action: {{ name: route, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.Route, cluster: {cluster} }} }} }}"
        )
    }

    fn name(options: &UdpOptions, port: u16) -> Option<String> {
        options.cluster(SocketAddr::from(([192, 0, 2, 1], port))).map(|slot| slot.name.to_string())
    }

    #[test]
    fn one_cluster() {
        let options = compiled(&format!("stat_prefix: a\nmatcher: {{ on_no_match: {} }}", to("c"))).unwrap();
        assert_eq!(name(&options, 1).as_deref(), Some("c"));
        assert_eq!((options.idle_timeout, options.max_from_endpoint), (IDLE_TIMEOUT, 1500));
        let yaml = "stat_prefix: a\ncluster: c\nidle_timeout: 5s\nhash_policies: [{ source_ip: true }]\n\
                    upstream_socket_config: { max_rx_datagram_size: 9000, prefer_gro: false }";
        let options = compiled(yaml).unwrap();
        assert_eq!(name(&options, 1).as_deref(), Some("c"));
        assert_eq!((options.idle_timeout, options.max_from_endpoint), (Duration::from_secs(5), 9000));
        assert!(options.hash_source_ip);
    }

    /// 25 of 100 clients by their ports.
    fn weighted(first: &str) -> String {
        format!(
            r#"
stat_prefix: a
matcher:
  matcher_list:
    matchers:
    - predicate:
        single_predicate:
          input: {{ name: port, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourcePortInput }} }}
          custom_match:
            name: share
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing
              threshold: 75
              modulo: 100
              seed: 7
      on_match: {first}
  on_no_match: {}
"#,
            to("b")
        )
    }

    #[test]
    fn shares_of_clients() {
        let options = compiled(&weighted(&to("a"))).unwrap();
        let hits = (1..=8000).filter(|port| name(&options, *port).as_deref() == Some("a")).count();
        assert!((1800..2200).contains(&hits), "{hits}");
        assert_eq!(name(&options, 1), name(&options, 1), "a client stays where it is");
    }

    #[test]
    fn what_is_not_done_is_refused() {
        for (yaml, want) in [
            ("stat_prefix: a".to_owned(), "matcher: must be set"),
            (
                format!("use_original_src_ip: true\nmatcher: {{ on_no_match: {} }}", to("c")),
                "use_original_src_ip: not supported by the built-in engine",
            ),
            (
                "cluster: c\nuse_per_packet_load_balancing: true".to_owned(),
                "use_per_packet_load_balancing: not supported by the built-in engine",
            ),
            (
                "cluster: c\nhash_policies: [{ key: a }]".to_owned(),
                "hash_policies[0]: not supported by the built-in engine",
            ),
            (
                format!("matcher: {{ on_no_match: {{ matcher: {{ on_no_match: {} }} }} }}", to("c")),
                "matcher.on_no_match.matcher: not supported by the built-in engine",
            ),
        ] {
            assert_eq!(compiled(&yaml).unwrap_err(), want);
        }
    }
}
