//! The engine end to end, over loopback: resources in, requests through, answers compared.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod backend;
mod backend2;
mod client;
mod client2;
#[path = "../../tests/otlp/mod.rs"]
mod otlp;
mod resources;
mod rig;

mod actions;
mod ask;
mod bad_clients;
mod bad_frames;
mod balance;
mod basics;
mod changes;
mod chaos;
mod client_certs;
mod connect_retry;
mod dns;
mod http2;
mod kept;
mod observe;
mod pages;
mod plain;
mod resilience;
mod tcp;
mod tls;
mod tracing;
mod udp;
mod upgrades;
mod upstream2;
mod upstream_tls;
mod xds;
