//! From Envoy's messages to what the workers run. One file per message; see [`refusal`] for the rule they all keep.

pub(crate) mod action;
pub(crate) mod cluster;
pub(crate) mod cors;
pub(crate) mod dns;
pub(crate) mod endpoints;
pub(crate) mod ext_authz;
pub(crate) mod format;
pub(crate) mod hash_policy;
pub(crate) mod hcm;
pub(crate) mod headers;
pub(crate) mod http2;
pub(crate) mod listener;
pub(crate) mod matching;
pub(crate) mod outlier;
pub(crate) mod parts;
pub(crate) mod per_filter;
pub(crate) mod protocol;
pub(crate) mod refusal;
pub(crate) mod retry;
pub(crate) mod rewrite;
pub(crate) mod route;
pub(crate) mod route_config;
pub(crate) mod session;
pub(crate) mod tcp_proxy;
pub(crate) mod tls;
pub(crate) mod trace_export;
pub(crate) mod tracing;
pub(crate) mod udp_proxy;
pub(crate) mod upgrades;
pub(crate) mod upstream_tls;
pub(crate) mod vhost;
pub(crate) mod wire;

#[cfg(test)]
mod tests;
