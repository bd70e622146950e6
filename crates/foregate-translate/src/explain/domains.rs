//! Which virtual host takes a host: exact names, then the longest wildcard at the start, then the longest at the end,
//! then `*`.

use foregate_envoy::pb::envoy::config::route::v3::VirtualHost;

use super::normal::Seen;
use super::read::Table;
use super::{Explanation, VirtualHostChoice};

/// How specific a domain is: kind, then length. Greater is more specific.
pub(super) type Rank = (u8, usize);

/// How well a domain fits a host, both in lower case; none: it doesn't. A wildcard stands for one character at least.
pub(super) fn fit(domain: &str, host: &str) -> Option<Rank> {
    if domain == "*" {
        return Some((0, 0));
    }
    if let Some(suffix) = domain.strip_prefix('*') {
        return (host.len() > suffix.len() && host.ends_with(suffix)).then_some((2, suffix.len()));
    }
    if let Some(prefix) = domain.strip_suffix('*') {
        return (host.len() > prefix.len() && host.starts_with(prefix)).then_some((1, prefix.len()));
    }
    (domain == host).then_some((3, 0))
}

/// The host by which a table chooses.
fn key(table: &Table, seen: &Seen) -> String {
    if table.config.ignore_port_in_host_matching { seen.host.clone() } else { seen.authority.to_ascii_lowercase() }
}

/// The virtual host that takes a request.
pub(super) fn find<'a>(table: &'a Table, seen: &Seen, answer: &mut Explanation) -> Option<&'a VirtualHost> {
    let host = key(table, seen);
    let mut fitting: Vec<(Rank, &str, &VirtualHost)> = Vec::new();
    for virtual_host in &table.hosts {
        for domain in &virtual_host.domains {
            if let Some(rank) = fit(&domain.to_ascii_lowercase(), &host) {
                fitting.push((rank, domain, virtual_host));
            }
        }
    }
    fitting.sort_by_key(|(rank, ..)| std::cmp::Reverse(*rank));
    let (_, domain, chosen) = *fitting.first()?;
    answer.virtual_host = Some(VirtualHostChoice {
        name: chosen.name.clone(),
        domain: domain.to_owned(),
        others: fitting.iter().skip(1).map(|(_, domain, _)| (*domain).to_owned()).collect(),
    });
    Some(chosen)
}

/// Every domain of a table, for people.
pub(super) fn list(table: &Table) -> String {
    let mut all: Vec<&str> = table.hosts.iter().flat_map(|host| &host.domains).map(String::as_str).collect();
    all.sort_unstable();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}
