//! `RouteConfiguration`: options and, unless they come one by one (VHDS), virtual hosts.

use std::sync::Arc;

use foregate_envoy::pb::envoy::config::route::v3 as route;

use super::action::{Mirror, mirrors};
use super::headers::{HeaderEdits, take_edits};
use super::parts::{ads, boolean};
use super::per_filter::{self, PerFilter};
use super::refusal::{At, Refusal, decode, nothing_left};
use super::vhost::{self, VirtualHost};
use super::wire;
use crate::routing::domains::Domains;
use crate::slots::Numbers;

/// Field number of `RouteConfiguration.virtual_hosts`.
const VIRTUAL_HOSTS: u32 = 2;

/// What counts for all virtual hosts of a route configuration.
#[derive(Default)]
pub(crate) struct RouteOptions {
    /// What it says to filters.
    pub(crate) filters: PerFilter,
    /// Header changes.
    pub(crate) edits: HeaderEdits,
    /// Copies, for routes and virtual hosts without their own.
    pub(crate) mirrors: Vec<Mirror>,
    /// A host's port doesn't count when it is matched with domains.
    pub(crate) ignore_port: bool,
    /// Header changes of the most specific level come last and win; otherwise the least specific ones do.
    pub(crate) most_specific_wins: bool,
}

/// A compiled route configuration.
pub(crate) struct RouteConfig {
    /// What counts for all.
    pub(crate) options: Arc<RouteOptions>,
    /// Virtual hosts that it holds itself.
    pub(crate) hosts: Vec<Arc<VirtualHost>>,
    /// More come over VHDS.
    pub(crate) vhds: bool,
}

/// Compiles an encoded route configuration, sharing what `before` has too.
pub(crate) fn compile(
    body: &[u8],
    before: Option<&RouteConfig>,
    numbers: &mut Numbers,
) -> Result<RouteConfig, Refusal> {
    let (rest, encoded) = wire::split(body, VIRTUAL_HOSTS).ok_or_else(|| Refusal::new("not a valid message"))?;
    let mut message: route::RouteConfiguration = decode(&rest)?;
    let mut hosts: Vec<Arc<VirtualHost>> = Vec::with_capacity(encoded.len());
    for (index, body) in encoded.into_iter().enumerate() {
        // Order rarely changes; a wrong guess only costs time.
        let before = before.and_then(|before| before.hosts.get(index)).map(|host| &**host);
        let host = vhost::compile(body, before, numbers).at(format_args!("virtual_hosts[{index}]"))?;
        hosts.push(Arc::new(host));
    }
    let vhds = match message.vhds.take() {
        Some(mut vhds) => {
            ads(vhds.config_source.take()).at("vhds.config_source")?;
            nothing_left(&vhds).at("vhds")?;
            true
        }
        None => false,
    };
    let options = options(&mut message, numbers)?;
    // Resources have their names around them.
    message.name.clear();
    nothing_left(&message)?;
    Ok(RouteConfig { options: Arc::new(options), hosts, vhds })
}

fn options(message: &mut route::RouteConfiguration, numbers: &mut Numbers) -> Result<RouteOptions, Refusal> {
    // Whether clusters exist is looked at when a request comes: the answer then is `cluster_not_found_response_code`.
    if boolean(&mut message.validate_clusters) == Some(true) {
        return Err(Refusal::unsupported("validate_clusters"));
    }
    // Only a bound for the configuration's author; there is a bound on whole messages already.
    message.max_direct_response_body_size_bytes = None;
    message.metadata = None;
    Ok(RouteOptions {
        filters: per_filter::compile(std::mem::take(&mut message.typed_per_filter_config), &mut numbers.clusters)?,
        edits: take_edits!(message)?,
        mirrors: mirrors(std::mem::take(&mut message.request_mirror_policies), &mut numbers.clusters)?,
        ignore_port: std::mem::take(&mut message.ignore_port_in_host_matching),
        most_specific_wins: std::mem::take(&mut message.most_specific_header_mutations_wins),
    })
}

/// Domains of some virtual hosts; a domain that two of them have is refused.
pub(crate) fn domains(hosts: &[Arc<VirtualHost>]) -> Result<Domains, Refusal> {
    let mut domains = Domains::default();
    for host in hosts {
        claim(&mut domains, host)?;
    }
    Ok(domains)
}

/// Gives a virtual host its domains.
pub(crate) fn claim(domains: &mut Domains, host: &Arc<VirtualHost>) -> Result<(), Refusal> {
    for domain in &host.domains {
        if let Some(other) = domains.get(domain) {
            return Err(Refusal::field(
                "domains",
                format!("{domain:?} belongs to virtual host {:?} already", other.name),
            ));
        }
        domains.set(domain, Some(Arc::clone(host)));
    }
    Ok(())
}
