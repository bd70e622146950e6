//! `VirtualHost`: domains and their routes; the unit that changes.

use std::collections::HashMap;
use std::sync::Arc;

use foregate_envoy::pb::envoy::config::route::v3 as route;
use xxhash_rust::xxh3::xxh3_128;

use super::action::{Mirror, mirrors};
use super::headers::{HeaderEdits, take_edits};
use super::per_filter::{self, PerFilter};
use super::refusal::{At, Refusal, decode, nothing_left};
use super::retry::{self, RetryPolicy};
use super::route::{Route, take_buffer_limit};
use super::wire;
use crate::routing::index::Routes;
use crate::slots::Numbers;

/// Field number of `VirtualHost.routes`.
const ROUTES: u32 = 3;

/// A compiled virtual host.
#[derive(Default)]
pub(crate) struct VirtualHost {
    /// Its name.
    pub(crate) name: Box<str>,
    /// Its domains, in lower case.
    pub(crate) domains: Vec<Box<str>>,
    /// Its routes.
    pub(crate) routes: Routes,
    /// Header changes for all of them.
    pub(crate) edits: HeaderEdits,
    /// For routes without their own.
    pub(crate) retry: Option<RetryPolicy>,
    /// For routes without their own.
    pub(crate) mirrors: Vec<Mirror>,
    /// Upstream requests tell the how manieth try they are.
    pub(crate) attempt_count: bool,
    /// And so do responses.
    pub(crate) attempt_count_in_response: bool,
    /// What it says to filters.
    pub(crate) filters: PerFilter,
    /// For routes without their own.
    pub(crate) buffer_limit: Option<u64>,
    /// Hashes of its routes' encoded forms, in order, to take those over that are the same in the next version.
    hashes: Box<[u128]>,
}

/// Compiles an encoded virtual host. Routes that `before` has too are shared with it, not compiled again.
pub(crate) fn compile(
    body: &[u8],
    before: Option<&VirtualHost>,
    numbers: &mut Numbers,
) -> Result<VirtualHost, Refusal> {
    let (rest, encoded) = wire::split(body, ROUTES).ok_or_else(|| Refusal::new("not a valid message"))?;
    let mut message: route::VirtualHost = decode(&rest)?;
    let mut routes = Vec::with_capacity(encoded.len());
    let mut hashes = Vec::with_capacity(encoded.len());
    let known = before.map(VirtualHost::by_hash).unwrap_or_default();
    for (index, body) in encoded.into_iter().enumerate() {
        let hash = xxh3_128(body);
        let route = match known.get(&hash) {
            Some(route) => Arc::clone(route),
            None => Arc::new(
                decode(body)
                    .and_then(|message| super::route::compile(message, numbers))
                    .at(format_args!("routes[{index}]"))?,
            ),
        };
        hashes.push(hash);
        routes.push(route);
    }
    let host = VirtualHost {
        name: std::mem::take(&mut message.name).into(),
        domains: domains(std::mem::take(&mut message.domains))?,
        routes: Routes::new(routes),
        edits: take_edits!(message)?,
        retry: message.retry_policy.take().map(retry::compile).transpose().at("retry_policy")?,
        mirrors: mirrors(std::mem::take(&mut message.request_mirror_policies), &mut numbers.clusters)?,
        attempt_count: std::mem::take(&mut message.include_request_attempt_count),
        attempt_count_in_response: std::mem::take(&mut message.include_attempt_count_in_response),
        filters: per_filter::compile(std::mem::take(&mut message.typed_per_filter_config), &mut numbers.clusters)?,
        buffer_limit: take_buffer_limit!(message),
        hashes: hashes.into(),
    };
    // Metadata is for whoever reads the configuration, it changes nothing here.
    message.metadata = None;
    nothing_left(&message)?;
    Ok(host)
}

impl VirtualHost {
    /// A virtual host with a name and nothing else.
    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    fn by_hash(&self) -> HashMap<u128, &Arc<Route>> {
        self.hashes.iter().copied().zip(self.routes.all()).collect()
    }
}

fn domains(domains: Vec<String>) -> Result<Vec<Box<str>>, Refusal> {
    if domains.is_empty() {
        return Err(Refusal::field("domains", "must not be empty"));
    }
    let mut compiled = Vec::with_capacity(domains.len());
    for (index, domain) in domains.into_iter().enumerate() {
        let inner = domain.strip_prefix('*').or_else(|| domain.strip_suffix('*')).unwrap_or(&domain);
        if domain.is_empty() || inner.contains('*') {
            return Err(Refusal::field(
                format!("domains[{index}]"),
                "must be a name with at most one * at its beginning or end",
            ));
        }
        compiled.push(domain.to_ascii_lowercase().into());
    }
    Ok(compiled)
}
