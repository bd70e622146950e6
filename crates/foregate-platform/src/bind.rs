//! Which gateway a claim is bound to, and in what order claims count.

use std::cmp::Ordering;

use foregate_api::GatewayClaim;
use foregate_api::address::ProxyRef;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use xxhash_rust::xxh3::xxh3_128;

/// Label of what the platform has made and may remove again.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub(crate) const MANAGER: &str = "foregate-platform";

/// The gateway that a claim is bound to: the one that all claims of its namespace with an equal sharing key have. A claim
/// without a key has its name for one, so that a Gateway's gateway is called like its claim, with ListenerSets or not.
pub fn proxy_of(claim: &GatewayClaim) -> ProxyRef {
    let name = match claim.spec.sharing_key.as_deref().filter(|key| !key.is_empty()) {
        Some(key) if is_name(key) => key.to_owned(),
        Some(key) => format!("shared-{:032x}", xxh3_128(key.as_bytes())),
        None => claim.name_any(),
    };
    ProxyRef { namespace: claim.namespace().unwrap_or_default(), name }
}

/// Whether an object can be called so (DNS subdomain, RFC 1123).
fn is_name(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let ends = [label.bytes().next(), label.bytes().next_back()];
        ends.iter().all(|end| end.is_some_and(alphanumeric)) && label.bytes().all(|it| alphanumeric(it) || it == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether a claim can have a gateway made: those of ListenerSets only share one (GEP-1713).
pub(crate) fn founds(claim: &GatewayClaim) -> bool {
    claim.spec.origin.kind != "ListenerSet"
}

/// Order of precedence of the claims of one gateway: a Gateway before the ListenerSets that share with it (GEP-1713),
/// then by creation of the user's object, then by name.
pub fn precedence(a: &GatewayClaim, b: &GatewayClaim) -> Ordering {
    let rank = |claim: &GatewayClaim| {
        let origin = &claim.spec.origin;
        let created = origin.creation_timestamp.as_ref().or(claim.metadata.creation_timestamp.as_ref());
        (origin.kind != "Gateway", created.map(|Time(time)| *time))
    };
    let name = |claim: &GatewayClaim| {
        let origin = &claim.spec.origin;
        (origin.namespace.clone(), origin.name.clone(), claim.name_any())
    };
    rank(a).cmp(&rank(b)).then_with(|| name(a).cmp(&name(b)))
}

/// Name of the group of a gateway's resources in the xDS cache.
pub(crate) fn group_of(proxy: &ProxyRef) -> String {
    format!("{}/{}", proxy.namespace, proxy.name)
}

/// The gateway that a group belongs to.
pub(crate) fn proxy_of_group(group: &str) -> Option<ProxyRef> {
    let (namespace, name) = group.split_once('/')?;
    Some(ProxyRef { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// Name of the GatewayInstance of a gateway on a node.
pub fn instance_name(proxy: &ProxyRef, node: &str) -> String {
    format!("{}.{}.{node}", proxy.namespace, proxy.name)
}

/// The nodes that run a gateway: `replicas` of them. Which ones is decided by rendezvous hashing, so that gateways
/// spread, and that a node more or less moves few of them.
pub(crate) fn nodes_for<'a>(proxy: &ProxyRef, replicas: u32, nodes: &'a [String]) -> Vec<&'a str> {
    let mut ranked: Vec<_> =
        nodes.iter().map(|node| (xxh3_128(format!("{}\0{node}", group_of(proxy)).as_bytes()), node.as_str())).collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.truncate(replicas.max(1) as usize);
    ranked.into_iter().map(|(_, node)| node).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;
    use crate::testing::claim;

    #[test]
    fn claims_share_by_key_within_a_namespace() {
        let mut a = claim("a", "2026-01-01T00:00:00Z");
        let mut b = claim("b", "2026-01-02T00:00:00Z");
        assert_eq!(proxy_of(&a).name, "a");
        a.spec.sharing_key = Some("local/default/web".into());
        b.spec.sharing_key = Some("local/default/web".into());
        assert_eq!(proxy_of(&a), proxy_of(&b));
        assert_eq!(proxy_of(&a).name.len(), "shared-".len() + 32);
        b.metadata.namespace = Some("tenant-other".into());
        assert_ne!(proxy_of(&a), proxy_of(&b));
        b.spec.sharing_key = Some(String::new());
        assert_eq!(proxy_of(&b).name, "b");
        a.spec.sharing_key = Some("b".into());
        assert_eq!(proxy_of(&a).name, "b", "a claim's name is the key of one that has none");
        for odd in ["B", "-b", "b-", "b..c", "b_c", ".b", "b/c"] {
            a.spec.sharing_key = Some(odd.into());
            assert!(proxy_of(&a).name.starts_with("shared-"), "{odd}");
        }
    }

    #[test]
    fn gateways_precede_listener_sets_and_elders_precede() {
        let young = claim("young", "2026-01-02T00:00:00Z");
        let old = claim("old", "2026-01-01T00:00:00Z");
        let mut set = claim("set", "2025-01-01T00:00:00Z");
        set.spec.origin.kind = "ListenerSet".into();
        let mut all = [&set, &young, &old];
        all.sort_by(|a, b| precedence(a, b));
        assert_eq!(all.map(|claim| claim.name_any()), ["old", "young", "set"]);
    }

    #[test]
    fn replicas_are_limited_by_nodes_and_stay_when_a_node_comes() {
        let proxy = ProxyRef { namespace: "t".into(), name: "web".into() };
        let nodes = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(nodes_for(&proxy, 3, &nodes(&["a"])), ["a"]);
        assert_eq!(nodes_for(&proxy, 0, &nodes(&["a"])), ["a"]);
        let three = nodes(&["a", "b", "c"]);
        let two = nodes_for(&proxy, 2, &three);
        assert_eq!(two.len(), 2);
        let four = nodes(&["a", "b", "c", "d"]);
        let kept = nodes_for(&proxy, 2, &four).iter().filter(|node| two.contains(node)).count();
        assert!(kept >= 1);
    }
}
