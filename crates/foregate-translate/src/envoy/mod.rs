//! From the intermediate representation to Envoy's messages, one feature per file.

mod check;
pub(crate) mod cluster;
pub(crate) mod common;
mod cors;
pub(crate) mod endpoints;
pub(crate) mod ext_authz;
mod filters;
pub(crate) mod forward;
mod headers;
mod listener;
mod matches;
mod mirror;
pub(crate) mod patch;
mod redirect;
mod retries;
mod rewrite;
pub(crate) mod route;
pub(crate) mod secret;
mod shares;
pub(crate) mod tracing;
mod upstream_tls;
pub(crate) mod virtual_host;
mod weights;

pub(crate) use check::check;
pub(crate) use listener::{client_validation, from_text as listener_from_text, routes_over_ads, secret_over_ads};
